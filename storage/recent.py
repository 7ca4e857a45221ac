"""What a transaction learnt or stored of blocks lately: the rules of each block ask for a dozen of those below it.

The transaction is the only writer and updates these entries with every change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from consensus.types.blockchain import Block
from consensus.types.core import BlockExt, EpochExt
from storage.records import BlockRecord

__all__ = ["Recent", "RecentFacts"]

T = TypeVar("T")


class Recent(Generic[T]):
    """The last `limit` values put, and up to as many more; by block hash, never a None. Any thread may read."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._values: dict[bytes, T] = {}
        self._older: dict[bytes, T] = {}

    def get(self, block_hash: bytes) -> T | None:
        """The value kept."""
        found = self._values.get(block_hash)
        return self._older.get(block_hash) if found is None else found

    def keep(self, block_hash: bytes, value: T | None) -> T | None:
        """The value that was read, kept from now on if there is one."""
        if value is not None:
            self.put(block_hash, value)
        return value

    def put(self, block_hash: bytes, value: T) -> None:
        """Keep a value; the older half goes when there are too many."""
        values = self._values
        if len(values) >= self._limit:
            self._older = values  # publish the older half first, so that readers always see the keys
            values = self._values = {}
        values[block_hash] = value

    def put_all(self, values: Mapping[bytes, T]) -> None:
        """Keep many values, no more than `limit`."""
        if len(self._values) + len(values) > self._limit:
            self._older = self._values
            self._values = {}
        self._values.update(values)

    def forget(self, block_hash: bytes) -> None:
        """The value is no longer true."""
        self._values.pop(block_hash, None)
        self._older.pop(block_hash, None)

    def clear(self) -> None:
        """Nothing is kept any more."""
        self._values, self._older = {}, {}


class RecentFacts:
    """Of blocks on whatever branch. Bodies are few, since each may be big: those that the reward of the next block
    looks at, and up to as many more."""

    def __init__(self) -> None:
        self.blocks: Final[Recent[Block]] = Recent(16)
        self.records: Final[Recent[BlockRecord]] = Recent(64)
        self.exts: Final[Recent[BlockExt]] = Recent(64)
        self.epochs: Final[Recent[EpochExt]] = Recent(64)
        self.proposals: Final[Recent[frozenset[bytes]]] = Recent(64)

    def forget(self, block_hash: bytes) -> None:
        """The block is deleted."""
        for facts in self._all():
            facts.forget(block_hash)

    def clear(self) -> None:
        """Nothing is kept any more."""
        for facts in self._all():
            facts.clear()

    def _all(self) -> tuple[Recent[Any], ...]:
        return self.blocks, self.records, self.exts, self.epochs, self.proposals
