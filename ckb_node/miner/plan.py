"""What the configuration and the command line ask of the workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from ckb_node.miner.delays import Delay, constant, normal, poisson, uniform
from ckb_node.miner.dummy_worker import DummyWorker
from ckb_node.miner.search_threads import SearchThreads
from ckb_node.miner.settings import WorkerSection
from ckb_node.miner.work import Work, Workers
from ckb_node.runtime.settings import ConfigError
from consensus.params import PowFunc


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """The chain's function, and who computes it."""

    function: PowFunc
    threads: int
    delays: Sequence[Delay]

    @property
    def is_dummy(self) -> bool:
        return self.function is PowFunc.DUMMY

    def workers(self, found: Callable[[Work, bytes], None]) -> Workers:
        """Those that are asked for."""
        return DummyWorker(self.delays, found) if self.is_dummy else SearchThreads(self.function, self.threads, found)


def processors() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work_plan(
    function: PowFunc, sections: Sequence[WorkerSection], interval_ms: int, threads: int | None, rng: Random
) -> WorkPlan:
    """By the sections, where there are any; `threads` counts more. ConfigError for workers of another chain."""
    for section in sections:
        if section.is_dummy != (function is PowFunc.DUMMY):
            raise ConfigError(
                f"miner.workers: a {section.worker_type} worker is of no use: the chain has {function.value}"
            )
        wants_blake2b = section.extra_hash_function is not None
        if not section.is_dummy and wants_blake2b != (function is PowFunc.EAGLESONG_BLAKE2B):
            raise ConfigError(f"miner.workers: extra_hash_function does not fit the chain, which has {function.value}")
    configured = sum(section.threads or 0 for section in sections)
    delays = [delay_of(section, rng) for section in sections if section.is_dummy]
    return WorkPlan(function, threads or configured or processors(), delays or [constant(interval_ms)])


def delay_of(section: WorkerSection, rng: Random) -> Delay:
    """Of a Dummy worker that `check_workers` let pass."""
    match section.delay_type:
        case "Uniform" if section.low is not None and section.high is not None:
            return uniform(rng, section.low, section.high)
        case "Normal" if section.mean is not None and section.std_dev is not None:
            return normal(rng, section.mean, section.std_dev)
        case "Poisson" if section.lambda_ is not None:
            return poisson(rng, section.lambda_)
    return constant(section.value or 0)
