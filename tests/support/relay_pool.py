"""A pool for tests of relay: it holds what it is given, and notes what is submitted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ckb_node.sync.relay.pool import PooledTransaction
from ckb_node.txpool.at_hand import Proposed
from ckb_node.txpool.events import RelayNews
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import Transaction


class FakePool:
    """Satisfies ckb_node.sync.relay.pool.RelayPool."""

    def __init__(self) -> None:
        self.entries: dict[bytes, PooledTransaction] = {}
        """By hash."""
        self.coming: dict[bytes, Transaction] = {}
        """By short id: what waits for verification, or for parents."""
        self.room = 10_000
        self.submitted: list[tuple[Transaction, int | None, int]] = []
        """With declared cycles, None when a block proposes it, and giver."""
        self.dropped: list[int] = []
        self.gone: list[int] = []
        self._listeners: list[Callable[[RelayNews], None]] = []

    def add(self, *transactions: Transaction, cycles: int = 1000) -> None:
        for each in transactions:
            self.entries[each.hash] = PooledTransaction(each, cycles)

    def tell(self, news: RelayNews) -> None:
        for each in tuple(self._listeners):
            each(news)

    @property
    def listener_count(self) -> int:
        return len(self._listeners)

    def holds(self, tx_hash: bytes) -> bool:
        return tx_hash in self.entries or tx_hash[:SHORT_ID_SIZE] in self.coming

    def by_short_ids(self, short_ids: Iterable[bytes]) -> Mapping[bytes, Transaction]:
        found = {each.transaction.short_id: each.transaction for each in self.entries.values()} | self.coming
        return {each: found[each] for each in short_ids if each in found}

    def unknown_of(self, short_ids: Iterable[bytes]) -> list[bytes]:
        known = self.by_short_ids(short_ids)
        return [each for each in dict.fromkeys(short_ids) if each not in known]

    def proposed(self, short_ids: Iterable[bytes]) -> Proposed:
        found = self.by_short_ids(short_ids)
        dependent = [each.hash for each in found.values() if self._depth(each.hash) > 1]
        alone = {short_id: each for short_id, each in found.items() if self._depth(each.hash) <= 1}
        return Proposed(alone, self.parents_first(dependent))

    def parents_first(self, tx_hashes: Iterable[bytes]) -> Sequence[bytes]:
        return sorted(tx_hashes, key=self._depth)

    def _depth(self, tx_hash: bytes) -> int:
        """Entries in the longest line of parents that ends with it."""
        entry = self.entries.get(tx_hash)
        if entry is None:
            return 0
        return 1 + max(self._depth(each.previous_output.tx_hash) for each in entry.transaction.body.inputs)

    def pooled(self, tx_hash: bytes) -> PooledTransaction | None:
        return self.entries.get(tx_hash)

    def room_for(self, giver: int) -> int:
        return self.room

    def submit(self, transaction: Transaction, declared_cycles: int, giver: int) -> None:
        self.submitted.append((transaction, declared_cycles, giver))

    def submit_proposed(self, transaction: Transaction, giver: int) -> None:
        self.submitted.append((transaction, None, giver))

    def drop_from(self, giver: int) -> None:
        self.dropped.append(giver)

    def closed(self, giver: int) -> None:
        self.gone.append(giver)

    def listen(self, listener: Callable[[RelayNews], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
