"""What the pool answers about its transactions; what is to return to it is pending."""

from __future__ import annotations

from itertools import chain

from ckb_node.txpool import views
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.limits import TRANSACTION_SIZE_LIMIT
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.rbf import min_replace_fee
from ckb_node.txpool.readmission import ReadmissionQueue
from ckb_node.txpool.remote import RemoteTransactions
from ckb_node.txpool.verify_queue import VerifyQueue


class PoolAnswers:
    """Reads only. Belongs to the event loop, as the pool does."""

    def __init__(
        self, pool: TxPool, readmission: ReadmissionQueue, verify_queue: VerifyQueue, remote: RemoteTransactions
    ) -> None:
        self.pool, self._readmission, self._verify_queue = pool, readmission, verify_queue
        self.remote = remote
        """What peers give; they get no answer."""

    @property
    def verify_queue_size(self) -> int:
        """Transactions that wait for verification."""
        return len(self._verify_queue) + len(self.remote)

    def info(self) -> views.PoolInfo:
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
        limits = self.pool.limits
        return min_replace_fee(entry.descendants.fee, entry.size, limits) if limits.is_rbf_enabled else None

    async def live_cell(self, out_point: bytes) -> views.CellLookup:
        if out_point in self.pool.graph.spenders:
            return views.CellLookup(views.CellState.DEAD)
        cell = self.pool.cells().cell(out_point)
        if cell is None:
            return views.CellLookup(views.CellState.UNKNOWN)
        return views.CellLookup(views.CellState.LIVE, cell)


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
