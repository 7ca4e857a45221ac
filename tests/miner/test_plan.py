"""Sections of workers: what they need, what does not go together, and what they become."""

from __future__ import annotations

import tomllib
from random import Random
from typing import Any

import msgspec
import pytest

from ckb_node.miner.dummy_worker import DummyWorker
from ckb_node.miner.plan import WorkPlan, delay_of, processors, work_plan
from ckb_node.miner.search_threads import SearchThreads
from ckb_node.miner.settings import MinerSection, check_workers
from ckb_node.runtime.settings import ConfigError
from consensus.params import PowFunc

EAGLESONG = 'worker_type = "EaglesongSimple"\nthreads = 3\n'
BLAKE2B = EAGLESONG + 'extra_hash_function = "Blake2b"\n'
DUMMY = 'worker_type = "Dummy"\n'


def workers_of(*texts: str) -> Any:
    document = tomllib.loads("".join(f"[[workers]]\n{text}" for text in texts))
    section = msgspec.convert(document, MinerSection)
    check_workers(section.workers)
    return section.workers


def plan(function: PowFunc, *texts: str, threads: int | None = None) -> WorkPlan:
    return work_plan(function, workers_of(*texts), 3000, threads, Random(1))


def test_threads_are_those_of_all_sections_or_of_the_option_or_of_the_machine() -> None:
    assert plan(PowFunc.EAGLESONG, EAGLESONG, EAGLESONG).threads == 6
    assert plan(PowFunc.EAGLESONG, EAGLESONG, threads=2).threads == 2
    assert plan(PowFunc.EAGLESONG).threads == processors() >= 1
    assert plan(PowFunc.EAGLESONG_BLAKE2B, BLAKE2B).threads == 3


def test_workers_of_a_plan() -> None:
    assert isinstance(plan(PowFunc.EAGLESONG).workers(lambda *_: None), SearchThreads)
    assert isinstance(plan(PowFunc.DUMMY).workers(lambda *_: None), DummyWorker)


def test_without_a_section_a_dummy_block_takes_the_interval() -> None:
    (delay,) = plan(PowFunc.DUMMY).delays
    assert delay() == 3000


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ('delay_type = "Constant"\nvalue = 5', 5, 5),
        ('delay_type = "Uniform"\nlow = 5\nhigh = 7', 5, 6),
        ('delay_type = "Normal"\nmean = 50.0\nstd_dev = 1.0', 30, 70),
        ('delay_type = "Normal"\nmean = 50\nstd_dev = 0', 50, 50),
        ('delay_type = "Poisson"\nlambda = 5000.0', 4000, 6000),
    ],
)
def test_delays(text: str, low: float, high: float) -> None:
    (worker,) = workers_of(f"{DUMMY}{text}\n")
    delay = delay_of(worker, Random(2))
    assert all(low <= delay() <= high for _ in range(100))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('worker_type = "EaglesongSimple"', r"workers\[0\]\.threads: missing"),
        (f"{EAGLESONG}value = 3", "value: of no use"),
        (DUMMY, "delay_type: missing"),
        (f'{DUMMY}delay_type = "Uniform"\nlow = 5', "high: missing"),
        (f'{DUMMY}delay_type = "Uniform"\nlow = 5\nhigh = 5', "high: must be above low"),
        (f'{DUMMY}delay_type = "Constant"\nvalue = 5\nthreads = 2', "threads: of no use"),
        (f'{DUMMY}delay_type = "Poisson"\nlambda = 0', "lambda: must be above 0"),
    ],
)
def test_sections_that_cannot_be(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        workers_of(f"{text}\n")


def test_both_kinds_at_once_cannot_be() -> None:
    with pytest.raises(ConfigError, match="different chains"):
        workers_of(EAGLESONG, f'{DUMMY}delay_type = "Constant"\nvalue = 5\n')


@pytest.mark.parametrize("text", ["threads = 0", "threads = 1025", "mean = nan", "value = 3600001", "x = 1"])
def test_values_out_of_bounds(text: str) -> None:
    with pytest.raises((ConfigError, msgspec.ValidationError)):
        workers_of(f'worker_type = "EaglesongSimple"\n{text}\n')


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (PowFunc.DUMMY, EAGLESONG),
        (PowFunc.EAGLESONG, f'{DUMMY}delay_type = "Constant"\nvalue = 5\n'),
        (PowFunc.EAGLESONG, BLAKE2B),
        (PowFunc.EAGLESONG_BLAKE2B, EAGLESONG),
    ],
)
def test_workers_of_another_chain_are_refused(function: PowFunc, text: str) -> None:
    with pytest.raises(ConfigError, match=r"miner\.workers"):
        plan(function, text)
