"""Transactions that the pool does not hold any more and that a block of a peer may hold still: to rebuild it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.txpool.limits import (
    MAX_SPARE_COMMITTED,
    MAX_SPARE_COMMITTED_BYTES,
    MAX_SPARE_REFUSED,
    MAX_SPARE_REFUSED_BYTES,
)
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import Transaction
from consensus.types.tx_slice import TxSlice

__all__ = ["SpareTransactions"]


_Raw = tuple[bytes, bytes]
"""Hash and bytes."""


class SpareTransactions:
    """The last ones that were committed, and the last ones that were refused or evicted, by short id."""

    def __init__(self) -> None:
        self._committed: Final[BoundedMap[bytes, _Raw]] = _raw_map(MAX_SPARE_COMMITTED, MAX_SPARE_COMMITTED_BYTES)
        self._refused: Final[BoundedMap[bytes, _Raw]] = _raw_map(MAX_SPARE_REFUSED, MAX_SPARE_REFUSED_BYTES)

    def get(self, short_id: bytes) -> Transaction | None:
        found = self._committed.get(short_id) or self._refused.get(short_id)
        if found is None:
            return None
        transaction = Transaction.trusted(found[1])
        transaction.__dict__["hash"] = found[0]
        return transaction

    def keep_committed(self, transactions: Iterable[TxSlice]) -> None:
        """A block has committed them."""
        for each in transactions:
            short_id = each.hash[:SHORT_ID_SIZE]
            self._refused.pop(short_id)
            self._committed.put(short_id, (each.hash, each.raw))

    def keep_refused(self, tx_hash: bytes, raw: bytes) -> None:
        """It is well-formed, and the pool has no room for it, or no use."""
        self._refused.put(tx_hash[:SHORT_ID_SIZE], (tx_hash, raw))

    def clear(self) -> None:
        self._committed.clear()
        self._refused.clear()


def _raw_map(max_count: int, max_bytes: int) -> BoundedMap[bytes, _Raw]:
    return BoundedMap(max_count=max_count, max_bytes=max_bytes, size_of=lambda each: len(each[1]))
