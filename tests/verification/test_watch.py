"""Processes that are stopped, hang or loop are noticed, and busy ones are left alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest
from structlog.testing import capture_logs

from ckb_node.verification.scripts import ScriptRun, ScriptService
from ckb_node.verification.watch import ASLEEP_S, CHECK_EVERY_S, LOOPING_S, STOPPED_S, StartPauses, Watch
from consensus.types.core import ResolvedTransaction
from tests.support.builders.scripts import Chain
from tests.verification.kit import ENV, a_block, a_transaction, consensus_with, looping, parallel, start_processes

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Observed:
    """A process as the system shows it, at a time."""

    state: str = "R"
    cpu_s: float = 0.0
    beats: int = 0
    now: float = 0.0
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(1, lambda: self.beats, lambda: self.now, self.fields)

    def fields(self, _: int) -> list[str]:
        return [self.state, *["0"] * 10, str(int(self.cpu_s * TICKS_PER_S)), "0"]

    def fault_within(self, seconds: float, step: Callable[[], None] = lambda: None) -> str | None:
        """The first fault while time passes in small steps."""
        end = self.now + seconds
        while self.now < end:
            self.now += CHECK_EVERY_S
            step()
            if (fault := self.watch.fault()) is not None:
                return fault
        return None


def test_a_stopped_process() -> None:
    process = Observed("T")
    assert process.fault_within(STOPPED_S - 0.5) is None
    assert process.fault_within(1) == "it is stopped"


def test_one_that_is_stopped_for_a_moment() -> None:
    process = Observed("T")
    assert process.fault_within(STOPPED_S - 0.5) is None
    process.state = "R"
    assert process.fault_within(1) is None
    process.state = "T"
    assert process.fault_within(STOPPED_S - 0.5) is None


def test_one_that_waits_for_something_for_ever() -> None:
    process = Observed("D")
    assert process.fault_within(ASLEEP_S - 1) is None
    assert process.fault_within(2) == "it hangs"


def test_one_that_loops() -> None:
    process = Observed("R")

    def work() -> None:
        process.cpu_s += CHECK_EVERY_S

    assert process.fault_within(LOOPING_S - 1, work) is None
    assert process.fault_within(2, work) == "it does not come to an end"


def test_one_that_works_for_hours() -> None:
    process = Observed("R")

    def work() -> None:
        process.cpu_s += CHECK_EVERY_S
        process.beats += 1

    assert process.fault_within(10_000, work) is None


def test_one_that_gets_no_turn_on_a_busy_machine() -> None:
    assert Observed("R").fault_within(10_000) is None


def test_one_that_waits_while_a_block_is_verified() -> None:
    process = Observed("S")

    def wait() -> None:
        process.beats += 1

    assert process.fault_within(10_000, wait) is None


def test_that_this_process_was_stopped_is_no_fault_of_the_other() -> None:
    process = Observed("S")
    process.now += 1000
    assert process.watch.fault() is None
    assert process.fault_within(ASLEEP_S - 2) is None


def test_pauses_between_starts_grow_and_end() -> None:
    clock = Observed()
    pauses = StartPauses(lambda: clock.now)
    seen = [pauses.is_over]
    assert [pauses.failed() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    seen.append(pauses.is_over)
    clock.now = 60.0
    seen.append(pauses.is_over)
    pauses.failed()
    pauses.worked()
    seen.append(pauses.is_over)
    assert seen == [True, False, True, True]
    assert pauses.failed() == 1


def test_a_process_for_blocks_that_is_stopped_is_replaced(tmp_path: Path) -> None:
    consensus = consensus_with()
    block = a_block(consensus, [a_transaction(looping(2_000_000 + number)) for number in range(60)])
    with capture_logs() as logs, parallel(tmp_path, consensus) as service:
        start_processes(service)
        victims = [each.process.pid for each in service.blocks._processes]
        os.kill(victims[0], signal.SIGSTOP)
        assert len(service.run_block(Chain(), block)) == 60  # type: ignore[arg-type]
        assert not set(victims) & {each.process.pid for each in service.blocks._processes}
    assert [(entry["pid"], entry["reason"]) for entry in logs] == [(victims[0], "it is stopped")]


def run_of(service: ScriptService, rtx: ResolvedTransaction) -> ScriptRun:
    return ScriptRun(Chain(), rtx, ENV, 1 << 40, service.stop)  # type: ignore[arg-type]


def test_a_process_for_the_pool_that_is_stopped_is_replaced(tmp_path: Path) -> None:
    consensus = consensus_with()
    with capture_logs() as logs, parallel(tmp_path, consensus) as service:
        transaction = a_transaction(looping(1000))
        service.run_long(run_of(service, transaction))
        process = service.long_runs._process
        assert process is not None
        os.kill(process.process.pid, signal.SIGSTOP)
        transaction = a_transaction(looping(1001))
        ended: list[int] = []

        def run() -> None:
            ended.append(service.run_long(run_of(service, transaction)))

        thread = Thread(target=run)
        thread.start()
        thread.join(60)
        assert ended
    assert [entry["reason"] for entry in logs] == ["it is stopped"]


def test_processes_that_die_at_their_start_are_not_started_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckb_node.verification.worker_handle.MODULE", "ckb_node.no_such_module")
    starts = 0
    consensus = consensus_with()
    with capture_logs() as logs, parallel(tmp_path, consensus) as service:
        start = service.blocks._start

        def counting(count: int) -> None:
            nonlocal starts
            before = len(service.blocks._processes)
            start(count)
            starts += len(service.blocks._processes) - before

        monkeypatch.setattr(service.blocks, "_start", counting)
        monkeypatch.setattr(StartPauses, "FIRST_S", 1000.0)
        monkeypatch.setattr(StartPauses, "LONGEST_S", 1000.0)
        while not logs:
            block = a_block(consensus, [a_transaction(looping(1000)) for _ in range(40)])
            service.run_block(Chain(), block)  # type: ignore[arg-type]
        for _ in range(3):
            block = a_block(consensus, [a_transaction(looping(1000)) for _ in range(40)])
            assert len(service.run_block(Chain(), block)) == 40  # type: ignore[arg-type]
    assert starts <= 2
    assert all(entry["event"] == "a script process ended before it was of use" for entry in logs)
