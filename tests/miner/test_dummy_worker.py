"""The wait of Dummy proof of work goes on when new work comes; what is found is for the newest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ckb_node.miner.delays import constant
from ckb_node.miner.dummy_worker import DummyWorker
from ckb_node.miner.work import Work
from tests.miner.kit_desk import easy_work


class Scene:
    """A worker whose waits end when the test says so."""

    def __init__(self) -> None:
        self.found: list[tuple[Work, bytes]] = []
        self.waits: list[float] = []
        self._gate = asyncio.Semaphore(0)
        self.begun = asyncio.Event()
        self.worker = DummyWorker([constant(5000), constant(3000)], self._on_found, self._sleep)

    def _on_found(self, work: Work, nonce: bytes) -> None:
        self.found.append((work, nonce))

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.begun.set()
        await self._gate.acquire()

    async def end_wait(self) -> None:
        self._gate.release()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.worker.run())
        yield made
        running.cancel()


async def test_the_shortest_delay_counts_and_new_work_does_not_begin_it_anew() -> None:
    async with scene() as on:
        first, second = easy_work("1"), easy_work("2")
        on.worker.assign(first)
        await on.begun.wait()
        on.worker.assign(second)
        assert on.found == []
        await on.end_wait()
        assert [work.job for work, _ in on.found] == ["2"]
        assert len(on.found[0][1]) == 16
        assert on.waits[0] == 3.0
        assert on.worker.tally().nonces == 1


async def test_without_work_nothing_is_found() -> None:
    async with scene() as on:
        on.worker.assign(easy_work())
        await on.begun.wait()
        on.worker.assign(None)
        await on.end_wait()
        assert on.found == []
        on.worker.assign(easy_work("later"))
        await on.settle()
        assert [work.job for work, _ in on.found] == ["later"]
