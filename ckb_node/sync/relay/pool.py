"""What relay needs of the transaction pool. All of it is called on the network's thread and returns at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ckb_node.txpool.at_hand import Proposed
from ckb_node.txpool.events import RelayNews
from consensus.types.blockchain import Transaction

__all__ = ["PooledTransaction", "RelayPool"]


class PooledTransaction(NamedTuple):
    """A verified transaction with the cycles that its scripts took."""

    transaction: Transaction
    cycles: int


class RelayPool(Protocol):
    """The pool as relay sees it. `giver` is the session of the peer that gave a transaction."""

    def holds(self, tx_hash: bytes) -> bool:
        """The transaction is in the pool, or on its way there: nobody need be asked for it."""

    def by_short_ids(self, short_ids: Iterable[bytes]) -> Mapping[bytes, Transaction]:
        """What is at hand of these, by short id (10 bytes), to rebuild a block: pooled, waiting for verification or
        for parents, lost against another, or committed lately. Not all of them are verified."""

    def unknown_of(self, short_ids: Iterable[bytes]) -> list[bytes]:
        """Those, each once, that are neither in the pool nor on their way there."""

    def proposed(self, short_ids: Iterable[bytes]) -> Proposed:
        """What peers may be given of those that a block proposes."""

    def parents_first(self, tx_hashes: Iterable[bytes]) -> Sequence[bytes]:
        """The same hashes, none before one of them that it needs."""

    def pooled(self, tx_hash: bytes) -> PooledTransaction | None:
        """A verified transaction of the pool."""

    def room_for(self, giver: int) -> int:
        """How many more transactions of a peer the pool would take at present."""

    def submit(self, transaction: Transaction, declared_cycles: int, giver: int) -> None:
        """Verify later, in the peer's turn, and admit. The news tell what becomes of it."""

    def submit_proposed(self, transaction: Transaction, giver: int) -> None:
        """The same for one that a block proposes, before others of this peer. Its cycles are not known."""

    def drop_from(self, giver: int) -> None:
        """A peer is banned: what it gave and is not verified yet leaves, and each is refused in the news."""

    def closed(self, giver: int) -> None:
        """A peer has gone; what it gave stays."""

    def listen(self, listener: Callable[[RelayNews], None]) -> Callable[[], None]:
        """Hear what becomes of transactions, those that others gave included; the result, called once, ends that."""
