"""Transactions that lost against others of the pool: they may get another chance, and blocks may still hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.txpool.limits import MAX_CONFLICTED, MAX_CONFLICTED_BYTES
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import Transaction


class Conflicted:
    """Verified transactions, bounded in number and bytes; the oldest leave."""

    def __init__(self, limit: int = MAX_CONFLICTED, max_bytes: int = MAX_CONFLICTED_BYTES) -> None:
        self._transactions: BoundedMap[bytes, Transaction] = BoundedMap(
            max_count=limit, max_bytes=max_bytes, size_of=lambda tx: tx.raw_size
        )
        self._by_input: dict[bytes, bytes] = {}
        self._by_short_id: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._transactions)

    def __iter__(self) -> Iterator[bytes]:
        """Their hashes, oldest first."""
        return iter(self._transactions)

    def get(self, short_id: bytes) -> Transaction | None:
        tx_hash = self._by_short_id.get(short_id)
        return None if tx_hash is None else self._transactions.get(tx_hash)

    def keep(self, tx: Transaction) -> None:
        """Remember a transaction as the newest."""
        self.drop(tx.hash)
        for out_point in tx.consumed:
            self._by_input[out_point] = tx.hash
        self._by_short_id[tx.short_id] = tx.hash
        for tx_hash, old in self._transactions.put(tx.hash, Transaction.trusted(tx.raw)):
            self._forget_links(tx_hash, old)

    def drop(self, tx_hash: bytes) -> None:
        """Forget a transaction, known or not."""
        tx = self._transactions.pop(tx_hash)
        if tx is not None:
            self._forget_links(tx_hash, tx)

    def _forget_links(self, tx_hash: bytes, tx: Transaction) -> None:
        for key in tx.consumed:
            if self._by_input.get(key) == tx_hash:
                del self._by_input[key]
        if self._by_short_id.get(tx_hash[:SHORT_ID_SIZE]) == tx_hash:
            del self._by_short_id[tx_hash[:SHORT_ID_SIZE]]

    def spending(self, out_points: Iterable[bytes]) -> list[Transaction]:
        """Of each cell the last transaction that wanted to spend it."""
        found = (self._transactions.get(each) for each in self.hashes_spending(out_points))
        return [tx for tx in found if tx is not None]

    def hashes_spending(self, out_points: Iterable[bytes]) -> list[bytes]:
        """Their hashes."""
        return list(dict.fromkeys(self._by_input[key] for key in out_points if key in self._by_input))
