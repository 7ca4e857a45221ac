"""Which figures the node shows to Prometheus: each is a line here and where it comes from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.runtime.events import EventBus
from ckb_node.runtime.metrics import Metrics
from ckb_node.runtime.tasks import Fault
from ckb_node.stratum.found import Outcome
from ckb_node.stratum.service import StratumService
from ckb_node.stratum.shares import Verdict
from ckb_node.sync.relay.blocks import RelayFigures
from ckb_node.txpool.entry import Status
from ckb_node.txpool.events import TransactionAdmitted, TransactionProposed, TransactionRejected
from ckb_node.txpool.service import PoolService
from ckb_node.verification.scripts import ScriptService

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


def measure_process(metrics: Metrics, faults: Callable[[], Sequence[Fault]]) -> None:
    """Memory, and parts of the node that do not work."""
    metrics.gauges(
        "ckb_sys_mem_process",
        "Memory of the process (bytes)",
        "type",
        {"rss": lambda: _memory(1), "vms": lambda: _memory(0)},
    )
    metrics.gauge("ckb_node_faults", "Parts of the node that do not work now, see /health", lambda: len(faults()))


def _memory(field: int) -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[field]) * _PAGE_SIZE


def measure_chain(metrics: Metrics, chain: ChainService) -> None:
    """The tip, what is attached and detached, orphans."""
    metrics.gauge("ckb_chain_tip", "Number of the tip", lambda: _tip_number(chain))
    metrics.gauge("ckb_chain_orphan_count", "Blocks whose parent is unknown", lambda: chain.orphan_count)
    attached = metrics.counter("ckb_chain_attached_blocks", "Blocks that joined the main chain")
    detached = metrics.counter("ckb_chain_detached_blocks", "Blocks that left the main chain")
    reorgs = metrics.counter("ckb_chain_reorgs", "Changes of the tip in which blocks left the main chain")

    def on_change(change: ChainChanged) -> None:
        attached(len(change.attached))
        if change.detached:
            detached(len(change.detached))
            reorgs(1)

    chain.listen(on_change)


def _tip_number(chain: ChainService) -> int:
    with chain.view() as view:
        return view.tip_header().number


def measure_pool(metrics: Metrics, pool: PoolService, events: EventBus) -> None:
    """What the pool holds, and what happened to transactions."""
    metrics.gauges(
        "ckb_tx_pool_entry",
        "Transactions in the pool",
        "type",
        {status.value: partial(_count, pool, status) for status in Status},
    )
    metrics.gauge("ckb_tx_pool_bytes", "Size of the pool's transactions", lambda: pool.pool.graph.total_size)
    metrics.gauge("ckb_tx_pool_cycles", "Cycles of the pool's transactions", lambda: pool.pool.graph.total_cycles)
    metrics.gauge("ckb_tx_pool_verify_queue", "Transactions that wait for verification", lambda: pool.verify_queue_size)
    happened = metrics.counters(
        "ckb_tx_pool_transactions",
        "What happened to transactions of the pool",
        "event",
        ("admitted", "proposed", "rejected"),
    )
    events.listen(TransactionAdmitted, lambda _: happened["admitted"]())
    events.listen(TransactionProposed, lambda _: happened["proposed"]())
    events.listen(TransactionRejected, lambda _: happened["rejected"]())


def _count(pool: PoolService, status: Status) -> int:
    return pool.pool.graph.count(status)


def measure_scripts(metrics: Metrics, scripts: ScriptService) -> None:
    """How many processes run scripts."""
    metrics.gauge("ckb_script_workers", "Processes that run scripts", lambda: scripts.worker_count)


def measure_relay(metrics: Metrics, figures: RelayFigures) -> None:
    """How often the pool has all that a compact block lacks."""
    ok, fail = "ckb_relay_cb_reconstruct_ok", "ckb_relay_cb_reconstruct_fail"
    metrics.gauge(ok, "Compact blocks put together from what the node had", lambda: figures.rebuilt)
    metrics.gauge(fail, "Compact blocks that lacked something", lambda: figures.incomplete)
    metrics.gauge("ckb_relay_cb_completed", "Those that peers' answers completed", lambda: figures.completed)
    collisions = "ckb_relay_transaction_short_id_collide"
    metrics.gauge(collisions, "Short ids that meant another transaction here", lambda: figures.collisions)


def measure_stratum(metrics: Metrics, stratum: StratumService | None) -> None:
    """Miners, their shares and the blocks that they found."""
    if stratum is None:
        return
    desk = stratum.desk
    metrics.gauge("ckb_stratum_connections", "Connections of miners", lambda: stratum.connection_count)
    metrics.gauge("ckb_stratum_refused_connections", "Refused since the start", lambda: stratum.gate.refused)
    metrics.gauge("ckb_stratum_banned_addresses", "Addresses that are kept away", lambda: stratum.gate.banned_count)
    metrics.totals("ckb_stratum_miners", "Working miners by dialect", "dialect", stratum.dialects)
    metrics.totals(
        "ckb_stratum_shares",
        "Shares since the start",
        "verdict",
        lambda: {verdict.name.lower(): desk.workers.counts[verdict] for verdict in Verdict},
    )
    metrics.gauge("ckb_stratum_hashrate", "Of all miners, by their shares (hashes a second)", stratum.hashrate)
    metrics.gauge("ckb_stratum_jobs", "Jobs sent since the start", lambda: desk.jobs_sent)
    metrics.gauge("ckb_stratum_found_blocks", "Blocks that miners found since the start", lambda: desk.found.total)
    metrics.gauges(
        "ckb_stratum_blocks",
        "What became of the last blocks that miners found",
        "outcome",
        {outcome.name.lower(): partial(_outcome_count, stratum, outcome) for outcome in Outcome},
    )


def _outcome_count(stratum: StratumService, outcome: Outcome) -> int:
    return stratum.outcomes()[outcome]


class MeasuredIndexer(Protocol):
    """Either indexer."""

    def tip(self) -> tuple[int, bytes] | None: ...

    def blocks_behind(self) -> int: ...


def measure_indexer(metrics: Metrics, indexer: MeasuredIndexer) -> None:
    """How far the indexer has followed the chain."""
    metrics.gauge("ckb_indexer_tip", "Number of the last indexed block", lambda: (indexer.tip() or (-1, b""))[0])
    metrics.gauge(
        "ckb_indexer_lag_blocks", "Blocks that the indexer is behind the tip", lambda: max(0, indexer.blocks_behind())
    )
