"""Transactions that lost against others of the pool: they may get another chance, and blocks may still hold them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from consensus.types.blockchain import Transaction

MAX_CONFLICTED = 10_000
MAX_CONFLICTED_BYTES = 64 << 20


class Conflicted:
    """Verified transactions, bounded in number and bytes; the oldest leave."""

    def __init__(self, limit: int = MAX_CONFLICTED, max_bytes: int = MAX_CONFLICTED_BYTES) -> None:
        self._limit, self._max_bytes = limit, max_bytes
        self._transactions: OrderedDict[bytes, Transaction] = OrderedDict()
        self._by_input: dict[bytes, bytes] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._transactions)

    def __iter__(self) -> Iterator[bytes]:
        """Their hashes, oldest first."""
        return iter(self._transactions)

    def keep(self, tx: Transaction) -> None:
        """Remember a transaction as the newest."""
        self.drop(tx.hash)
        self._transactions[tx.hash] = Transaction.trusted(tx.raw)
        self._bytes += tx.raw_size
        for cell_input in tx.body.inputs:
            self._by_input[cell_input.previous_output.raw] = tx.hash
        while len(self._transactions) > self._limit or self._bytes > self._max_bytes:
            self.drop(next(iter(self._transactions)))

    def drop(self, tx_hash: bytes) -> None:
        """Forget a transaction, known or not."""
        tx = self._transactions.pop(tx_hash, None)
        if tx is None:
            return
        self._bytes -= tx.raw_size
        for cell_input in tx.body.inputs:
            key = cell_input.previous_output.raw
            if self._by_input.get(key) == tx_hash:
                del self._by_input[key]

    def spending(self, out_points: Iterable[bytes]) -> list[Transaction]:
        """Of each cell the last transaction that wanted to spend it."""
        hashes = dict.fromkeys(self._by_input[key] for key in out_points if key in self._by_input)
        return [self._transactions[each] for each in hashes]
