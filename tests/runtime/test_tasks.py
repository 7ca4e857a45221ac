"""Tasks: what fails alone, what ends the node, what is told of it."""

from __future__ import annotations

import asyncio
import gc
import itertools
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ckb_node.runtime.tasks import Pauses, Tasks, public_reason
from consensus.lookup import ChainDataError
from storage.errors import DiskFull, StorageCorrupt

QUICK = Pauses(first=0.001, longest=0.004, healthy_after=0.05)


def tasks_with(pauses: Pauses = QUICK) -> Tasks:
    clock = itertools.count(1000)
    return Tasks(lambda: next(clock), pauses)


async def until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_a_restartable_task_is_started_again_and_then_works() -> None:
    starts = 0

    async def run() -> None:
        nonlocal starts
        starts += 1
        if starts <= 4:
            raise DiskFull("/secret/place", "No space left on device")
        await asyncio.sleep(100)

    with capture_logs() as logs:
        async with tasks_with() as tasks:
            tasks.start_restartable("indexer", run)
            await until(lambda: starts == 5)
            (fault,) = tasks.faults
            assert (fault.name, fault.reason, fault.since, fault.failures) == (
                "indexer",
                "No space left on device",
                1000,
                4,
            )
            await until(lambda: not tasks.faults)
    assert [entry.get("again_in_s") for entry in logs] == [0.001, 0.002, 0.004, 0.004, None]
    assert {entry["log_level"] for entry in logs[:4]} == {"error"}
    assert logs[-1]["event"] == "a part of the node works again"


async def test_others_go_on_beside_one_that_fails() -> None:
    turns = 0

    async def fails() -> None:
        raise RuntimeError("a fault of ours")

    async def works() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with capture_logs() as logs:
        async with tasks_with() as tasks:
            tasks.start_restartable("bad", fails)
            tasks.start_restartable("good", works)
            await until(lambda: turns > 100 and bool(tasks.faults))
            assert [fault.name for fault in tasks.faults] == ["bad"]
    assert isinstance(logs[0]["exc_info"], RuntimeError), "an error that nobody foresaw is told with its traceback"


async def test_the_error_of_a_vital_task_is_raised() -> None:
    error = DiskFull("db", "No space left on device")

    async def fails() -> None:
        await asyncio.sleep(0.001)
        raise error

    async def node() -> None:
        async with asyncio.timeout(10), tasks_with() as tasks:
            tasks.start_vital("chain", fails)
            tasks.start_restartable("other", lambda: asyncio.sleep(100))
            await tasks.until(asyncio.Event())

    with pytest.raises(ExceptionGroup) as caught:
        await node()
    assert caught.value.exceptions == (error,)


async def test_a_wish_to_stop_ends_all_tasks() -> None:
    stop = asyncio.Event()
    ended: list[str] = []

    async def run(name: str) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(name)

    async with asyncio.timeout(10), tasks_with() as tasks:
        tasks.start_vital("chain", lambda: run("chain"))
        tasks.start_restartable("indexer", lambda: run("indexer"))
        asyncio.get_running_loop().call_later(0.01, stop.set)
        await tasks.until(stop)
        assert not ended
    assert sorted(ended) == ["chain", "indexer"]


async def test_a_task_that_waits_to_be_started_again_ends_at_once() -> None:
    async def fails() -> None:
        raise StorageCorrupt("index", "a checksum differs")

    with capture_logs() as logs:
        async with asyncio.timeout(10), tasks_with(Pauses(first=1000)) as tasks:
            tasks.start_restartable("indexer", fails)
            await until(lambda: bool(tasks.faults))
    assert "remove this directory" in logs[0]["cure"]


async def test_a_task_that_has_done_its_work_is_no_fault() -> None:
    async with tasks_with() as tasks:
        tasks.start_restartable("saved pool", lambda: asyncio.sleep(0))
        tasks.start_vital("other", lambda: asyncio.sleep(0))
        await asyncio.sleep(0.01)
        assert not tasks.faults


async def test_a_task_that_has_failed_and_then_done_its_work_is_no_fault() -> None:
    """The saved pool is loaded at the second attempt, and the task ends: no run lasts long enough to prove it."""
    starts = 0

    async def run() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise DiskFull("/secret/place", "No space left on device")

    async with tasks_with(Pauses(first=0.001, healthy_after=1000)) as tasks:
        tasks.start_restartable("saved pool", run)
        await until(lambda: bool(tasks.faults))
        await until(lambda: not tasks.faults)


async def test_tasks_that_end_before_they_begin_leave_nothing_behind() -> None:
    begun: list[str] = []

    async def run() -> None:
        begun.append("run")

    async with tasks_with() as tasks:
        tasks.start_restartable("other", run)
        tasks.start_vital("chain", run)
    gc.collect()  # a coroutine that nobody awaited would warn, and a warning is an error
    assert not begun


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DiskFull(Path("/home/me/node"), "No space left on device"), "No space left on device"),
        (FileNotFoundError(2, "No such file", "/home/me"), "No such file"),
        (RuntimeError("/home/me"), "RuntimeError"),
        (ChainDataError("block", b"\1"), str(ChainDataError("block", b"\1"))),
    ],
)
def test_strangers_read_no_paths(error: Exception, reason: str) -> None:
    assert public_reason(error) == reason
