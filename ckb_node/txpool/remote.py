"""Transactions of peers: each peer's are verified in its own turn, orphans wait for their parents, and whoever relays
hears what became of each.

A peer's transaction never stands in the way of RPC's: it has a queue of its own, and the workers serve clients fairly.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

import structlog

from ckb_node.runtime.client import CLIENT
from ckb_node.runtime.events import EventBus
from ckb_node.txpool.blame import is_malformed, is_of_size, lacks_cells
from ckb_node.txpool.events import (
    ParentsMissing,
    RelayNews,
    RemoteRefused,
    TransactionAccepted,
    TransactionAdmitted,
    TransactionRejected,
)
from ckb_node.txpool.known import CHECKED_AT_ONCE, KnownCells
from ckb_node.txpool.limits import MAX_MISSING, MAX_PARENTS, MAX_REASONS, REASONS_PER_S
from ckb_node.txpool.orphans import OrphanTransactions
from ckb_node.txpool.peers_pace import PeersPace
from ckb_node.txpool.pool import Checked, TxPool
from ckb_node.txpool.rejects import Duplicated, Invalidated, PeerDropped, PoolFull, Reject, ResolveFailed
from ckb_node.txpool.remote_queue import DEPARTED, RemoteQueue, RemoteTransaction
from ckb_node.txpool.spares import SpareTransactions
from ckb_node.txpool.verifier import Check
from ckb_node.txpool.verify_queue import PendingVerification, VerifyQueue
from ckb_node.verification.scripts import SHORT_RUN_CYCLES
from ckb_node.verification.stopping import Stop
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.crypto.hashing import HASH_SIZE
from consensus.lookup import ChainDataError
from consensus.rules.resolve import OutPointError
from consensus.types.blockchain import Transaction
from consensus.types.tx_slice import TxSlice
from network.budget import Allowance
from storage.errors import StorageError

__all__ = ["RemoteTransactions"]

log = structlog.get_logger("txpool")

TOLD_AT_ONCE: Final = 128
"""Refusals of what leaves together that are told before the event loop may do something else."""

Admit = Callable[[PendingVerification, Check, int | None], Awaitable[None]]
"""Verify and insert a transaction that takes these cycles exactly, None: as many as a block may. Raises Reject."""


class RemotePlace(NamedTuple):
    """A transaction of a peer, its place among what waits of that peer, from 1, and how many those are."""

    transaction: Transaction
    place: int
    length: int


class RemoteTransactions:
    """Belongs to the event loop. `at_once`: how many of one peer's are verified at a time, as far as there is room for
    them: the workers are shared fairly by peer."""

    def __init__(
        self, pool: TxPool, admit: Admit, stop: Stop, at_once: int, events: EventBus, spares: SpareTransactions
    ) -> None:
        self._pool, self._admit, self._stop, self._at_once = pool, admit, stop, at_once
        self._events: Final = events
        self._spares: Final = spares
        self.queue: Final = RemoteQueue(pool.consensus.max_block_cycles)
        self.orphans: Final = OrphanTransactions()
        self.verifying: Final = VerifyQueue(stop)
        self._givers: Final[dict[bytes, int]] = {}
        """Of those that are verified now, by short id."""
        self._connected: Final[set[int]] = set()
        self._workers: Final[Counter[int]] = Counter()
        self._wake: Final = asyncio.Event()
        self._idle: Final = asyncio.Event()
        self._idle.set()
        self._leaving: Final[deque[tuple[RemoteTransaction, Reject]]] = deque()
        """Those that are refused together and not told yet."""
        self.pace: Final = PeersPace()
        self._reasons: Final = Allowance(REASONS_PER_S, MAX_REASONS, time.monotonic())
        events.listen(TransactionAdmitted, lambda event: self._try_children(event.entry.hash))
        events.listen(TransactionRejected, self._on_rejected)

    def __len__(self) -> int:
        """Transactions that wait for verification or are verified now."""
        return len(self.queue) + len(self.verifying)

    def get(self, short_id: bytes) -> Transaction | None:
        """One that waits, or is verified now, or is an orphan."""
        item = self.queue.get(short_id) or self.orphans.get(short_id)
        return self.verifying.get(short_id) if item is None else item.transaction

    def place(self, short_id: bytes) -> RemotePlace | None:
        """Where one is that waits for verification, or is verified now. Whose line it is in does not show."""
        item, found = self.queue.get(short_id), self.queue.place(short_id)
        if item is not None and found is not None:
            return RemotePlace(item.transaction, *found)
        transaction = self.verifying.get(short_id)
        return None if transaction is None else RemotePlace(transaction, 1, 1)

    # ------------------------------------------------------------ what peers give

    def submit(self, transaction: Transaction, declared: int | None, giver: int) -> None:
        """Verify and admit in the peer's turn. With no declared cycles it comes before the peer's others."""
        self._connected.add(giver)
        self._enqueue(RemoteTransaction.of(transaction, giver, declared), giver, is_first=declared is None)

    def _enqueue(self, item: RemoteTransaction, owner: int, *, is_first: bool = False) -> None:
        if self.queue.get(item.short_id) or item.short_id in self._givers:
            self._tell_refused(item, Duplicated(item.hash))
            return
        for left in self.queue.add(item, owner, is_first=is_first):
            self._tell_refused(left, PoolFull("too many transactions of peers wait for verification"))
        self._idle.clear()
        self._wake.set()

    def closed(self, giver: int) -> None:
        """A peer has gone; what it gave stays."""
        self._connected.discard(giver)
        self.queue.disown(giver)
        self.orphans.disown(giver)
        self._wake.set()

    def drop_from(self, giver: int) -> None:
        """A peer is banned: what it gave and is not verified yet leaves, and is told as refused."""
        reason = PeerDropped()
        for short_id, each in self._givers.items():
            transaction = self.verifying.get(short_id)
            if each == giver and transaction is not None:
                self.verifying.withdraw(transaction.hash, reason)
        self._tell_refused_later((*self.queue.remove_from(giver), *self.orphans.remove_from(giver)), reason)

    # ------------------------------------------------------------ what the chain and others do

    def committed(self, transactions: Sequence[TxSlice]) -> None:
        """A block has committed them: they need no verification, and their children may have come."""
        self._spares.keep_committed(transactions)
        if not len(self) and not len(self.orphans):
            return
        for tx in transactions:
            self.remove(tx.hash, Duplicated(tx.hash))
            self._try_children(tx.hash)

    def tip_moved(self) -> None:
        """Once a block: what is too old leaves."""
        for item in self.orphans.expire(time.monotonic()):
            self._tell_refused(item, Invalidated("its parents did not come"))

    def remove(self, tx_hash: bytes, reason: Reject) -> bool:
        """One is not wanted any more; False when it is not here."""
        short_id = tx_hash[:SHORT_ID_SIZE]
        found = self.get(short_id)
        if found is None or found.hash != tx_hash:
            return False
        for item in (*self.queue.remove([short_id]), *self.orphans.remove([short_id])):
            self._tell_refused(item, reason)
        self.verifying.withdraw(tx_hash, reason)
        return True

    def clear(self, reason: Reject) -> None:
        """None is wanted any more."""
        self._tell_refused_later((*self.queue.clear(), *self.orphans.clear()), reason)
        self.verifying.withdraw_all(reason)

    def clear_waiting(self, reason: Reject) -> None:
        """The same but for orphans."""
        self._tell_refused_later(self.queue.clear(), reason)
        self.verifying.withdraw_all(reason)

    def _try_children(self, tx_hash: bytes) -> None:
        for orphan in self.orphans.take_children(tx_hash):
            self._enqueue(orphan.item, orphan.owner)

    # ------------------------------------------------------------ verifying

    async def run(self) -> None:
        """Verify what comes, until cancelled."""
        self._workers.clear()
        self._wake.set()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for owner in self.queue.owners():
                    for _ in range(min(self._at_once - self._workers[owner], self.queue.count(owner))):
                        self._workers[owner] += 1
                        group.create_task(self._work_off(owner))

    async def _work_off(self, owner: int) -> None:
        """Verify an owner's transactions, one after the other, in its name."""
        CLIENT.set(f"peer {owner}")
        try:
            while (item := self.queue.take(owner)) is not None:
                await self._process(item)
        finally:
            self._workers[owner] -= 1
            if not self._workers[owner]:
                del self._workers[owner]
            self._note_idle()

    def _note_idle(self) -> None:
        if not self._workers and not len(self.queue) and not self._leaving:
            self._idle.set()

    async def settled(self) -> None:
        """Wait until nothing waits for verification, and all that left is told."""
        await self._idle.wait()

    async def _process(self, item: RemoteTransaction) -> None:
        """Verify one; whatever comes of it is told. A fault of ours harms this one alone."""
        self._givers[item.short_id] = item.giver
        try:
            await self._judge(item)
        except (StorageError, ChainDataError) as error:
            log.error("a peer's transaction cannot be verified", hash=f"0x{item.hash.hex()}", reason=str(error))  # noqa: TRY400
            self._tell_refused(item, Invalidated("the chain cannot be read for it"))
        finally:
            self._givers.pop(item.short_id, None)

    async def _judge(self, item: RemoteTransaction) -> None:
        try:
            with self.verifying.enter(item.transaction) as pending:
                pending.makes_way, pending.takes_long = True, (item.declared or 0) > SHORT_RUN_CYCLES
                check = await self._check_in_turn(item.transaction)
                await self._admit(pending, check, item.declared)
        except Reject as reason:
            if not self._stop.is_set:  # else it says no more than that the node stops
                with self.pace.counted():
                    self._refuse(item, reason)
        else:
            self._events.publish(TransactionAccepted(item.hash, item.giver))

    async def _check_in_turn(self, transaction: Transaction) -> Check:
        """The first check, in the peers' turn. The result answers the verifier's first question while the tip is the
        same. Raises Reject."""
        if transaction.hash in self._pool.away:  # what will return to the pool counts as in it
            raise Duplicated(transaction.hash)
        async with self.pace:
            if transaction.raw_size > CHECKED_AT_ONCE:  # checked beside the event loop
                return lambda known: self._pool.check(transaction, known)
            checked = self._pool.check(transaction)
        return _Checks(self._pool, transaction, checked)

    # ------------------------------------------------------------ what becomes of them

    def _refuse(self, item: RemoteTransaction, reason: Reject) -> None:
        parents = self._missing_parents(item.transaction, reason) if lacks_cells(reason) else ()
        if parents:
            self._keep_orphan(item, parents)
            return
        if not isinstance(reason, PeerDropped):
            self._note(item, reason)
        self._tell_refused(item, reason)

    def _keep_orphan(self, item: RemoteTransaction, parents: Sequence[bytes]) -> None:
        if self.orphans.get(item.short_id) is not None:
            self._tell_refused(item, Duplicated(item.hash))
            return
        for left in self.orphans.add(item.bare(), self._owner_of(item), parents, time.monotonic()):
            self._tell_refused(left, Invalidated("its parents did not come"))
        self._publish(ParentsMissing(item.hash, item.giver, parents))

    def _owner_of(self, item: RemoteTransaction) -> int:
        return item.giver if item.giver in self._connected else DEPARTED

    def _missing_parents(self, transaction: Transaction, reason: Reject) -> Sequence[bytes]:
        """Hashes of transactions that it needs and that neither chain nor pool has, as many as are worth while. None
        when a cell was spent, or never was: then it is no orphan."""
        named = [each[:HASH_SIZE] for each in (*transaction.consumed, *transaction.named_deps)]
        if isinstance(reason, ResolveFailed) and isinstance(reason.cause, OutPointError):
            named.insert(0, reason.cause.out_point[:32])
        some = islice(dict.fromkeys(named), MAX_PARENTS)
        return list(islice(filter(self._is_missing, some), MAX_MISSING))

    def _is_missing(self, tx_hash: bytes) -> bool:
        return self._pool.graph.by_hash(tx_hash) is None and self._pool.is_off_chain(tx_hash)

    def _note(self, item: RemoteTransaction, reason: Reject) -> None:
        """For RPC, and to rebuild blocks whose makers ask for less."""
        if isinstance(reason, Duplicated):
            return
        if not is_malformed(reason):
            self._spares.keep_refused(item.hash, item.transaction.raw)
        now = time.monotonic()
        if self._reasons.left(now) > 0:
            self._reasons.spend(1, now)
            self._pool.rejected.put(item.hash, reason.kind, str(reason))
        log.debug("a peer's transaction is refused", hash=f"0x{item.hash.hex()}", giver=item.giver, reason=str(reason))

    def _on_rejected(self, event: TransactionRejected) -> None:
        """Of the pool's own: one that leaves it, or one that RPC gave."""
        transaction, entry = event.transaction, event.entry
        if not is_malformed(event.reason):
            self._spares.keep_refused(transaction.hash, transaction.raw if entry is None else entry.raw)
        if entry is not None:
            self._publish(RemoteRefused(entry.hash, None, event.reason))

    def _tell_refused(self, item: RemoteTransaction, reason: Reject) -> None:
        """Nobody answers for what a block proposes: its giver need not have verified it."""
        giver = None if item.declared is None else item.giver
        self._publish(RemoteRefused(item.hash, giver, reason, is_of_size(reason, item.transaction)))

    def _tell_refused_later(self, items: Iterable[RemoteTransaction], reason: Reject) -> None:
        """In slices: whoever is banned may have given ten thousand."""
        was_empty = not self._leaving
        self._leaving.extend((each, reason) for each in items)
        if was_empty and self._leaving:
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._tell_some)

    def _tell_some(self) -> None:
        for _ in range(min(len(self._leaving), TOLD_AT_ONCE)):
            self._tell_refused(*self._leaving.popleft())
        if self._leaving:
            asyncio.get_running_loop().call_soon(self._tell_some)
        self._note_idle()

    def _publish(self, news: RelayNews) -> None:
        self._events.publish(news)


class _Checks:
    """The first check was made already."""

    def __init__(self, pool: TxPool, transaction: Transaction, first: Checked) -> None:
        self._pool, self._transaction = pool, transaction
        self._first: Checked | None = first

    def __call__(self, known: KnownCells | None) -> Checked:
        first, self._first = self._first, None
        if first is not None and first.tip_hash == self._pool.tip.hash:
            return first
        return self._pool.check(self._transaction, known)
