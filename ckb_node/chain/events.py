"""What the rest of the node hears when the main chain changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from consensus.lookup import require
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainView


@dataclass(frozen=True, slots=True)
class ChainChanged:
    """The tip moved. `detached` is newest first, `attached` oldest first; one of them may be empty.

    `is_cut`: by hand. The detached blocks are not stored any more, nor is any other that stood on the new tip.
    """

    old_tip: Header
    new_tip: Header
    detached: Sequence[Block]
    attached: Sequence[Block]
    is_cut: bool = False


class StoredBlocks(Sequence[Block]):
    """Blocks that are read from the store when they are looked at: those of a deep reorganisation are too many to keep.

    Whoever goes over them more than once reads them more than once.
    """

    def __init__(self, view: ChainView, hashes: Sequence[bytes]) -> None:
        self._view, self._hashes = view, hashes

    def __len__(self) -> int:
        return len(self._hashes)

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | Sequence[Block]:
        """Raises StorageError, ChainDataError."""
        if isinstance(index, slice):
            return StoredBlocks(self._view, self._hashes[index])
        block_hash = self._hashes[index]
        return require(self._view.block(block_hash), "block", block_hash)
