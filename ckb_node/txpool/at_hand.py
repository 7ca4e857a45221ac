"""Transactions by proposal short id, wherever in and around the pool they are: to rebuild blocks of peers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ckb_node.txpool.limits import MAX_SEARCHED
from ckb_node.txpool.pool import TxPool
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.crypto.hashing import HASH_SIZE
from consensus.types.blockchain import Transaction

__all__ = ["Proposed", "TransactionsAtHand"]


Find = Callable[[bytes], Transaction | None]
"""By short id."""


class Proposed(NamedTuple):
    """What is at hand of transactions that a block proposes. `alone`, by short id, need no other that is on its way
    into a block; `dependent` are hashes of pooled ones that do, parents first."""

    alone: Mapping[bytes, Transaction]
    dependent: Sequence[bytes]


class TransactionsAtHand:
    """`coming` are places of transactions that may come into the pool, `spare` of those that will not."""

    def __init__(self, pool: TxPool, coming: Sequence[Find], spare: Sequence[Find]) -> None:
        self._pool: Final = pool
        self._coming: Final = coming
        self._all: Final = (self._in_pool, *coming, self._conflicted, *spare)

    def holds(self, tx_hash: bytes) -> bool:
        """It is in the pool, or on its way there."""
        if self._pool.graph.by_hash(tx_hash) is not None or tx_hash in self._pool.away:
            return True
        found = _first(self._coming, tx_hash[:SHORT_ID_SIZE])
        return found is not None and found.hash == tx_hash

    def find(self, short_ids: Iterable[bytes]) -> Mapping[bytes, Transaction]:
        """Those that are anywhere, verified or not."""
        found, missing = dict[bytes, Transaction](), list(dict.fromkeys(short_ids))
        for find in self._all:  # place by place: of thousands that nobody has, each costs a few calls and no more
            for short_id in missing:
                transaction = find(short_id)
                if transaction is not None:
                    found[short_id] = transaction
            missing = [each for each in missing if each not in found]
        return found

    def unknown_of(self, short_ids: Iterable[bytes]) -> list[bytes]:
        """Those, each once, that are neither in the pool nor on their way there."""
        entries = self._pool.graph.entries
        unknown = [each for each in dict.fromkeys(short_ids) if each not in entries]
        for find in self._coming:
            unknown = [each for each in unknown if find(each) is None]
        return unknown

    def proposed(self, short_ids: Iterable[bytes]) -> Proposed:
        """Those that others may have now. What is not verified and needs one that is here is left out for the time."""
        graph, alone, dependent = self._pool.graph, dict[bytes, Transaction](), list[bytes]()
        for short_id in short_ids:
            entry = graph.entries.get(short_id)
            if entry is not None and entry.parents:
                dependent.append(entry.hash)
                continue
            found = _first(self._all, short_id)
            if found is not None and (entry is not None or not self._needs_another(found)):
                alone[short_id] = found
        return Proposed(alone, graph.parents_first(dependent))

    def _needs_another(self, transaction: Transaction) -> bool:
        """It spends a cell of one, as far as is known without long searches."""
        if len(transaction.body.inputs) > MAX_SEARCHED:
            return True
        return any(self.holds(each[:HASH_SIZE]) for each in transaction.consumed)

    def _in_pool(self, short_id: bytes) -> Transaction | None:
        entry = self._pool.graph.entries.get(short_id)
        return None if entry is None else entry.tx

    def _conflicted(self, short_id: bytes) -> Transaction | None:
        return self._pool.conflicted.get(short_id)


def _first(places: Iterable[Find], short_id: bytes) -> Transaction | None:
    return next((found for find in places if (found := find(short_id)) is not None), None)
