"""Blocks whose parent has not come yet: bounded in number and bytes, and in how far behind the tip they may be."""

from __future__ import annotations

from collections.abc import Iterator

from consensus.types.blockchain import Block
from consensus.types.core import epoch_number

MAX_ORPHANS = 2048
MAX_ORPHAN_BYTES = 64 << 20
EXPIRE_EPOCHS = 6
"""An orphan this many epochs behind the tip can no longer matter."""


class OrphanPool:
    """Blocks by parent. When it is full the oldest arrival leaves."""

    def __init__(self, max_blocks: int = MAX_ORPHANS, max_bytes: int = MAX_ORPHAN_BYTES) -> None:
        self._max_blocks, self._max_bytes = max_blocks, max_bytes
        self._blocks: dict[bytes, Block] = {}
        self._by_parent: dict[bytes, list[bytes]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._blocks

    def __iter__(self) -> Iterator[Block]:
        return iter(list(self._blocks.values()))

    def add(self, block: Block) -> None:
        """Keep a block until its parent comes."""
        if block.hash in self._blocks:
            return
        self._blocks[block.hash] = block
        self._by_parent.setdefault(block.parent_hash, []).append(block.hash)
        self._bytes += block.raw_size
        while len(self._blocks) > self._max_blocks or self._bytes > self._max_bytes:
            self._remove(next(iter(self._blocks)))

    def take_children(self, parent_hash: bytes) -> list[Block]:
        """Remove and return the blocks that waited for this parent, in order of arrival."""
        return [self._remove(block_hash) for block_hash in list(self._by_parent.get(parent_hash, ()))]

    def drop_descendants(self, block_hash: bytes) -> int:
        """Drop all that wait, directly or not, for this block; how many."""
        count, doomed = 0, [block_hash]
        while doomed:
            children = self.take_children(doomed.pop())
            doomed += (child.hash for child in children)
            count += len(children)
        return count

    def expire(self, tip_epoch: int) -> int:
        """Drop blocks that are too far behind, and all that wait for them; how many."""
        old = [
            each for each, block in self._blocks.items() if epoch_number(block.header.epoch) + EXPIRE_EPOCHS < tip_epoch
        ]
        before = len(self)
        for block_hash in old:
            if block_hash in self._blocks:
                self._remove(block_hash)
                self.drop_descendants(block_hash)
        return before - len(self)

    def drop_above(self, number: int) -> None:
        """Drop all blocks higher than this: what they wait for may stand on blocks that are gone."""
        for block in [block for block in self._blocks.values() if block.number > number]:
            self._remove(block.hash)

    def _remove(self, block_hash: bytes) -> Block:
        block = self._blocks.pop(block_hash)
        siblings = self._by_parent[block.parent_hash]
        siblings.remove(block_hash)
        if not siblings:
            del self._by_parent[block.parent_hash]
        self._bytes -= block.raw_size
        return block
