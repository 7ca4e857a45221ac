"""Jobs as miners get them: one for all of a round whose dialect, payout and target are the same, made once."""

from __future__ import annotations

from typing import NamedTuple

from ckb_node.stratum.dialects.dialect import Dialect, Task
from ckb_node.stratum.jobs import Round, Work
from consensus.types.blockchain import Script


class Job(NamedTuple):
    """`key`: by what shares name it; `line`: as it is sent."""

    work: Work
    task: Task
    key: str
    line: bytes


class Wanted(NamedTuple):
    """What jobs of a round differ by. `time_offset`: see ckb_node.stratum.nonces.TimeSpace; `target`: 0 in dialects
    whose jobs do not tell it."""

    dialect: Dialect
    lock: Script | None
    time_offset: int
    target: int
    is_clean: bool


def job_for(round_: Round, wanted: Wanted) -> Job:
    """Miners with headers of their own have jobs of their own; those of others are kept."""
    if wanted.time_offset:
        return _made(round_, wanted)
    job = round_.jobs.get(wanted)
    if job is None:
        job = _made(round_, wanted)
        round_.jobs.put(wanted, job)
    return job


def _made(round_: Round, wanted: Wanted) -> Job:
    work = round_.work(wanted.lock)
    template, pow_hash = round_.prepared.template, work.pow_hash(wanted.time_offset)
    task = Task(round_.id, pow_hash, template.number, template.parent_hash, wanted.target, wanted.is_clean)
    return Job(work, task, wanted.dialect.job_key(task), wanted.dialect.job(task))
