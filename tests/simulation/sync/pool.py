"""A node's pool without an event loop: the real rules, graph, queue of peers' transactions and orphans, and a model of
how long scripts take. Scripts of one transaction run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ckb_node.chain.events import ChainChanged
from ckb_node.mining.uncles import CandidateUncles
from ckb_node.runtime.events import EventBus
from ckb_node.sync.relay.pool import PooledTransaction
from ckb_node.txpool.at_hand import Proposed, TransactionsAtHand
from ckb_node.txpool.blame import is_malformed, lacks_cells
from ckb_node.txpool.events import (
    ParentsMissing,
    RelayNews,
    RemoteRefused,
    TransactionAccepted,
    TransactionAdmitted,
    TransactionRejected,
)
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.orphans import OrphanTransactions
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.rejects import (
    DeclaredWrongCycles,
    Duplicated,
    Invalidated,
    PeerDropped,
    PoolFull,
    Reject,
    VerificationFailed,
)
from ckb_node.txpool.remote_queue import DEPARTED, RemoteQueue, RemoteTransaction
from ckb_node.txpool.selector import proposed_of, select_for_block
from ckb_node.txpool.spares import SpareTransactions
from ckb_node.verification.scripts import ScriptRun
from ckb_node.verification.stopping import Stop
from consensus.errors import CkbError
from consensus.rules.verify_transaction import verify_transaction
from consensus.types.blockchain import Transaction
from tests.simulation.clock import Clock
from tests.simulation.sync.chain import SimChain

MAX_PROPOSALS: Final = 100
MAX_BLOCK_BYTES: Final = 400_000
MAX_BLOCK_CYCLES: Final = 1_000_000_000
SCRIPT_TIME: Final = 0.002
"""Seconds that a transaction takes."""
UNCLE_HEIGHTS: Final = 40
OURSELVES: Final = -1
"""Who gives what comes from wallets and from detached blocks."""


class SimPool:
    """Satisfies ckb_node.sync.relay.pool.RelayPool."""

    def __init__(self, chain: SimChain, clock: Clock) -> None:
        self.events: Final = EventBus()
        self.candidates: Final = CandidateUncles()
        self.pool: Final = TxPool(
            chain.consensus,
            PoolLimits(),
            chain.view(),
            clock.wall_ms,
            age_ms=lambda: int(clock.now() * 1000),
            events=self.events,
        )
        self._chain, self._clock, self._stop = chain, clock, Stop()
        self._queue: Final = RemoteQueue(chain.consensus.max_block_cycles)
        self._orphans: Final = OrphanTransactions()
        self._spares: Final = SpareTransactions()
        self._at_hand: Final = TransactionsAtHand(self.pool, (self._coming,), (self._spares.get,))
        self._connected: Final[set[int]] = set()
        self._is_working = False
        self.events.listen(TransactionAdmitted, lambda event: self._try_children(event.entry.hash))
        self.events.listen(TransactionRejected, self._on_rejected)
        chain.listen(self._on_change)
        chain.listen_side(self.candidates.add)

    # --- for relay ---

    def holds(self, tx_hash: bytes) -> bool:
        return self._at_hand.holds(tx_hash)

    def by_short_ids(self, short_ids: Iterable[bytes]) -> Mapping[bytes, Transaction]:
        return self._at_hand.find(short_ids)

    def unknown_of(self, short_ids: Iterable[bytes]) -> list[bytes]:
        return self._at_hand.unknown_of(short_ids)

    def proposed(self, short_ids: Iterable[bytes]) -> Proposed:
        return self._at_hand.proposed(short_ids)

    def parents_first(self, tx_hashes: Iterable[bytes]) -> Sequence[bytes]:
        return self.pool.graph.parents_first(tx_hashes)

    def pooled(self, tx_hash: bytes) -> PooledTransaction | None:
        entry = self.pool.graph.by_hash(tx_hash)
        return None if entry is None else PooledTransaction(entry.tx, entry.cycles)

    def room_for(self, giver: int) -> int:
        return self._queue.room_for(giver)

    def submit(self, transaction: Transaction, declared_cycles: int, giver: int) -> None:
        self._take(RemoteTransaction.of(transaction, giver, declared_cycles))

    def submit_proposed(self, transaction: Transaction, giver: int) -> None:
        self._take(RemoteTransaction.of(transaction, giver, None))

    def drop_from(self, giver: int) -> None:
        for item in (*self._queue.remove_from(giver), *self._orphans.remove_from(giver)):
            self._tell_refused(item, PeerDropped())

    def closed(self, giver: int) -> None:
        self._connected.discard(giver)
        self._queue.disown(giver)
        self._orphans.disown(giver)

    def listen(self, listener: Callable[[RelayNews], None]) -> Callable[[], None]:
        listen = self.events.listen
        ends = (
            listen(TransactionAccepted, listener),
            listen(RemoteRefused, listener),
            listen(ParentsMissing, listener),
        )

        def end() -> None:
            for each in ends:
                each()

        return end

    # --- for wallets ---

    def submit_local(self, transaction: Transaction) -> None:
        """As `send_transaction` does; what becomes of it stands in the pool."""
        self._take(RemoteTransaction.of(transaction, OURSELVES, None))

    # --- verification ---

    def _take(self, item: RemoteTransaction) -> None:
        self._connected.add(item.giver)
        self._enqueue(item, item.giver)

    def _enqueue(self, item: RemoteTransaction, owner: int) -> None:
        if self._queue.get(item.short_id) is not None:
            self._tell_refused(item, Duplicated(item.hash))
            return
        for left in self._queue.add(item, owner, is_first=item.declared is None):
            self._tell_refused(left, PoolFull("too many transactions of peers wait for verification"))
        if not self._is_working:
            self._is_working = True
            self._clock.call_later(SCRIPT_TIME, self._work)

    def _work(self) -> None:
        """Verify one of each owner's."""
        self._is_working = False
        if self._stop.is_set:
            return
        for owner in self._queue.owners():
            item = self._queue.take(owner)
            if item is not None:
                self._process(item)
        if len(self._queue) and not self._is_working:
            self._is_working = True
            self._clock.call_later(SCRIPT_TIME, self._work)

    def _process(self, item: RemoteTransaction) -> None:
        try:
            self._admit(item.transaction, item.declared)
        except Reject as reason:
            self._refuse(item, reason)
        else:
            self.events.publish(TransactionAccepted(item.hash, None if item.giver == OURSELVES else item.giver))

    def _admit(self, transaction: Transaction, declared: int | None) -> None:
        pool, scripts = self.pool, self._chain.scripts
        limit = self._chain.consensus.max_block_cycles if declared is None else declared
        checked = pool.check(transaction)
        env, reader = pool.env(checked.status), pool.reader
        given = ScriptRun(reader, checked.rtx, env, limit, self._stop)
        try:
            cycles = verify_transaction(
                pool.consensus, checked.rtx, env, reader, lambda *_: scripts.run_long(given), limit
            )
        except CkbError as error:
            raise VerificationFailed(error) from error
        if declared is not None and declared != cycles:
            raise DeclaredWrongCycles(declared, cycles)
        pool.admit(checked, cycles)

    def _refuse(self, item: RemoteTransaction, reason: Reject) -> None:
        parents = self._missing_parents(item.transaction) if lacks_cells(reason) else ()
        if parents:
            owner = item.giver if item.giver in self._connected else DEPARTED
            for left in self._orphans.add(item, owner, parents, self._clock.now()):
                self._tell_refused(left, Invalidated("its parents did not come"))
            if item.giver != OURSELVES:
                self.events.publish(ParentsMissing(item.hash, item.giver, parents))
            return
        if not is_malformed(reason):
            self._spares.keep_refused(item.hash, item.transaction.raw)
        self._tell_refused(item, reason)

    def _missing_parents(self, transaction: Transaction) -> Sequence[bytes]:
        named = dict.fromkeys(each.previous_output.tx_hash for each in transaction.body.inputs)
        return [each for each in named if self.pool.graph.by_hash(each) is None and self.pool.is_off_chain(each)]

    def _tell_refused(self, item: RemoteTransaction, reason: Reject) -> None:
        giver = None if item.declared is None else item.giver
        self.events.publish(RemoteRefused(item.hash, giver, reason))

    def _on_rejected(self, event: TransactionRejected) -> None:
        if event.entry is not None:
            self._spares.keep_refused(event.entry.hash, event.entry.raw)
            self.events.publish(RemoteRefused(event.entry.hash, None, event.reason))

    def _try_children(self, tx_hash: bytes) -> None:
        for orphan in self._orphans.take_children(tx_hash):
            self._enqueue(orphan.item, orphan.owner)

    def _coming(self, short_id: bytes) -> Transaction | None:
        item = self._queue.get(short_id) or self._orphans.get(short_id)
        return None if item is None else item.transaction

    # --- the chain ---

    def _on_change(self, change: ChainChanged) -> None:
        self.pool.set_tip(self._chain.view())
        for item in self._orphans.expire(self._clock.now()):
            self._tell_refused(item, Invalidated("its parents did not come"))
        for block in change.attached:
            slices = block.tx_slices[1:]
            for _ in self.pool.remove_committed(slices):
                pass
            self._spares.keep_committed(slices)
            for each in slices:
                self._try_children(each.hash)
        for block in reversed(change.detached):
            self.candidates.add(block)
            for _ in self.pool.take_detached(block):
                pass
            for transaction in block.transactions[1:]:
                if self.pool.is_off_chain(transaction.hash):
                    self._take(RemoteTransaction.of(transaction, OURSELVES, None))
        self.candidates.forget_before(change.new_tip.number - UNCLE_HEIGHTS)

    def close(self) -> None:
        """The node has ended."""
        self._stop.set()

    # --- for miners ---

    def proposals(self) -> list[bytes]:
        """Short ids that a block may propose."""
        table = self.pool.proposals
        fresh = (each for each in self.pool.graph.entries if each not in table.proposed and each not in table.gap)
        return list(fresh)[:MAX_PROPOSALS]

    def to_commit(self) -> Sequence[Transaction]:
        """What the next block may commit, parents first."""
        chosen = select_for_block(
            proposed_of(self.pool.graph, MAX_BLOCK_BYTES, MAX_BLOCK_CYCLES), MAX_BLOCK_BYTES, MAX_BLOCK_CYCLES
        )
        return [entry.tx for entry in chosen]
