"""Transactions of the pool that take long: in a process of their own, stopped, paused, limited, run again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from ckb_node.verification import long_runs
from ckb_node.verification import scripts as chain_scripts
from ckb_node.verification import service as verification
from ckb_node.verification.long_runs import IDLE_S
from ckb_node.verification.messages import ErrorData
from ckb_node.verification.scripts import ScriptRun, ScriptService
from ckb_node.verification.service import ParallelScriptService
from ckb_node.verification.stopping import BudgetExceeded, ScriptsStopped, Stop
from ckb_node.verification.transfer import pack_error, unpack_error
from consensus.errors import ScriptError
from consensus.types.core import ResolvedTransaction
from tests.support.builders.scripts import Chain
from tests.verification.kit import (
    ENV,
    LIMIT,
    a_transaction,
    calling_for_ever,
    consensus_with,
    endless,
    exiting,
    looping,
    no_room,
    parallel,
)

LONG = looping(150_000_000)
EXEC, CURRENT_CYCLES = 2043, 2042
CELL_DEP = 3


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool has little patience."""
    monkeypatch.setattr(chain_scripts, "MIN_POOL_S", 0.3)
    monkeypatch.setattr(chain_scripts, "POOL_CYCLES_PER_S", 1e15)


def run_of(rtx: ResolvedTransaction, stop: Stop, limit: int = LIMIT) -> ScriptRun:
    return ScriptRun(Chain(), rtx, ENV, limit, stop)  # type: ignore[arg-type]


def patiently(service: ScriptService, rtx: ResolvedTransaction, stop: Stop | None = None, limit: int = LIMIT) -> int:
    return service.run_long(run_of(rtx, stop or Stop(service.stop), limit))


def failure(run: Callable[[], object]) -> ScriptError:
    with pytest.raises(ScriptError) as raised:
        run()
    return raised.value


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def process_at_work(service: ParallelScriptService, not_pid: int = 0) -> int:
    """Id of the process, once it has been given the transaction."""

    def is_at_work() -> bool:
        process = service.long_runs._process
        return process is not None and process.process.pid != not_pid and bool(process._working)

    wait_for(is_at_work)
    assert service.long_runs._process is not None
    return service.long_runs._process.process.pid


def test_verdicts_are_those_of_a_plain_run(tmp_path: Path) -> None:
    plain = ScriptService(consensus_with())
    with parallel(tmp_path) as service:
        for version in (0, 1, 2):
            rtx = a_transaction(looping(1000), version)
            assert patiently(service, rtx) == patiently(plain, rtx)
            for code in (exiting(-3), b"no program", calling_for_ever(7777)):
                bad = a_transaction(code, version)
                expected, error = (failure(partial(patiently, runner, bad)) for runner in (plain, service))
                assert type(error) is type(expected)
                assert (str(error), pack_error(error)) == (str(expected), pack_error(expected))
        late = a_transaction(LONG)
        texts = {str(failure(partial(patiently, runner, late, None, 1 << 26))) for runner in (plain, service)}
        assert len(texts) == 1


def test_errors_survive_the_way() -> None:
    error = failure(lambda: patiently(ScriptService(consensus_with()), a_transaction(exiting(9))))
    again = unpack_error(pack_error(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert pack_error(again) == pack_error(error)
    with pytest.raises(LookupError):
        unpack_error(ErrorData("OSError", [], {}, {}))


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(endless(), id="endless"),
        pytest.param(calling_for_ever(CURRENT_CYCLES), id="cheap system calls"),
        pytest.param(calling_for_ever(EXEC, 0, CELL_DEP, 0, 0, 131_071, 0x20000), id="exec with many arguments"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "parallel"])
def test_hostile_scripts_run_out_of_time(
    tmp_path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch, code: bytes, kind: str
) -> None:
    rtx = a_transaction(code)
    with parallel(tmp_path) as service:
        runner: ScriptService = service if kind == "parallel" else ScriptService(consensus_with())
        with pytest.raises(BudgetExceeded) as raised:
            patiently(runner, rtx)
        assert raised.value.what == "seconds of work"
        monkeypatch.setattr(chain_scripts, "MIN_POOL_S", 60.0)  # on a busy machine an honest script may take 0.3 s, too
        assert patiently(runner, a_transaction(exiting(0))) > 0


@pytest.mark.parametrize("kind", ["plain", "parallel"])
def test_stopped_by_whoever_wanted_it(tmp_path: Path, kind: str) -> None:
    with parallel(tmp_path) as service, ThreadPoolExecutor(1) as thread:
        runner: ScriptService = service if kind == "parallel" else ScriptService(consensus_with())
        stop = Stop(runner.stop)
        run: Future[int] = thread.submit(patiently, runner, a_transaction(endless()), stop)
        if kind == "parallel":
            process_at_work(service)
        stop.set()
        with pytest.raises(ScriptsStopped):
            run.result(timeout=60)
        assert patiently(runner, a_transaction(exiting(0))) > 0


def test_a_process_that_dies_is_replaced_and_the_transaction_run_again(tmp_path: Path) -> None:
    rtx = a_transaction(LONG)
    with parallel(tmp_path) as service, ThreadPoolExecutor(1) as thread:
        run = thread.submit(patiently, service, rtx)
        first = process_at_work(service)
        os.kill(first, signal.SIGKILL)
        second = process_at_work(service, not_pid=first)
        cycles = run.result(timeout=60)
        assert service.long_runs._process is not None
        assert service.long_runs._process.process.pid == second
        assert cycles > 600_000_000


def test_when_processes_die_the_thread_does_it_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckb_node.verification.worker_handle.MODULE", "ckb_node.no_such_module")
    rtx = a_transaction(looping(1000))
    with parallel(tmp_path) as service:
        assert patiently(service, rtx) == patiently(ScriptService(consensus_with()), rtx)


def test_without_room_for_a_process_the_thread_does_it_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", no_room)
    rtx = a_transaction(looping(1000))
    with parallel(tmp_path) as service:
        assert patiently(service, rtx) == patiently(ScriptService(consensus_with()), rtx)


def test_with_many_open_files(tmp_path: Path, many_open_files: None) -> None:
    rtx = a_transaction(looping(1000))
    with parallel(tmp_path) as service:
        assert patiently(service, rtx) == patiently(ScriptService(consensus_with()), rtx)
        process = service.long_runs._process
        assert process is not None
        assert process.fileno() >= 1024


def test_a_block_goes_first(tmp_path: Path) -> None:
    """While a block is verified the process stands still, and goes on afterwards where it was."""
    with parallel(tmp_path) as service, ThreadPoolExecutor(1) as thread:
        run = thread.submit(patiently, service, a_transaction(LONG))
        pid = process_at_work(service)
        with service.gate.shut():
            wait_for(partial(_stands_still, pid))
            assert not run.done()
        assert run.result(timeout=60) > 600_000_000
        assert process_pid(service) == pid


def estimate(service: ScriptService, rtx: ResolvedTransaction, stop: Stop) -> int:
    return service.run_estimate(run_of(rtx, stop), 60.0)


@pytest.mark.parametrize(("yielding", "first"), [("run_yielding", patiently), ("run_long_estimate", estimate)])
def test_what_yields_stands_still_and_goes_on_where_it_was(
    tmp_path: Path, yielding: str, first: Callable[[ScriptService, ResolvedTransaction, Stop], int]
) -> None:
    with parallel(tmp_path) as service, ThreadPoolExecutor(2) as threads:
        own_stop = Stop(service.stop)
        others = service.yielding_runs if yielding == "run_yielding" else service.long_estimate_runs
        run = getattr(service, yielding)
        waiting = threads.submit(run, run_of(a_transaction(LONG), Stop(service.stop)))
        wait_for(lambda: others._process is not None and bool(others._process._working))
        assert others._process is not None
        pid = others._process.process.pid
        own = threads.submit(first, service, a_transaction(endless()), own_stop)
        wait_for(partial(_stands_still, pid))
        assert not waiting.done()
        own_stop.set()
        with pytest.raises(ScriptsStopped):
            own.result(timeout=60)
        assert waiting.result(timeout=60) > 600_000_000
        assert others._process.process.pid == pid


def test_a_quick_run_ends_when_it_takes_long() -> None:
    service = ScriptService(consensus_with())
    stop = Stop(service.stop)
    assert service.run_short(run_of(a_transaction(endless()), stop)) is None
    patiently(service, a_transaction(exiting(0)))  # the interpreter is compiled now
    assert service.run_short(run_of(a_transaction(exiting(0)), stop))


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Many different programs through one process, some refused, some stopped."""
    with parallel(tmp_path) as service:
        for number in range(300):
            code = looping(1000 + number) + bytes(40_000)
            rtx = a_transaction(code if number % 3 else exiting(number % 100), version=number % 3)
            try:
                patiently(service, rtx)
            except ScriptError:
                assert number % 3 == 0
        process = service.long_runs._process
        assert process is not None
        assert process.resident_bytes() < 120 << 20


def process_pid(service: ParallelScriptService) -> int:
    assert service.long_runs._process is not None
    return service.long_runs._process.process.pid


def _stands_still(pid: int) -> bool:
    """It hardly works for half a second, in which a script at work would be done."""
    before = _work_of(pid)
    time.sleep(0.5)
    return _work_of(pid) - before <= 3


def _work_of(pid: int) -> int:
    """Processor time so far, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_an_idle_process_ends_and_comes_back(tmp_path: Path) -> None:
    with parallel(tmp_path) as service:
        runs = service.long_runs
        expected = patiently(service, a_transaction(looping(1000)))
        runs.end_if_idle(time.monotonic())
        assert service.worker_count == 1, "it has just worked"
        runs.end_if_idle(time.monotonic() + IDLE_S)
        assert service.worker_count == 0
        assert patiently(service, a_transaction(looping(1001))) > expected
        assert service.worker_count == 1


def test_a_process_at_work_is_not_idle(tmp_path: Path) -> None:
    """Though it has had the same work for longer than that."""
    with parallel(tmp_path) as service, ThreadPoolExecutor(1) as threads:
        stop = Stop(service.stop)
        running = threads.submit(patiently, service, a_transaction(endless()), stop)
        pid = process_at_work(service)
        service.long_runs.end_if_idle(time.monotonic() + 10 * IDLE_S)
        assert process_at_work(service) == pid
        stop.set()
        with pytest.raises(ScriptsStopped):
            running.result()


async def test_the_service_looks_for_idle_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "IDLE_S", 0.0)
    monkeypatch.setattr(long_runs, "IDLE_S", 0.0)
    with parallel(tmp_path) as service:
        await asyncio.to_thread(patiently, service, a_transaction(looping(1000)))
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            looking = group.create_task(service.end_idle())
            while service.worker_count:  # noqa: ASYNC110 - of a thread
                await asyncio.sleep(0.005)
            looking.cancel()
