"""Answers of the methods `stratum.…` as JSON. Hashrates are hashes a second, times milliseconds since 1970."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from ckb_node.jsonrpc_types.hex_text import bytes_text, optional_uint, uint_text
from ckb_node.stratum.found import FoundBlock, FoundReader, Outcome
from ckb_node.stratum.service import StratumService
from ckb_node.stratum.shares import Verdict
from ckb_node.stratum.vardiff import shown_difficulty
from ckb_node.stratum.workers import Worker


class ListenerJson(Struct, frozen=True):
    """Where miners connect."""

    address: str
    tls: bool


class SharesJson(Struct, frozen=True):
    """Shares by what they were worth; `block` are not among the accepted."""

    accepted: str
    block: str
    stale: str
    low_difficulty: str
    duplicate: str
    unknown_job: str


class JobJson(Struct, frozen=True):
    """What miners work on now."""

    job_id: str
    number: str
    parent_hash: str
    transactions: str
    proposals: str
    uncles: str


class OutcomesJson(Struct, frozen=True):
    """What became of the last blocks that miners found."""

    main: str
    uncle: str
    orphaned: str
    refused: str
    under_way: str


class StratumStatusJson(Struct, frozen=True):
    """The stratum server. `miners`: working ones by dialect. `hashrate`: of about the last ten minutes."""

    listening: list[ListenerJson]
    connections: str
    refused_connections: str
    banned_addresses: str
    miners: dict[str, str]
    workers: str
    hashrate: str
    shares: SharesJson
    jobs_sent: str
    job: JobJson | None
    found_blocks: str
    outcomes: OutcomesJson


class WorkerJson(Struct, frozen=True):
    """A user's name. `difficulty`: of its shares, 1 is 2³² hashes. `hashes`: what its right shares took on average."""

    name: str
    connections: str
    hashrate: str
    difficulty: float
    hashes: str
    shares: SharesJson
    last_share: str | None


class FoundBlockJson(Struct, frozen=True):
    """`outcome` is main, uncle, orphaned, refused or under way; `error` of a refused one."""

    number: str
    hash: str
    worker: str
    time: str
    outcome: str
    error: str | None = None


def status_json(stratum: StratumService) -> StratumStatusJson:
    """Now."""
    desk, outcomes = stratum.desk, stratum.outcomes()
    counts = {name: uint_text(outcomes[Outcome[name.upper()]]) for name in OutcomesJson.__struct_fields__}
    return StratumStatusJson(
        listening=[ListenerJson(f"{host}:{port}", is_tls) for (host, port), is_tls in stratum.addresses],
        connections=uint_text(stratum.connection_count),
        refused_connections=uint_text(stratum.gate.refused),
        banned_addresses=uint_text(stratum.gate.banned_count),
        miners={name: uint_text(count) for name, count in stratum.dialects().items()},
        workers=uint_text(len(desk.workers)),
        hashrate=uint_text(round(stratum.hashrate())),
        shares=_shares(desk.workers.counts),
        jobs_sent=uint_text(desk.jobs_sent),
        job=_job(stratum),
        found_blocks=uint_text(desk.found.total),
        outcomes=OutcomesJson(**counts),
    )


def _shares(counts: Counter[Verdict]) -> SharesJson:
    return SharesJson(
        accepted=uint_text(counts[Verdict.ACCEPTED]),
        block=uint_text(counts[Verdict.BLOCK]),
        stale=uint_text(counts[Verdict.STALE]),
        low_difficulty=uint_text(counts[Verdict.LOW]),
        duplicate=uint_text(counts[Verdict.DUPLICATE]),
        unknown_job=uint_text(counts[Verdict.UNKNOWN_JOB]),
    )


def _job(stratum: StratumService) -> JobJson | None:
    round_ = stratum.desk.rounds.current
    if round_ is None:
        return None
    template = round_.prepared.template
    return JobJson(
        job_id=round_.id,
        number=uint_text(template.number),
        parent_hash=bytes_text(template.parent_hash),
        transactions=uint_text(len(template.transactions)),
        proposals=uint_text(len(template.proposals)),
        uncles=uint_text(len(template.uncles)),
    )


def worker_json(worker: Worker, now_s: float) -> WorkerJson:
    """`now_s` of the clock that its rate knows."""
    return WorkerJson(
        name=worker.name,
        connections=uint_text(worker.connections),
        hashrate=uint_text(round(worker.rate.at(now_s))),
        difficulty=shown_difficulty(worker.target) if worker.target else 0,
        hashes=uint_text(worker.hashes),
        shares=_shares(worker.counts),
        last_share=optional_uint(worker.last_share_ms),
    )


def found_json(block: FoundBlock, view: FoundReader) -> FoundBlockJson:
    """With what became of it."""
    return FoundBlockJson(
        number=uint_text(block.number),
        hash=bytes_text(block.hash),
        worker=block.worker,
        time=uint_text(block.time_ms),
        outcome=block.outcome(view).value,
        error=block.error,
    )
