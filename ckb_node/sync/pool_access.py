"""The pool of a running node, as relay sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ckb_node.sync.relay.pool import PooledTransaction
from ckb_node.txpool.at_hand import Proposed
from ckb_node.txpool.events import ParentsMissing, RelayNews, RemoteRefused, TransactionAccepted
from ckb_node.txpool.service import PoolService
from consensus.types.blockchain import Transaction

__all__ = ["PoolAccess"]


class PoolAccess:
    """Satisfies ckb_node.sync.relay.pool.RelayPool. The pool belongs to the event loop, as the network does."""

    def __init__(self, pool: PoolService) -> None:
        self._pool: Final = pool

    def holds(self, tx_hash: bytes) -> bool:
        return self._pool.at_hand.holds(tx_hash)

    def by_short_ids(self, short_ids: Iterable[bytes]) -> Mapping[bytes, Transaction]:
        return self._pool.at_hand.find(short_ids)

    def unknown_of(self, short_ids: Iterable[bytes]) -> list[bytes]:
        return self._pool.at_hand.unknown_of(short_ids)

    def proposed(self, short_ids: Iterable[bytes]) -> Proposed:
        return self._pool.at_hand.proposed(short_ids)

    def parents_first(self, tx_hashes: Iterable[bytes]) -> Sequence[bytes]:
        return self._pool.pool.graph.parents_first(tx_hashes)

    def pooled(self, tx_hash: bytes) -> PooledTransaction | None:
        entry = self._pool.pool.graph.by_hash(tx_hash)
        return None if entry is None else PooledTransaction(entry.tx, entry.cycles)

    def room_for(self, giver: int) -> int:
        return self._pool.remote.queue.room_for(giver)

    def submit(self, transaction: Transaction, declared_cycles: int, giver: int) -> None:
        self._pool.remote.submit(transaction, declared_cycles, giver)

    def submit_proposed(self, transaction: Transaction, giver: int) -> None:
        self._pool.remote.submit(transaction, None, giver)

    def drop_from(self, giver: int) -> None:
        self._pool.remote.drop_from(giver)

    def closed(self, giver: int) -> None:
        self._pool.remote.closed(giver)

    def listen(self, listener: Callable[[RelayNews], None]) -> Callable[[], None]:
        events = self._pool.events
        ends = (
            events.listen(TransactionAccepted, listener),
            events.listen(RemoteRefused, listener),
            events.listen(ParentsMissing, listener),
        )

        def end() -> None:
            for each in ends:
                each()

        return end
