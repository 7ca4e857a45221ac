"""Blocks whose parent has not come yet: bounded in number and bytes, and in how far behind the tip they may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ckb_node.chain.events import Source, merged_sources
from ckb_node.runtime.bounded import BoundedMap
from consensus.types.blockchain import Block
from consensus.types.core import epoch_number

MAX_ORPHANS = 2048
MAX_ORPHAN_BYTES = 64 << 20
EXPIRE_EPOCHS = 6
"""An orphan this many epochs behind the tip can no longer matter."""


class Orphan(NamedTuple):
    """A block that waits for its parent, and the sources that gave it: BlockDecided names them."""

    block: Block
    sources: Sequence[Source] = ()


class OrphanPool:
    """Blocks by parent. When it is full the oldest arrival leaves."""

    def __init__(self, max_blocks: int = MAX_ORPHANS, max_bytes: int = MAX_ORPHAN_BYTES) -> None:
        self._orphans: BoundedMap[bytes, Orphan] = BoundedMap(
            max_count=max_blocks, max_bytes=max_bytes, size_of=lambda orphan: orphan.block.raw_size
        )
        self._by_parent: dict[bytes, list[bytes]] = {}

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
            self._orphans.replace(block.hash, known._replace(sources=merged_sources(known.sources, sources)))
            return []
        self._by_parent.setdefault(block.parent_hash, []).append(block.hash)
        evicted = [orphan for _, orphan in self._orphans.put(block.hash, Orphan(block, tuple(sources)))]
        for orphan in evicted:
            self._forget_sibling(orphan.block)
        return evicted

    def take_children(self, parent_hash: bytes) -> list[Orphan]:
        """Remove and return the blocks that waited for this parent, in order of arrival."""
        return self._remove_all(list(self._by_parent.get(parent_hash, ())))

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
                dropped += [*self._remove_all([block_hash]), *self.drop_descendants(block_hash)]
        return dropped

    def drop_above(self, number: int) -> list[Orphan]:
        """Remove and return all blocks higher than this: what they wait for may stand on blocks that are gone."""
        above = [block_hash for block_hash, orphan in self._orphans.items() if orphan.block.number > number]
        return self._remove_all(above)

    def _remove_all(self, hashes: Sequence[bytes]) -> list[Orphan]:
        """In this order, without those that are not here."""
        removed = [orphan for block_hash in hashes if (orphan := self._orphans.pop(block_hash)) is not None]
        for orphan in removed:
            self._forget_sibling(orphan.block)
        return removed

    def _forget_sibling(self, block: Block) -> None:
        siblings = self._by_parent[block.parent_hash]
        siblings.remove(block.hash)
        if not siblings:
            del self._by_parent[block.parent_hash]
