"""The pool as the rest of the node sees it: admission with scripts off the event loop, answers for RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.scripts import ScriptService
from ckb_node.chain.service import ChainService
from ckb_node.rpc import services as rpc
from ckb_node.rpc.rejects import Duplicated, PoolFull, Reject, VerificationFailed
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.limits import TRANSACTION_SIZE_LIMIT, PoolLimits
from ckb_node.txpool.persist import load_transactions, save_transactions
from ckb_node.txpool.pool import Checked, TxPool
from ckb_node.txpool.rbf import min_replace_fee
from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.transaction import verify_dao_lock_sizes, verify_transaction_in_context
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Transaction

MAX_WAITING = 10_000
MAX_WAITING_BYTES = 256_000_000
"""Transactions that may wait for their scripts to run, and their bytes."""

CONFIRM_TARGETS = {
    rpc.FeePriority.NO_PRIORITY: 128,
    rpc.FeePriority.LOW_PRIORITY: 64,
    rpc.FeePriority.MEDIUM_PRIORITY: 21,
    rpc.FeePriority.HIGH_PRIORITY: 5,
}
"""Blocks within which a transaction of each priority should be committed."""


class PoolService:
    """Owns the pool on the event loop; `workers` run scripts. Satisfies ckb_node.rpc.services.PoolService."""

    def __init__(
        self,
        chain: ChainService,
        limits: PoolLimits,
        scripts: ScriptService,
        workers: Executor,
        now_ms: Callable[[], int],
        parallel: int,
    ) -> None:
        self._chain, self._scripts, self._workers = chain, scripts, workers
        self.pool = TxPool(chain.consensus, limits, chain.view(), now_ms)
        self._waiting: dict[bytes, int] = {}
        self._waiting_bytes = 0
        self._slots = asyncio.Semaphore(parallel)
        self._resubmit: asyncio.Queue[list[Transaction]] = asyncio.Queue()
        self._cancelled: set[bytes] = set()
        self._is_ready = False
        chain.listen(self._on_change)

    # ------------------------------------------------------------ admission

    async def submit(self, transaction: Transaction) -> bytes:
        """Verify and admit; its hash. Raises Reject."""
        try:
            await self._submit(transaction)
        except Reject as reason:
            self.pool.remember_rejected(transaction.hash, reason)
            raise
        return transaction.hash

    async def _submit(self, transaction: Transaction) -> PoolEntry:
        if transaction.short_id in self._waiting:
            raise Duplicated(transaction.hash)
        self._verify_room_to_wait(transaction)
        self._waiting[transaction.short_id] = transaction.raw_size
        self._waiting_bytes += transaction.raw_size
        try:
            checked = self.pool.check(transaction)
            cycles = await self._run_scripts(checked, self.pool.limits.max_verify_cycles)
            if transaction.short_id in self._cancelled:
                raise Duplicated(transaction.hash)
            return self.pool.admit(checked, cycles)
        finally:
            self._waiting_bytes -= self._waiting.pop(transaction.short_id, 0)
            self._cancelled.discard(transaction.short_id)

    def _verify_room_to_wait(self, transaction: Transaction) -> None:
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + transaction.raw_size > MAX_WAITING_BYTES:
            raise PoolFull("too many transactions wait for verification")

    async def test_accept(self, transaction: Transaction) -> rpc.Accepted:
        """What `submit` would say, with the cycle limit of a block. Raises Reject."""
        if transaction.short_id in self._waiting:
            raise Duplicated(transaction.hash)
        checked = self.pool.check(transaction)
        cycles = await self._run_scripts(checked, self._chain.consensus.max_block_cycles)
        return rpc.Accepted(cycles=cycles, fee=checked.fee)

    async def _run_scripts(self, checked: Checked, max_cycles: int) -> int:
        env, reader = self.pool.env(checked.status), self.pool.reader
        async with self._slots:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._workers, self._verify, checked, env, reader, max_cycles)

    def _verify(self, checked: Checked, env: TxEnv, reader: ChainReader, max_cycles: int) -> int:
        """In a worker: the rules that need the chain, then the scripts."""
        consensus = self._chain.consensus
        try:
            verify_transaction_in_context(consensus, checked.rtx, env, reader)
            cycles = self._scripts.over(reader).run(checked.rtx, env, max_cycles)
            verify_dao_lock_sizes(consensus, checked.rtx)
        except CkbError as error:
            raise VerificationFailed(error) from error
        return cycles

    # ------------------------------------------------------------ following the chain

    def _on_change(self, change: ChainChanged) -> None:
        again = self.pool.on_change(change, self._chain.view())
        if change.detached:
            self._resubmit.put_nowait(again)

    async def run(self) -> None:
        """Bring detached transactions back after reorgs; runs until it is cancelled."""
        while True:
            transactions = await self._resubmit.get()
            await self._bring_back(transactions)
            self._resubmit.task_done()

    async def _bring_back(self, transactions: list[Transaction]) -> None:
        for transaction in transactions:
            try:
                await self.submit(transaction)
            except Reject:
                continue
        self.pool.drop_orphaned()

    async def settled(self) -> None:
        """Wait until all detached transactions of past reorgs were tried again."""
        await self._resubmit.join()

    async def load(self, path: Path) -> int:
        """Submit again what a former run kept on disk; how many came in."""
        count = 0
        for transaction in load_transactions(path):
            try:
                await self.submit(transaction)
                count += 1
            except Reject:
                continue
        self._is_ready = True
        return count

    def save(self, path: Path) -> int:
        """Keep the pool on disk, parents first; how many transactions."""
        entries = sorted(self.pool.graph, key=lambda entry: entry.ancestors.count)
        save_transactions(path, [entry.tx for entry in entries])
        return len(entries)

    # ------------------------------------------------------------ by hand

    async def remove(self, tx_hash: bytes) -> bool:
        """Take a transaction and its descendants out, waiting for verification or not."""
        if tx_hash[:10] in self._waiting:
            self._cancelled.add(tx_hash[:10])
            return True
        return self.pool.remove(tx_hash)

    async def clear(self) -> None:
        """Forget every transaction."""
        self.pool.clear()

    async def clear_verify_queue(self) -> None:
        """Forget transactions that wait for verification."""
        self._cancelled.update(self._waiting)

    # ------------------------------------------------------------ answers

    def is_ready(self) -> bool:
        return self._is_ready

    async def info(self) -> rpc.PoolInfo:
        pool, graph = self.pool, self.pool.graph
        proposed = graph.count(Status.PROPOSED)
        return rpc.PoolInfo(
            tip_hash=pool.tip.hash,
            tip_number=pool.tip.number,
            pending=len(graph) - proposed,
            proposed=proposed,
            orphan=0,
            total_tx_size=graph.total_size,
            total_tx_cycles=graph.total_cycles,
            min_fee_rate=pool.limits.min_fee_rate,
            min_rbf_rate=pool.limits.min_rbf_rate,
            last_txs_updated_at=pool.updated_at,
            tx_size_limit=TRANSACTION_SIZE_LIMIT,
            max_tx_pool_size=pool.limits.max_size,
            verify_queue_size=len(self._waiting),
        )

    async def ids(self) -> rpc.PoolIds:
        graph = self.pool.graph
        return rpc.PoolIds(
            pending=[entry.hash for entry in graph.by_score((Status.PENDING, Status.GAP))],
            proposed=[entry.hash for entry in graph.by_score((Status.PROPOSED,))],
        )

    async def entries(self) -> rpc.PoolEntries:
        graph = self.pool.graph
        return rpc.PoolEntries(
            pending={entry.hash: _entry_info(entry) for entry in graph.by_score((Status.PENDING, Status.GAP))},
            proposed={entry.hash: _entry_info(entry) for entry in graph.by_score((Status.PROPOSED,))},
            conflicted=list(self.pool.conflicted),
        )

    async def detail(self, tx_hash: bytes) -> rpc.PoolEntryDetail:
        graph = self.pool.graph
        entry = graph.by_hash(tx_hash)
        if entry is None:
            return rpc.PoolEntryDetail()
        rank = 0
        if entry.status is not Status.PROPOSED:
            rank = graph.by_score((Status.PENDING, Status.GAP)).index(entry) + 1
        proposed = graph.count(Status.PROPOSED)
        return rpc.PoolEntryDetail(
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

    async def transaction(self, tx_hash: bytes) -> rpc.PoolTransaction | rpc.RejectedTransaction | None:
        entry = self.pool.graph.by_hash(tx_hash)
        if entry is None:
            reason = self.pool.rejected.get(tx_hash)
            return None if reason is None else rpc.RejectedTransaction(reason.kind, str(reason))
        is_proposed = entry.status is Status.PROPOSED
        return rpc.PoolTransaction(
            transaction=entry.tx,
            state=rpc.TxState.PROPOSED if is_proposed else rpc.TxState.PENDING,
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

    async def live_cell(self, out_point: bytes) -> rpc.CellLookup:
        if out_point in self.pool.graph.spenders:
            return rpc.CellLookup(rpc.CellState.DEAD)
        cell = self.pool.cells().cell(out_point)
        if cell is None:
            return rpc.CellLookup(rpc.CellState.UNKNOWN)
        return rpc.CellLookup(rpc.CellState.LIVE, cell)

    async def estimate_fee_rate(self, priority: rpc.FeePriority, *, fallback: bool) -> int:
        """Shannons per 1000 weight units, from what the pool holds: the rate that is committed within the target."""
        if not fallback:
            raise rpc.FeeEstimateError("no fee estimator is configured")
        consensus = self._chain.consensus
        left = CONFIRM_TARGETS[priority] - consensus.proposal_window.closest
        size = cycles = 0
        for entry in self.pool.graph.by_score(Status):
            size, cycles = size + entry.size, cycles + entry.cycles
            if size >= consensus.max_block_bytes or cycles >= consensus.max_block_cycles:
                left -= 1
                if left == 0:
                    return entry.fee_rate
                size, cycles = entry.size, entry.cycles
        return self.pool.limits.min_fee_rate


def _entry_info(entry: PoolEntry) -> rpc.PoolEntry:
    return rpc.PoolEntry(
        cycles=entry.cycles,
        size=entry.size,
        fee=entry.fee,
        ancestors_size=entry.ancestors.size,
        ancestors_cycles=entry.ancestors.cycles,
        ancestors_count=entry.ancestors.count,
        timestamp=entry.timestamp,
    )
