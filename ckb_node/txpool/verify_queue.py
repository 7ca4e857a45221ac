"""The verify queue: transactions whose scripts wait for a worker or run. Bounded, each once; each may be withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ckb_node.txpool.limits import MAX_WAITING, MAX_WAITING_BYTES
from ckb_node.txpool.rejects import Duplicated, PoolFull, Reject
from ckb_node.verification.stopping import Stop
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import Transaction


@dataclass(slots=True, eq=False)
class PendingVerification:
    """A transaction in the queue. `withdrawn` is why its verdict is not wanted any more; `stop` ends its scripts.
    `makes_way`: when they take long they stand still while others do that take long. `takes_long`: whoever gave it
    says so, and a short run of them would be for nothing."""

    transaction: Transaction
    stop: Stop
    withdrawn: Reject | None = None
    makes_way: bool = False
    takes_long: bool = False

    def withdraw(self, reason: Reject) -> None:
        self.withdrawn = reason
        self.stop.set()

    def verify_wanted(self) -> None:
        """Raises the reason of its withdrawal, if it was withdrawn."""
        if self.withdrawn is not None:
            raise self.withdrawn


class VerifyQueue:
    """Pending verifications by proposal short id. `stop` is the parent of theirs."""

    def __init__(self, stop: Stop, limit: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._stop = stop
        self._limit, self._max_bytes = limit, max_bytes
        self._pending: dict[bytes, PendingVerification] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, transaction: Transaction) -> bool:
        return transaction.short_id in self._pending

    def get(self, short_id: bytes) -> Transaction | None:
        pending = self._pending.get(short_id)
        return None if pending is None else pending.transaction

    def place(self, short_id: bytes) -> int | None:
        """Where one is in the order of arrival, from 1."""
        return next((place for place, each in enumerate(self._pending, start=1) if each == short_id), None)

    def outside(self, transaction: Transaction) -> PendingVerification:
        """A verification outside of the queue: not counted, and it cannot be withdrawn."""
        return PendingVerification(transaction, Stop(self._stop))

    @contextmanager
    def enter(self, transaction: Transaction) -> Iterator[PendingVerification]:
        """In the queue while the context lasts. Raises Duplicated or PoolFull."""
        short_id, size = transaction.short_id, transaction.raw_size
        if short_id in self._pending:
            raise Duplicated(transaction.hash)
        if len(self._pending) >= self._limit or self._bytes + size > self._max_bytes:
            raise PoolFull(f"verify_queue total_tx_size exceeded, failed to add tx: 0x{transaction.hash.hex()}")
        pending = self._pending[short_id] = self.outside(transaction)
        self._bytes += size
        try:
            yield pending
        finally:
            pending.stop.set()
            del self._pending[short_id]
            self._bytes -= size

    def withdraw(self, tx_hash: bytes, reason: Reject) -> bool:
        """Raise `reason` to the transaction's caller instead of a verdict; False when it is not in the queue."""
        pending = self._pending.get(tx_hash[:SHORT_ID_SIZE])
        if pending is None or pending.transaction.hash != tx_hash:
            return False
        pending.withdraw(reason)
        return True

    def withdraw_all(self, reason: Reject) -> None:
        """The same for all that are in the queue now."""
        for pending in self._pending.values():
            pending.withdraw(reason)
