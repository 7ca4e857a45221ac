"""The pool as the rest of the node sees it: admission with scripts off the event loop, answers for RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain
from pathlib import Path

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.runtime.clock import monotonic_ms
from ckb_node.runtime.events import EventBus
from ckb_node.runtime.tasks import Run
from ckb_node.txpool import views
from ckb_node.txpool.at_hand import TransactionsAtHand
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.events import TransactionAccepted
from ckb_node.txpool.explain import Explainer
from ckb_node.txpool.fee_estimate import FeeEstimates
from ckb_node.txpool.limits import TRANSACTION_SIZE_LIMIT, PoolLimits
from ckb_node.txpool.persist import SavedPool, save_transactions
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.rbf import min_replace_fee
from ckb_node.txpool.readmission import ReadmissionBatch, ReadmissionEntry, ReadmissionQueue
from ckb_node.txpool.recent_rejects import RecentRejects
from ckb_node.txpool.refused import RefusedTransactions, log_refusal
from ckb_node.txpool.rejects import DeclaredWrongCycles, Duplicated, Invalidated, PoolFull, Reject
from ckb_node.txpool.remote import RemoteTransactions
from ckb_node.txpool.reverification import Reverification
from ckb_node.txpool.saving import parents_first
from ckb_node.txpool.spares import SpareTransactions
from ckb_node.txpool.verifier import Check, PoolVerifier
from ckb_node.txpool.verify_queue import MAX_WAITING, MAX_WAITING_BYTES, PendingVerification, VerifyQueue
from ckb_node.verification.scripts import ScriptService
from consensus.lookup import ChainDataError
from consensus.types.blockchain import Block, Transaction, out_point_key
from consensus.types.core import BlockExt
from consensus.types.tx_slice import TxSlice
from storage.chain_store import ChainView
from storage.errors import StorageError

log = structlog.get_logger("txpool")

TXS_PER_SLICE = 64
"""Transactions of a block or of the saved file that are handled before the event loop may do something else."""
SPARE_BLOCKS = 4
"""Of many new blocks, so many are looked at when the pool is empty."""


class PoolService:
    """Owns the pool on the event loop. Satisfies ckb_node.rpc.services.PoolService.

    `workers` run scripts: `parallel` transactions, and one besides that takes long; the others go on meanwhile.
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
        self.pool = TxPool(chain.consensus, limits, chain.view(), now_ms, rejected, age_ms, self.events)
        self._verifier = PoolVerifier(self.pool, scripts, workers, parallel)
        self._verify_queue = VerifyQueue(scripts.stop)
        spares = SpareTransactions()
        self.remote = RemoteTransactions(self.pool, self._admit, scripts.stop, parallel, self.events, spares)
        """What peers give; they get no answer."""
        self.at_hand = TransactionsAtHand(self.pool, (self._verify_queue.get, self.remote.get), (spares.get,))
        self._reverification = Reverification(self.pool, self._verifier, self._verify_queue)
        self._returning: asyncio.Queue[ReadmissionBatch] = asyncio.Queue()
        self.pool.away = self._readmission = ReadmissionQueue()
        """What is to return, from blocks, after a replacement, or from a former run."""
        self.explainer = Explainer(self.pool, self._verify_queue, self.remote, self._readmission, spares)
        self._saved, self._generation = SavedPool(), 0
        self.refused: RefusedTransactions | None = None
        """Where those whose scripts fail are kept."""
        self._is_ready = False
        self.fee_estimates = FeeEstimates(self.pool, None, lambda: False)
        chain.listen(self._on_change)
        chain.listen_decided(self._reverification.on_decided)

    # ------------------------------------------------------------ admission

    async def submit(self, transaction: Transaction) -> bytes:
        """Verify and admit; its hash. Its scripts may take what a block may. Raises Reject."""
        self._reject_if_readmitting(transaction)
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
        self._reject_if_readmitting(transaction)
        if transaction in self._verify_queue or transaction.short_id in self.pool.graph:
            raise Duplicated(transaction.hash)

    def submit_later(self, transaction: Transaction) -> None:
        """Submit when `run` comes to it; pending until then. `transaction` tells what became of it. Raises PoolFull."""
        if len(self._readmission) >= MAX_WAITING or self._readmission.total_size >= MAX_WAITING_BYTES:
            raise PoolFull("too many transactions wait for verification")
        self._readmission.add(ReadmissionEntry.of(transaction, self.pool.now_ms()))
        self._return_later(ReadmissionBatch([transaction.hash]))

    def _reject_if_readmitting(self, transaction: Transaction) -> None:
        """A transaction to be readmitted counts as in the pool. Raises Duplicated."""
        if transaction.hash in self._readmission:
            raise Duplicated(transaction.hash)

    async def _submit(self, transaction: Transaction, max_cycles: int) -> None:
        try:
            with self._verify_queue.enter(transaction) as pending:
                await self._verify_and_admit(pending, partial(self.pool.check, transaction), max_cycles)
        except Reject as reason:
            if not self._stop.is_set:  # else it says no more than that the node stops
                self.pool.reject(transaction, reason)
                await log_refusal(transaction, reason, self.refused)
            raise

    async def _admit(self, pending: PendingVerification, check: Check, declared: int | None) -> None:
        """For those that come from peers, see ckb_node.txpool.remote.Admit."""
        max_cycles = self._chain.consensus.max_block_cycles
        await self._verify_and_admit(pending, check, max_cycles if declared is None else declared, declared)

    async def _verify_and_admit(
        self, pending: PendingVerification, check: Check, max_cycles: int, declared: int | None = None
    ) -> None:
        checked, cycles = await self._verifier.verify(pending, check, max_cycles)
        if declared is not None and declared != cycles:
            raise DeclaredWrongCycles(declared, cycles)
        entry = self.pool.admit(checked, cycles)
        log.debug("transaction accepted", hash=bytes_text(entry.hash), cycles=cycles, fee=entry.fee, size=entry.size)
        freed = self.pool.take_released_conflicts()
        for each in freed:
            self._readmission.add(ReadmissionEntry.of(each, self.pool.now_ms()))
        self._return_later(ReadmissionBatch([each.hash for each in freed]))

    async def test_accept(self, transaction: Transaction) -> views.Accepted:
        """What `submit` would say, short of replacing others. Raises Reject."""
        self._reject_if_readmitting(transaction)
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

    # ------------------------------------------------------------ following the chain

    def _on_change(self, change: ChainChanged) -> Iterator[None]:
        """Follow in steps: a reorganisation may be deep, and a block big."""
        self.pool.is_moving = True
        try:
            yield from self._follow(change)
        finally:
            self.pool.is_moving = False
            self._reverification.try_again()

    def _follow(self, change: ChainChanged) -> Iterator[None]:
        clearings = self._generation
        view = self._chain.view()
        if self.pool.set_tip(view):
            self._reverification.verify_all()
        if change.is_cut:
            self._forget_all()
            return
        # What comes from now on is checked at the new tip. While nothing is here, only transactions that relay may be
        # asked for are of interest: not those of the thousands of blocks of an initial download.
        spares = 0 if self._chain.is_taking_runs else SPARE_BLOCKS
        attached = change.attached if not self._is_empty else change.attached[max(0, len(change.attached) - spares) :]
        yield
        self.remote.tip_moved()
        for block in attached:
            for transactions in _by_few(block.tx_slices[1:]):
                self.pool.remove_committed(transactions)
                self.remote.committed(transactions)
                for tx in transactions:
                    self._verify_queue.withdraw(tx.hash, Duplicated(tx.hash))
                    self._readmission.drop(tx.hash)
                yield
        if self._generation != clearings:
            return
        returning = ReadmissionBatch([])
        try:
            yield from self._take_all_back(change.detached, view, returning)
        finally:  # schedule the readmission even after an exception
            if self._generation == clearings:
                self._return_later(returning)

    @property
    def _is_empty(self) -> bool:
        """There is nothing that a block could commit or put in conflict."""
        remote, pool = self.remote, self.pool
        counts = len(pool.graph), len(pool.conflicted), len(self._verify_queue), len(self._readmission)
        return not (any(counts) or len(remote) or len(remote.orphans))

    def _take_all_back(self, detached: Sequence[Block], view: ChainView, returning: ReadmissionBatch) -> Iterator[None]:
        """Note what has left the chain, parents first; ends early when the pool is cleared."""
        clearings, room = self._generation, self.pool.limits.max_size - self._readmission.total_size
        for block in reversed(detached):
            self.pool.take_detached(block)
            ext = view.block_ext(block.hash)
            for first in range(0, len(block.tx_slices), TXS_PER_SLICE):
                if self._generation != clearings:
                    return
                positions = range(first, min(first + TXS_PER_SLICE, len(block.tx_slices)))
                room -= self._take_back(block, ext, positions, returning, room)
                yield

    def _take_back(
        self, block: Block, ext: BlockExt | None, positions: range, returning: ReadmissionBatch, room: int
    ) -> int:
        """Note those transactions of a detached block that the chain does not hold any more; their bytes."""
        taken = 0
        for position in positions:
            tx_slice = block.tx_slices[position]
            if not self.pool.is_off_chain(tx_slice.hash):
                continue
            count = len(tx_slice.layout.outputs)
            if any(self.pool.graph.is_used(out_point_key(tx_slice.hash, index)) for index in range(count)):
                returning.lost.append((tx_slice.hash, count))
            # More than the pool can hold would only push each other out.
            if position > 0 and taken + tx_slice.layout.size <= room:
                self._readmission.add(ReadmissionEntry.of_block(tx_slice, position, ext, self.pool.now_ms()))
                returning.hashes.append(tx_slice.hash)
                taken += tx_slice.layout.size
            elif position > 0:
                self.pool.reject_without_room(tx_slice)
        return taken

    def _return_later(self, returning: ReadmissionBatch) -> None:
        if returning.hashes or returning.lost:
            self._returning.put_nowait(returning)

    def tasks(self) -> Mapping[str, Run]:
        """What has to run beside the pool, each until it is cancelled; each may fail and be started again alone."""
        return {
            "pool": self._bring_all_back,
            "pool reverification": self._reverification.run,
            "transactions of peers": self.remote.run,
            "refused transactions": self.pool.rejected.run,
        }

    async def _bring_all_back(self) -> None:
        while True:
            returning = await self._returning.get()
            try:
                await self._bring_back(returning)
            finally:
                self._returning.task_done()

    async def _bring_back(self, returning: ReadmissionBatch) -> None:
        clearings = self._generation
        for tx_hash in returning.hashes:
            if self._generation != clearings:
                return
            entry = self._readmission.get(tx_hash)
            if entry is None:  # removed by hand, or in a block again
                continue
            await self._try_again(entry, self.pool.limits.max_verify_cycles)
            await asyncio.sleep(0)  # those that are refused at once wait for nothing
        for tx_hash, output_count in returning.lost:
            self.pool.drop_orphaned(tx_hash, output_count)
            await asyncio.sleep(0)
        self._reverification.try_again()

    async def settled(self) -> None:
        """Wait until all transactions that were to return have been tried again, those in doubt too, and peers'."""
        await self.remote.settled()
        await self._returning.join()
        await self._reverification.settled()

    async def _try_again(self, entry: ReadmissionEntry, max_cycles: int) -> bool:
        """Submit a transaction of the readmission queue; whether it was admitted. An unreadable chain fails it alone.

        What is refused because the node stops stays in the queue, and so is saved. Peers know what a block held.
        """
        is_in, transaction = False, entry.transaction
        try:
            await self._submit(transaction, max_cycles)
            is_in = True
        except Reject:
            if self._stop.is_set:
                return False
        except (StorageError, ChainDataError) as error:
            log.error("a transaction cannot return", hash=transaction.hash.hex(), reason=str(error))  # noqa: TRY400
            self.pool.reject(transaction, Invalidated("the chain cannot be read for it"))
        self._readmission.drop(transaction.hash)
        if is_in and not entry.is_from_block:
            self._tell_peers(transaction.hash)
        return is_in

    async def load(self, path: Path) -> int:
        """Submit again what a former run kept on disk; how many came in. `clear` meanwhile forgets the rest.

        Raises OSError when the file cannot be read; it may be called again then.
        """
        saved = self._saved = SavedPool()
        await saved.read(path)
        noted: list[bytes] = []
        while transactions := saved.take(TXS_PER_SLICE):
            for transaction in transactions:
                self._readmission.add(ReadmissionEntry.of_file(transaction, self.pool.now_ms()))
                noted.append(transaction.hash)
            await asyncio.sleep(0)
        count = 0
        for tx_hash in noted:
            if (entry := self._readmission.get(tx_hash)) is not None:
                count += await self._try_again(entry, self._chain.consensus.max_block_cycles)
        self._is_ready = True
        self._reverification.try_again()
        return count

    def save(self, path: Path) -> int:
        """Keep the pool on disk, what is to return to it, and what of the file was not looked at yet, parents first;
        how many transactions. Raises OSError; the file is as before then."""
        rest = self._saved.rest(path)
        transactions = parents_first(self.pool.graph, (each for _, each in self._readmission))
        save_transactions(path, [*transactions, *rest])
        return len(transactions) + len(rest)

    # ------------------------------------------------------------ by hand

    async def remove(self, tx_hash: bytes) -> bool:
        """Take a transaction and its descendants out, waiting for verification or not."""
        reason = Invalidated("removed by request")
        is_withdrawn = self._verify_queue.withdraw(tx_hash, reason)
        is_withdrawn = self.remote.remove(tx_hash, reason) or is_withdrawn
        return self._readmission.drop(tx_hash) or is_withdrawn or self.pool.remove(tx_hash)

    async def clear(self) -> None:
        """Forget every transaction: in the pool, waiting for verification, or about to return after a reorg."""
        self._forget_all()

    def _forget_all(self) -> None:
        self.pool.clear()
        self._readmission.clear()
        self._saved.clear()
        self._generation += 1
        reason = Invalidated("the pool was cleared")
        self._verify_queue.withdraw_all(reason)
        self.remote.clear(reason)
        while not self._returning.empty():
            self._returning.get_nowait()
            self._returning.task_done()

    async def clear_verify_queue(self) -> None:
        """Forget transactions that wait for verification."""
        reason = Invalidated("removed by request")
        self._verify_queue.withdraw_all(reason)
        self.remote.clear_waiting(reason)

    # ------------------------------------------------------------ answers: what is to return is pending

    @property
    def verify_queue_size(self) -> int:
        """Transactions that wait for verification."""
        return len(self._verify_queue) + len(self.remote)

    def is_ready(self) -> bool:
        return self._is_ready

    async def info(self) -> views.PoolInfo:
        pool, graph, readmission = self.pool, self.pool.graph, self._readmission
        proposed = graph.count(Status.PROPOSED)
        return views.PoolInfo(
            tip_hash=pool.tip.hash,
            tip_number=pool.tip.number,
            pending=len(graph) - proposed + len(readmission),
            proposed=proposed,
            orphan=len(self.remote.orphans),
            total_tx_size=graph.total_size + readmission.total_size,
            total_tx_cycles=graph.total_cycles + readmission.total_cycles,
            min_fee_rate=pool.limits.min_fee_rate,
            min_rbf_rate=pool.limits.min_rbf_rate,
            last_txs_updated_at=pool.updated_at,
            tx_size_limit=TRANSACTION_SIZE_LIMIT,
            max_tx_pool_size=pool.limits.max_size,
            verify_queue_size=self.verify_queue_size,
        )

    async def ids(self) -> views.PoolIds:
        graph, readmission = self.pool.graph, [tx_hash for tx_hash, _ in self._readmission]
        waiting = graph.by_score_as_now((Status.PENDING, Status.GAP))
        return views.PoolIds(
            pending=chain((entry.hash for entry in waiting), readmission),
            proposed=(entry.hash for entry in graph.by_score_as_now((Status.PROPOSED,))),
        )

    async def entries(self) -> views.PoolEntries:
        graph, readmission = self.pool.graph, list(self._readmission)
        waiting = graph.by_score_as_now((Status.PENDING, Status.GAP))
        return views.PoolEntries(
            pending=chain(
                ((entry.hash, _entry_info(entry)) for entry in waiting),
                ((tx_hash, each.info()) for tx_hash, each in readmission),
            ),
            proposed=((entry.hash, _entry_info(entry)) for entry in graph.by_score_as_now((Status.PROPOSED,))),
            conflicted=list(self.pool.conflicted),
        )

    async def detail(self, tx_hash: bytes) -> views.EntryDetail:
        graph = self.pool.graph
        entry = graph.by_hash(tx_hash)
        if entry is None:
            return views.EntryDetail()
        rank = 0
        if entry.status is not Status.PROPOSED:
            rank = 1 + graph.rank(entry, (Status.PENDING, Status.GAP))
        proposed = graph.count(Status.PROPOSED)
        return views.EntryDetail(
            status=entry.status.value,
            timestamp=entry.timestamp,
            rank_in_pending=rank,
            pending_count=len(graph) - proposed,
            proposed_count=proposed,
            descendants_count=entry.descendants.count - 1,
            ancestors_count=entry.ancestors.count - 1,
            fee=entry.fee,
            weight=entry.weight,
            ancestors_fee=entry.ancestors.fee,
            ancestors_weight=entry.ancestors.weight,
        )

    async def transaction(self, tx_hash: bytes) -> views.PoolTransaction | views.RejectedTransaction | None:
        entry = self.pool.graph.by_hash(tx_hash)
        if entry is None:
            readmission = self._readmission.get(tx_hash)
            return self.pool.rejected.get(tx_hash) if readmission is None else readmission.answer()
        is_proposed = entry.status is Status.PROPOSED
        return views.PoolTransaction(
            transaction=entry.tx,
            state=views.TxState.PROPOSED if is_proposed else views.TxState.PENDING,
            cycles=entry.cycles,
            fee=entry.fee,
            time_added=entry.timestamp,
            min_replace_fee=None if is_proposed else self._min_replace_fee(entry),
        )

    def _min_replace_fee(self, entry: PoolEntry) -> int | None:
        graph, limits = self.pool.graph, self.pool.limits
        if not limits.is_rbf_enabled:
            return None
        return min_replace_fee(graph, {entry.short_id} | graph.descendants(entry.short_id), entry.size, limits)

    async def live_cell(self, out_point: bytes) -> views.CellLookup:
        if out_point in self.pool.graph.spenders:
            return views.CellLookup(views.CellState.DEAD)
        cell = self.pool.cells().cell(out_point)
        if cell is None:
            return views.CellLookup(views.CellState.UNKNOWN)
        return views.CellLookup(views.CellState.LIVE, cell)

    async def estimate_fee_rate(self, priority: views.FeePriority, *, fallback: bool) -> int:
        """Shannons per 1000 weight units. Raises FeeEstimateError."""
        return await self.fee_estimates.estimate_or_fall_back(priority, fallback=fallback)


def _entry_info(entry: PoolEntry) -> views.EntryInfo:
    return views.EntryInfo(
        cycles=entry.cycles,
        size=entry.size,
        fee=entry.fee,
        ancestors_size=entry.ancestors.size,
        ancestors_cycles=entry.ancestors.cycles,
        ancestors_count=entry.ancestors.count,
        timestamp=entry.timestamp,
    )


def _by_few(transactions: Sequence[TxSlice]) -> Iterator[Sequence[TxSlice]]:
    return (transactions[first : first + TXS_PER_SLICE] for first in range(0, len(transactions), TXS_PER_SLICE))
