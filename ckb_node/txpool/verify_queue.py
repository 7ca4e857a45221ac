"""Transactions whose scripts wait for a worker or run: bounded, each once, and each may be withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ckb_node.txpool.rejects import Duplicated, PoolFull, Reject
from ckb_node.verification.stopping import Stop
from consensus.types.blockchain import SHORT_ID_SIZE, Transaction

MAX_WAITING = 10_000
MAX_WAITING_BYTES = 256_000_000


@dataclass(slots=True, eq=False)
class Ticket:
    """One waiting transaction. `withdrawn` says why nobody wants it any more, `stop` says so to its scripts."""

    transaction: Transaction
    stop: Stop
    withdrawn: Reject | None = None

    def withdraw(self, reason: Reject) -> None:
        self.withdrawn = reason
        self.stop.set()

    def verify_wanted(self) -> None:
        """Raises the reason of its withdrawal."""
        if self.withdrawn is not None:
            raise self.withdrawn


class Waiting:
    """Tickets by proposal short id. `stop` is the parent of theirs."""

    def __init__(self, stop: Stop, limit: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._stop = stop
        self._limit, self._max_bytes = limit, max_bytes
        self._tickets: dict[bytes, Ticket] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, transaction: Transaction) -> bool:
        return transaction.short_id in self._tickets

    def outside(self, transaction: Transaction) -> Ticket:
        """A ticket that is not counted and cannot be withdrawn."""
        return Ticket(transaction, Stop(self._stop))

    @contextmanager
    def enter(self, transaction: Transaction) -> Iterator[Ticket]:
        """Wait while the context lasts. Raises Duplicated or PoolFull."""
        short_id, size = transaction.short_id, transaction.raw_size
        if short_id in self._tickets:
            raise Duplicated(transaction.hash)
        if len(self._tickets) >= self._limit or self._bytes + size > self._max_bytes:
            raise PoolFull(f"verify_queue total_tx_size exceeded, failed to add tx: 0x{transaction.hash.hex()}")
        ticket = self._tickets[short_id] = self.outside(transaction)
        self._bytes += size
        try:
            yield ticket
        finally:
            ticket.stop.set()
            del self._tickets[short_id]
            self._bytes -= size

    def withdraw(self, tx_hash: bytes, reason: Reject) -> bool:
        """Let a transaction's caller have `reason` instead of a verdict; False when it does not wait."""
        ticket = self._tickets.get(tx_hash[:SHORT_ID_SIZE])
        if ticket is None or ticket.transaction.hash != tx_hash:
            return False
        ticket.withdraw(reason)
        return True

    def withdraw_all(self, reason: Reject) -> None:
        """The same for all that wait now."""
        for ticket in self._tickets.values():
            ticket.withdraw(reason)
