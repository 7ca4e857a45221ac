"""Figures of sync for Prometheus; the names are the reference's where it has the same figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ckb_node.runtime.metrics import Metrics
from ckb_node.sync.facts import SyncFacts
from ckb_node.sync.peers import ChainSync
from ckb_node.sync.progress import Phase, Progress, SyncProgress
from ckb_node.sync.relay.protocol import TOO_MANY, UNDECODABLE
from ckb_node.sync.service import SyncService
from ckb_node.sync.upload import Served, UploadKind

NO_NUMBER: Final = float("nan")
"""The network does not run."""


def measure_sync(metrics: Metrics, progress: SyncProgress, sync: Callable[[], SyncService | None]) -> None:
    """Heights, rates, what is on its way, peers by state, whether sync is stalled, and messages of relay."""

    def facts() -> SyncFacts | None:
        service = sync()
        return None if service is None else service.facts

    def gauge(name: str, text: str, read: Callable[[SyncFacts], float]) -> None:
        metrics.gauge(name, text, lambda: NO_NUMBER if (seen := facts()) is None else read(seen))

    gauge("ckb_shared_best_number", "Height of the best known header", lambda seen: seen.best_number())
    gauge("ckb_inflight_blocks_count", "Blocks that peers were asked for", lambda seen: seen.blocks.in_flight_count)
    gauge("ckb_sync_buffered_blocks", "Blocks that wait for the writer", lambda seen: seen.blocks.buffered_count)
    gauge("ckb_sync_buffered_bytes", "Their bytes", lambda seen: seen.blocks.buffered_bytes)
    metrics.gauges(
        "ckb_sync_peers",
        "Peers that speak Sync, by how far header sync is with them",
        "state",
        {state.value.replace(" ", "_"): partial(_peers_in, facts, state) for state in ChainSync},
    )
    metrics.totals("ckb_sync_taken", "What came and was found valid", "kind", lambda: _taken(facts()))
    metrics.totals("ckb_relay_messages", "Messages of relay that came", "kind", lambda: _relayed(sync()))
    _measure_serving(metrics, sync)
    _measure_progress(metrics, progress)


def _measure_serving(metrics: Metrics, sync: Callable[[], SyncService | None]) -> None:
    """What peers asked for and got, by protocol and kind of answer."""

    def totals(name: str, text: str, count: Callable[[Served], float]) -> None:
        def read() -> dict[str, float]:
            service = sync()
            served = {} if service is None else service.upload.served
            return {kind.value: count(each) for kind, each in served.items()}

        metrics.totals(f"ckb_serving_{name}", text, "kind", read)

    totals("asked", "Questions of peers", lambda it: it.asked)
    totals("refused", "Questions of peers that got no answer", lambda it: it.refused)
    totals("sent_messages", "Messages with answers", lambda it: it.messages)
    totals("sent_bytes", "Bytes of answers, before compression", lambda it: it.bytes)
    metrics.gauges(
        "ckb_serving_waiting",
        "Questions, or items of them, that wait for their answer",
        "kind",
        {kind.value: partial(_waiting, sync, kind) for kind in UploadKind},
    )


def _waiting(sync: Callable[[], SyncService | None], kind: UploadKind) -> float:
    service = sync()
    return NO_NUMBER if service is None else service.upload.served[kind].waiting()


def _measure_progress(metrics: Metrics, progress: SyncProgress) -> None:
    def gauge(name: str, text: str, read: Callable[[Progress], float | None]) -> None:
        def value() -> float:
            number = None if progress.last is None else read(progress.last)
            return NO_NUMBER if number is None else number

        metrics.gauge(name, text, value)

    gauge("ckb_sync_headers_per_second", "Over the last minute", lambda seen: seen.headers_per_s)
    gauge("ckb_sync_blocks_per_second", "Over the last minute", lambda seen: seen.blocks_per_s)
    gauge("ckb_sync_fraction", "Part of the phase that is done; NaN while unknown", lambda seen: seen.fraction)
    gauge("ckb_sync_left_seconds", "Until the phase is done; NaN while unknown", lambda seen: seen.seconds_left)
    gauge("ckb_sync_stalled_seconds", "For how long sync has been stalled; 0 while it is not", _stalled_seconds)
    metrics.gauges(
        "ckb_sync_phase",
        "1 for what the node does now",
        "phase",
        {phase.value.replace(" ", "_"): partial(_is_in, progress, phase) for phase in Phase},
    )


RELAY_KINDS: Final = (
    "CompactBlock",
    "RelayTransactions",
    "RelayTransactionHashes",
    "GetRelayTransactions",
    "GetBlockTransactions",
    "BlockTransactions",
    "GetBlockProposal",
    "BlockProposal",
    TOO_MANY,
    UNDECODABLE,
)


def _relayed(service: SyncService | None) -> dict[str, float]:
    if service is None:
        return {}
    counts = service.relay.protocol.counts
    return {kind: counts[kind] for kind in RELAY_KINDS}


def _peers_in(facts: Callable[[], SyncFacts | None], state: ChainSync) -> float:
    seen = facts()
    return NO_NUMBER if seen is None else seen.peers_in(state)


def _taken(seen: SyncFacts | None) -> dict[str, float]:
    return {} if seen is None else {"headers": seen.headers.taken, "blocks": seen.blocks.blocks_taken}


def _stalled_seconds(progress: Progress) -> float:
    return 0.0 if progress.stall is None else progress.stall.seconds


def _is_in(progress: SyncProgress, phase: Phase) -> float:
    return float(progress.last is not None and progress.last.phase is phase)
