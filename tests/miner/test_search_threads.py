"""Threads of the kernel: what they find is a solution, and they follow what is assigned."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import ckb_node.miner.search_threads as module
from ckb_node.miner.search_threads import SearchThreads
from ckb_node.miner.work import MinerError, Work
from consensus.crypto.difficulty import HASH_SPACE
from consensus.params import PowFunc
from consensus.rules.pow import is_solution
from tests.miner.kit_desk import easy_work

WAIT_S = 30.0
ONE_IN_4096 = HASH_SPACE >> 12


class Finds:
    """What threads found."""

    def __init__(self) -> None:
        self.all: list[tuple[Work, bytes]] = []
        self._changed = asyncio.Event()

    def note(self, work: Work, nonce: bytes) -> None:
        self.all.append((work, nonce))
        self._changed.set()

    async def wait_for(self, count: int, job: str) -> list[bytes]:
        async with asyncio.timeout(WAIT_S):
            while len(found := [nonce for work, nonce in self.all if work.job == job]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found


@asynccontextmanager
async def threads(function: PowFunc, count: int, finds: Finds) -> AsyncIterator[SearchThreads]:
    workers = SearchThreads(function, count, finds.note)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(workers.run())
        yield workers
        running.cancel()


@pytest.mark.parametrize("function", [PowFunc.EAGLESONG, PowFunc.EAGLESONG_BLAKE2B])
async def test_finds_are_solutions_and_all_different(function: PowFunc) -> None:
    finds, work = Finds(), easy_work(target=ONE_IN_4096)
    async with threads(function, 2, finds) as workers:
        workers.assign(work)
        nonces = await finds.wait_for(40, "job")
    assert len(set(nonces)) == len(nonces)
    for nonce in nonces[:20]:
        assert nonce.startswith(work.prefix)
        assert is_solution(function, work.pow_hash, int.from_bytes(nonce, "little"), work.target)
    assert workers.tally().nonces > 40
    assert workers.tally().expected == pytest.approx(workers.tally().nonces / 4096, rel=0.01)


async def test_other_work_is_taken_up_and_none_is_left() -> None:
    finds = Finds()
    async with threads(PowFunc.EAGLESONG, 2, finds) as workers:
        workers.assign(easy_work("first", ONE_IN_4096))
        await finds.wait_for(5, "first")
        workers.assign(easy_work("second", ONE_IN_4096))
        await finds.wait_for(5, "second")
        workers.assign(None)
        workers.assign(easy_work("third", ONE_IN_4096, bytes(12)))
        assert all(nonce.startswith(bytes(12)) for nonce in await finds.wait_for(5, "third"))


async def test_another_target_of_the_same_job_tries_nothing_twice() -> None:
    """The prefix leaves two bytes: all 65,536 nonces are tried once, and half of them are solutions."""
    finds, prefix = Finds(), bytes(range(14))
    async with threads(PowFunc.EAGLESONG, 1, finds) as workers:
        workers.assign(easy_work("job", HASH_SPACE >> 1, prefix))
        await finds.wait_for(100, "job")
        workers.assign(easy_work("job", (HASH_SPACE >> 1) - 1, prefix))
        async with asyncio.timeout(WAIT_S):
            while workers.tally().nonces < 1 << 16:
                await finds.wait_for(len(finds.all) + 1, "job")
    nonces = [nonce for _, nonce in finds.all]
    assert len(set(nonces)) == len(nonces)
    assert workers.tally().nonces == 1 << 16
    assert len(nonces) == pytest.approx(1 << 15, rel=0.05)


async def test_threads_wait_for_a_loop_that_does_not_take_what_they_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that each nonce meets does not fill the memory."""
    monkeypatch.setattr(module, "MAX_WAITING", 8)
    finds = Finds()
    async with threads(PowFunc.EAGLESONG, 1, finds) as workers:
        workers.assign(easy_work())
        await finds.wait_for(1, "job")
        taken = len(finds.all)
        while workers.tally().nonces < taken + module.MAX_WAITING:  # the loop is held up meanwhile
            threading.Event().wait(0.001)
        threading.Event().wait(0.05)
        assert workers.tally().nonces <= taken + module.MAX_WAITING + 1
        await finds.wait_for(30, "job")


async def test_a_thread_that_fails_ends_the_miner(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes | None:
        raise RuntimeError("trapped")

    monkeypatch.setattr(module, "find_nonce_bytes", broken)
    workers = SearchThreads(PowFunc.EAGLESONG, 2, lambda _work, _nonce: None)
    workers.assign(easy_work())
    with pytest.raises(MinerError, match="trapped"):
        await workers.run()
