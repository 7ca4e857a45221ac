"""Short transactions of the pool in processes: verdicts, what takes long, processes that die, blocks, the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ckb_node.verification.messages import ErrorData, Job
from ckb_node.verification.scripts import ScriptRun, ScriptService
from ckb_node.verification.service import ParallelScriptService
from ckb_node.verification.short_runs import DEPTH, ShortRun, ShortRuns
from ckb_node.verification.stopping import ScriptsStopped, Stop
from ckb_node.verification.transfer import JobMaker, pack_error
from ckb_node.verification.worker_handle import WorkerDiedError
from consensus.errors import ScriptError
from consensus.types.core import ResolvedTransaction
from storage.errors import StorageCorrupt
from tests.support.builders.scripts import Chain
from tests.verification.kit import ENV, LIMIT, a_transaction, consensus_with, endless, exiting, looping, parallel

GOOD = looping(1000)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0.005)


@asynccontextmanager
async def started(directory: Path) -> AsyncIterator[ParallelScriptService]:
    """With two processes that take work."""
    with parallel(directory) as service:
        service.short_runs.want()
        await until(lambda: len(workers(service)) == 2 and all(each.handle.is_ready for each in workers(service)))
        yield service


def workers(service: ParallelScriptService) -> list:  # type: ignore[type-arg]
    return service.short_runs._workers


def run_of(
    service: ScriptService, rtx: ResolvedTransaction, before: Callable[[], int | None] = lambda: None
) -> ShortRun:
    def passed(cycles: int) -> None:
        service.verified.put(service.cache_key(rtx, ENV), cycles)

    epoch = ENV.epoch_without_proposal_window
    return ShortRun(Chain(), rtx, epoch, LIMIT, Stop(service.stop), before, passed)  # type: ignore[arg-type]


async def short(service: ParallelScriptService, rtx: ResolvedTransaction) -> int | None:
    return await service.short_runs.run(run_of(service, rtx))


def plain_run(rtx: ResolvedTransaction) -> ScriptRun:
    return ScriptRun(Chain(), rtx, ENV, LIMIT, Stop())  # type: ignore[arg-type]


async def test_verdicts_are_those_of_a_plain_run(tmp_path: Path) -> None:
    plain = ScriptService(consensus_with())
    async with started(tmp_path) as service:
        good = [a_transaction(GOOD, version) for version in (0, 1, 2) for _ in range(7)]
        expected = [plain.run_short(plain_run(each)) for each in good]
        assert await asyncio.gather(*(short(service, each) for each in good)) == expected
        assert [service.verified.get(service.cache_key(each, ENV)) for each in good] == expected
        for code in (exiting(-3), b"no program"):
            bad = a_transaction(code)
            with pytest.raises(ScriptError) as of_process:
                await short(service, bad)
            with pytest.raises(ScriptError) as of_thread:
                plain.run_short(plain_run(bad))
            assert pack_error(of_process.value) == pack_error(of_thread.value)
            assert service.verified.get(service.cache_key(bad, ENV)) is None


async def test_what_takes_long_is_told_so_and_others_go_on(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        runs = [short(service, a_transaction(code)) for code in (endless(), GOOD, endless(), GOOD, GOOD)]
        verdicts = await asyncio.gather(*runs)
        assert [each is None for each in verdicts] == [True, False, True, False, False]


async def test_rules_that_come_first_decide(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        rtx = a_transaction(endless())
        assert await service.short_runs.run(run_of(service, rtx, lambda: 77)) == 77
        stopped = run_of(service, rtx)
        stopped.stop.set()
        with pytest.raises(ScriptsStopped):
            await service.short_runs.run(stopped)


async def test_a_process_dies_at_work(tmp_path: Path) -> None:
    """The one that it was at may be the cause, and takes the way of long ones; all others get their verdict."""
    async with started(tmp_path) as service:
        with service.gate.shut():
            transactions = [a_transaction(GOOD) for _ in range(4 * DEPTH)]
            runs = [asyncio.get_running_loop().create_task(short(service, each)) for each in transactions]
            await until(lambda: all(len(each.runs) == DEPTH for each in workers(service)))
            os.kill(workers(service)[0].handle.process.pid, signal.SIGKILL)
            await until(lambda: any(each.done() for each in runs))
        verdicts = await asyncio.gather(*runs)
        assert sum(each is None for each in verdicts) == 1


async def test_blocks_come_first(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        with service.gate.shut():
            run = asyncio.get_running_loop().create_task(short(service, a_transaction(GOOD)))
            await until(lambda: any(each.runs for each in workers(service)))
            await asyncio.sleep(0.3)
            assert not run.done()
        assert await run is not None


async def test_the_node_stops(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        with service.gate.shut():
            runs = [
                asyncio.get_running_loop().create_task(short(service, a_transaction(GOOD))) for _ in range(4 * DEPTH)
            ]
            await until(lambda: any(each.runs for each in workers(service)))
            service.end_runs()
            ended = await asyncio.gather(*runs, return_exceptions=True)
        assert all(isinstance(each, ScriptsStopped) for each in ended)


async def test_processes_without_work_end_and_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(tmp_path) as service:
        runs: ShortRuns = service.short_runs
        monkeypatch.setattr("ckb_node.verification.short_runs.IDLE_S", 0.0)
        await until(lambda: not runs.is_ready and not runs.process_count)
        with pytest.raises(WorkerDiedError):
            await short(service, a_transaction(GOOD))
        monkeypatch.undo()
        await until(lambda: runs.want() is None and runs.is_ready)  # type: ignore[func-returns-value]
        assert await short(service, a_transaction(GOOD)) is not None


def unpack_nothing(data: ErrorData) -> NoReturn:
    raise LookupError(data.name)


async def test_what_cannot_be_given_or_understood_takes_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that cannot be read, and an answer that makes no sense: nobody waits for ever, and the others go on."""
    async with started(tmp_path) as service:
        make = JobMaker.make
        unreadable, other = a_transaction(GOOD), a_transaction(GOOD)

        def fail(maker: JobMaker, job_id: int, rtx: ResolvedTransaction, *rest: Any) -> Job:
            if rtx is unreadable:
                raise StorageCorrupt(tmp_path, "a cell")
            return make(maker, job_id, rtx, *rest)

        monkeypatch.setattr(JobMaker, "make", fail)
        with pytest.raises(WorkerDiedError):
            await short(service, unreadable)
        assert await short(service, other) is not None
        monkeypatch.setattr("ckb_node.verification.short_runs.unpack_error", unpack_nothing)
        with pytest.raises(LookupError):
            await short(service, a_transaction(exiting(7)))
        assert await short(service, a_transaction(GOOD)) is not None
