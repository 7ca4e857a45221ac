"""Who gave the blocks of side branches, whose transactions are verified only when their branch wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ckb_node.chain.events import Source, merged_sources
from ckb_node.runtime.bounded import BoundedMap
from consensus.types.blockchain import Block

MAX_SIDE_BLOCKS = 2048
MAX_SIDE_BYTES = 64 << 20
"""Bodies of the blocks whose sources are remembered: all of them may be read again, to tell that they are invalid."""


class _Given(NamedTuple):
    size: int
    sources: Sequence[Source]


class SideSources:
    """Sources of side blocks by block hash. The oldest block's leave when there are too many."""

    def __init__(self, max_blocks: int = MAX_SIDE_BLOCKS, max_bytes: int = MAX_SIDE_BYTES) -> None:
        self._given: BoundedMap[bytes, _Given] = BoundedMap(
            max_count=max_blocks, max_bytes=max_bytes, size_of=lambda given: given.size
        )

    def __len__(self) -> int:
        return len(self._given)

    def add(self, block: Block, sources: Sequence[Source]) -> None:
        """Remember who gave a block, besides those that gave it before."""
        if not sources:
            return
        known = self._given.get(block.hash)
        if known is None:
            self._given.put(block.hash, _Given(block.raw_size, merged_sources((), sources)))
        else:
            self._given.replace(block.hash, known._replace(sources=merged_sources(known.sources, sources)))

    def take(self, block_hash: bytes) -> Sequence[Source]:
        """The sources, forgotten from now on: the block is verified, invalid, or gone."""
        given = self._given.pop(block_hash)
        return () if given is None else given.sources
