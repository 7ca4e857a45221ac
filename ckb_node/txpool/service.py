"""The pool as the rest of the node sees it: admission, with scripts off the event loop, and what is done by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import structlog

from ckb_node.chain.service import ChainService
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.runtime.clock import monotonic_ms
from ckb_node.runtime.events import EventBus
from ckb_node.runtime.slices import in_slices
from ckb_node.runtime.tasks import Run
from ckb_node.txpool import views
from ckb_node.txpool.answers import PoolAnswers
from ckb_node.txpool.at_hand import TransactionsAtHand
from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.events import TransactionAccepted
from ckb_node.txpool.explain import Explainer
from ckb_node.txpool.fee_estimate import FeeEstimates
from ckb_node.txpool.following import Following
from ckb_node.txpool.limits import MAX_WAITING, MAX_WAITING_BYTES, PoolLimits
from ckb_node.txpool.pool import Checked, TxPool
from ckb_node.txpool.recent_rejects import RecentRejects
from ckb_node.txpool.refused import RefusedTransactions, log_refusal
from ckb_node.txpool.rejects import DeclaredWrongCycles, Duplicated, Invalidated, PoolFull, Reject
from ckb_node.txpool.remote import RemoteTransactions
from ckb_node.txpool.returning import Returning
from ckb_node.txpool.reverification import Reverification
from ckb_node.txpool.spares import SpareTransactions
from ckb_node.txpool.verifier import Check, PoolVerifier
from ckb_node.txpool.verify_queue import PendingVerification, VerifyQueue
from ckb_node.verification.scripts import ScriptService
from consensus.types.blockchain import Transaction

log = structlog.get_logger("txpool")
_LEVELS = logging.getLogger("txpool")


class PoolService(PoolAnswers):
    """Owns the pool on the event loop. Satisfies ckb_node.rpc.services.PoolService.

    `workers` run scripts: `parallel` transactions, and two besides that take long, one of them of a peer; the others go
    on meanwhile.
    """

    def __init__(
        self,
        chain: ChainService,
        limits: PoolLimits,
        scripts: ScriptService,
        workers: Executor,
        now_ms: Callable[[], int],
        parallel: int,
        rejected: RecentRejects | None = None,
        age_ms: Callable[[], int] = monotonic_ms,
        events: EventBus | None = None,
    ) -> None:
        self._chain, self._stop = chain, scripts.stop
        self.events = EventBus() if events is None else events
        pool = TxPool(chain.consensus, limits, chain.view(), now_ms, rejected, age_ms, self.events)
        self._verifier = PoolVerifier(pool, scripts, workers, parallel)
        verify_queue, spares = VerifyQueue(scripts.stop), SpareTransactions()
        remote = RemoteTransactions(pool, self._admit, scripts.stop, self._verifier.at_once, self.events, spares)
        self._reverification = Reverification(pool, self._verifier, verify_queue)
        self.returning = Returning(pool, self._reverification, self._submit, self._tell_peers, scripts.stop)
        super().__init__(pool, self.returning.queue, verify_queue, remote)
        self.at_hand = TransactionsAtHand(pool, (verify_queue.get, remote.get), (spares.get,))
        self.explainer = Explainer(pool, verify_queue, remote, self.returning.queue, spares)
        self.refused: RefusedTransactions | None = None
        """Where those whose scripts fail are kept."""
        self.fee_estimates = FeeEstimates(pool, None, lambda: False)
        self.following = Following(
            chain, pool, verify_queue, remote, self.returning, self._reverification, self._forget_all
        )
        chain.listen(self.following.on_change)
        chain.listen_decided(self._reverification.on_decided)

    def tasks(self) -> Mapping[str, Run]:
        """What has to run beside the pool, each until it is cancelled; each may fail and be started again alone."""
        return {
            "pool": self.returning.run,
            "pool reverification": self._reverification.run,
            "transactions of peers": self.remote.run,
            "refused transactions": self.pool.rejected.run,
        }

    async def settled(self) -> None:
        """Wait until all transactions that were to return have been tried again, those in doubt too, and peers'."""
        await self.remote.settled()
        await self.returning.settled()
        await self._reverification.settled()

    # ------------------------------------------------------------ admission

    async def submit(self, transaction: Transaction) -> bytes:
        """Verify and admit; its hash. Its scripts may take what a block may. Raises Reject."""
        self._reject_if_returning(transaction)
        try:
            await self._submit(transaction, self._chain.consensus.max_block_cycles)
        except Duplicated:
            if self.pool.graph.by_hash(transaction.hash) is None:
                raise
            self._tell_peers(transaction.hash)  # its sender has reason to think that not all have heard of it
            raise
        self._tell_peers(transaction.hash)
        return transaction.hash

    def _tell_peers(self, tx_hash: bytes) -> None:
        self.events.publish(TransactionAccepted(tx_hash, None))

    def verify_new(self, transaction: Transaction) -> None:
        """The non-contextual rules, and that the transaction is not known yet. Raises Reject."""
        self.pool.verify_non_contextual(transaction)
        self._reject_if_returning(transaction)
        if transaction in self._verify_queue or transaction.short_id in self.pool.graph:
            raise Duplicated(transaction.hash)

    def submit_later(self, transaction: Transaction) -> None:
        """Submit in the background; pending until then. `transaction` tells what became of it. Raises PoolFull."""
        if len(self._readmission) >= MAX_WAITING or self._readmission.total_size >= MAX_WAITING_BYTES:
            raise PoolFull("too many transactions wait for verification")
        self.returning.add([transaction])

    def _reject_if_returning(self, transaction: Transaction) -> None:
        """A transaction that is to return counts as in the pool. Raises Duplicated."""
        if transaction.hash in self._readmission:
            raise Duplicated(transaction.hash)

    async def _submit(self, transaction: Transaction, max_cycles: int) -> None:
        try:
            with self._verify_queue.enter(transaction) as pending:
                check = partial(self.pool.check, transaction)
                self._insert(*await self._verifier.verify(pending, check, max_cycles))
            await self._make_room()
        except Reject as reason:
            if not self._stop.is_set:  # else it says no more than that the node stops
                self.pool.reject(transaction, reason)
                await log_refusal(transaction, reason, self.refused)
            raise

    async def _admit(self, pending: PendingVerification, check: Check, declared: int | None) -> None:
        """For those that come from peers, see ckb_node.txpool.remote.Admit."""
        max_cycles = self._chain.consensus.max_block_cycles
        checked, cycles = await self._verifier.verify(pending, check, max_cycles if declared is None else declared)
        if declared is not None and declared != cycles:
            raise DeclaredWrongCycles(declared, cycles)
        with self.remote.pace.counted():
            self._insert(checked, cycles)
        await self._make_room()

    def _insert(self, checked: Checked, cycles: int) -> None:
        entry = self.pool.admit(checked, cycles)
        _log_accepted(entry)
        self.returning.add(self.pool.take_released_conflicts())

    async def _make_room(self) -> None:
        """Until the pool is what it should be after an admission; others may be admitted meanwhile."""
        await in_slices(self.pool.leave_more())

    async def test_accept(self, transaction: Transaction) -> views.Accepted:
        """What `submit` would say, short of replacing others. Raises Reject."""
        self._reject_if_returning(transaction)
        if transaction in self._verify_queue:
            raise Duplicated(transaction.hash)
        pending = self._verify_queue.outside(transaction)
        try:
            check = partial(self.pool.check, transaction)
            checked, cycles = await self._verifier.verify(pending, check, self._chain.consensus.max_block_cycles)
        except Reject as reason:
            await log_refusal(transaction, reason, self.refused)
            raise
        finally:
            pending.stop.set()
        return views.Accepted(cycles=cycles, fee=checked.fee)

    # ------------------------------------------------------------ from one run to the next

    async def load(self, path: Path) -> int:
        """As Returning."""
        return await self.returning.load(path)

    def save(self, path: Path) -> int:
        """As Returning."""
        return self.returning.save(path)

    def is_ready(self) -> bool:
        """What a former run kept on disk was looked at."""
        return self.returning.has_loaded

    async def estimate_fee_rate(self, priority: views.FeePriority, *, fallback: bool) -> int:
        """Shannons per 1000 weight units. Raises FeeEstimateError."""
        return await self.fee_estimates.estimate_or_fall_back(priority, fallback=fallback)

    # ------------------------------------------------------------ by hand

    async def remove(self, tx_hash: bytes) -> bool:
        """Take a transaction and its descendants out, waiting for verification or not."""
        reason = Invalidated("removed by request")
        is_withdrawn = self._verify_queue.withdraw(tx_hash, reason)
        is_withdrawn = self.remote.remove(tx_hash, reason) or is_withdrawn
        if self._readmission.drop(tx_hash) or is_withdrawn:
            return True
        entry = self.pool.graph.by_hash(tx_hash)
        if entry is None:
            return False
        await in_slices(self.pool.remove(entry))
        return True

    async def clear(self) -> None:
        """Forget every transaction: in the pool, waiting for verification, or about to return after a reorg."""
        self._forget_all()

    def _forget_all(self) -> None:
        self.pool.clear()
        self.returning.clear()
        reason = Invalidated("the pool was cleared")
        self._verify_queue.withdraw_all(reason)
        self.remote.clear(reason)

    async def clear_verify_queue(self) -> None:
        """Forget transactions that wait for verification."""
        reason = Invalidated("removed by request")
        self._verify_queue.withdraw_all(reason)
        self.remote.clear_waiting(reason)


def _log_accepted(entry: PoolEntry) -> None:
    """A tenth of what `admit` takes if structlog has to find out that nobody wants to know."""
    if _LEVELS.isEnabledFor(logging.DEBUG):
        sizes = {"cycles": entry.cycles, "fee": entry.fee, "size": entry.size}
        log.debug("transaction accepted", hash=bytes_text(entry.hash), **sizes)
