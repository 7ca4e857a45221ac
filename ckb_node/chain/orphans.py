"""Blocks whose parent has not come yet: bounded in number and bytes, and in how far behind the tip they may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ckb_node.chain.events import Source
from consensus.types.blockchain import Block
from consensus.types.core import epoch_number

MAX_ORPHANS = 2048
MAX_ORPHAN_BYTES = 64 << 20
MAX_SOURCES = 64
"""Givers of one orphan that are remembered."""
EXPIRE_EPOCHS = 6
"""An orphan this many epochs behind the tip can no longer matter."""


class Orphan(NamedTuple):
    """A block that waits for its parent, and the sources that gave it: BlockDecided names them."""

    block: Block
    sources: Sequence[Source] = ()


class OrphanPool:
    """Blocks by parent. When it is full the oldest arrival leaves."""

    def __init__(self, max_blocks: int = MAX_ORPHANS, max_bytes: int = MAX_ORPHAN_BYTES) -> None:
        self._max_blocks, self._max_bytes = max_blocks, max_bytes
        self._orphans: dict[bytes, Orphan] = {}
        self._by_parent: dict[bytes, list[bytes]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._orphans)

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._orphans

    def __iter__(self) -> Iterator[Block]:
        return iter([orphan.block for orphan in self._orphans.values()])

    def add(self, block: Block, sources: Sequence[Source] = ()) -> list[Orphan]:
        """Keep a block until its parent comes; those that had to leave for it."""
        known = self._orphans.get(block.hash)
        if known is not None:
            merged = tuple(dict.fromkeys((*known.sources, *sources)))[:MAX_SOURCES]
            self._orphans[block.hash] = known._replace(sources=merged)
            return []
        self._orphans[block.hash] = Orphan(block, tuple(sources))
        self._by_parent.setdefault(block.parent_hash, []).append(block.hash)
        self._bytes += block.raw_size
        evicted = []
        while len(self._orphans) > self._max_blocks or self._bytes > self._max_bytes:
            evicted.append(self._remove(next(iter(self._orphans))))
        return evicted

    def take_children(self, parent_hash: bytes) -> list[Orphan]:
        """Remove and return the blocks that waited for this parent, in order of arrival."""
        return [self._remove(block_hash) for block_hash in list(self._by_parent.get(parent_hash, ()))]

    def drop_descendants(self, block_hash: bytes) -> list[Orphan]:
        """Remove and return all that wait, directly or not, for this block."""
        dropped, roots = list[Orphan](), [block_hash]
        while roots:
            children = self.take_children(roots.pop())
            roots += (child.block.hash for child in children)
            dropped += children
        return dropped

    def expire(self, tip_epoch: int) -> list[Orphan]:
        """Remove and return blocks that are too far behind, and all that wait for them."""
        old = [
            block_hash
            for block_hash, orphan in self._orphans.items()
            if epoch_number(orphan.block.header.epoch) + EXPIRE_EPOCHS < tip_epoch
        ]
        dropped = []
        for block_hash in old:
            if block_hash in self._orphans:
                dropped += [self._remove(block_hash), *self.drop_descendants(block_hash)]
        return dropped

    def drop_above(self, number: int) -> list[Orphan]:
        """Remove and return all blocks higher than this: what they wait for may stand on blocks that are gone."""
        above = [block_hash for block_hash, orphan in self._orphans.items() if orphan.block.number > number]
        return [self._remove(block_hash) for block_hash in above]

    def _remove(self, block_hash: bytes) -> Orphan:
        orphan = self._orphans.pop(block_hash)
        siblings = self._by_parent[orphan.block.parent_hash]
        siblings.remove(block_hash)
        if not siblings:
            del self._by_parent[orphan.block.parent_hash]
        self._bytes -= orphan.block.raw_size
        return orphan
