"""Events of the chain's writer: the main chain changed, a side block was stored, a block was refused."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import overload

from consensus.errors import CkbError
from consensus.lookup import require
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainView
from storage.errors import StorageError

Source = Hashable
"""Identifies the giver of a block: the id of a peer."""

MAX_SOURCES = 64
"""Givers of one block that are remembered."""


def merged_sources(known: Sequence[Source], more: Sequence[Source]) -> Sequence[Source]:
    """Both, each once; the first MAX_SOURCES."""
    return tuple(dict.fromkeys((*known, *more)))[:MAX_SOURCES]


class Verdict(Enum):
    """What became of a block."""

    BEST = "on the main chain"
    SIDE = "stored on a side branch"
    KNOWN = "known before"
    ORPHAN = "waits for its parent"
    REFUSED = "breaks a rule"
    DROPPED = "left the orphan pool before its parent came"


@dataclass(frozen=True, slots=True)
class ChainChanged:
    """The tip moved. `detached` is newest first, `attached` oldest first; one of them may be empty, and both are when
    the chain is cut back to its tip.

    `is_cut`: by hand. The detached blocks are not stored any more, nor is any other that stood on the new tip.
    """

    old_tip: Header
    new_tip: Header
    detached: Sequence[Block]
    attached: Sequence[Block]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class BlockVerified:
    """A block keeps all rules and becomes the tip with the commit that follows: peers need not wait for the disk."""

    block: Block


@dataclass(frozen=True, slots=True)
class SideBlockStored:
    """A block that is valid so far was stored, and did not become the tip."""

    block: Block


@dataclass(frozen=True, slots=True)
class BlockDecided:
    """A block was refused (`error` is set), or it has left the orphan pool.

    It may have been stored on a side branch before: its transactions are verified when the branch wins. Of all other
    blocks the caller of `process` gets the verdict. `sources` gave the block; a peer among them may be
    banned for the error, unless it is a TemporaryHeaderError.
    """

    block: Block
    verdict: Verdict
    sources: Sequence[Source] = ()
    error: CkbError | None = None


@dataclass(frozen=True, slots=True)
class StorageFailed:
    """The disk failed over an orphan, for which no caller waits: the chain cannot be written any more."""

    error: StorageError


ChainEvent = BlockVerified | ChainChanged | SideBlockStored | BlockDecided | StorageFailed

WriterListener = Callable[[ChainEvent], None]
"""Called in the thread that writes, after the commit, of BlockVerified before it. It must not raise, nor write."""


class StoredBlocks(Sequence[Block]):
    """Blocks that are read from the store when they are looked at: those of a deep reorganisation are too many to keep.

    Each iteration reads them anew.
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
