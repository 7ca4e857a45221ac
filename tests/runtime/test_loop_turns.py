"""Long work on the event loop: however many want to do some, a round has one slice."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from ckb_node.runtime import loop_turns
from ckb_node.runtime.lane import Slices, in_turns
from ckb_node.runtime.loop_turns import in_loop_turns, loop_turn
from tests.support.lanes import as_client

CALLERS, STEPS = 30, 10


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_turns, "LOOP_SLICE_S", 0.0)


class Work:
    """Counts the steps of all callers, in each round."""

    def __init__(self) -> None:
        self.steps = self.most = 0

    def step(self) -> None:
        self.steps += 1

    def counted(self) -> Generator[None, None, int]:
        for _ in range(STEPS):
            self.step()
            yield
        return STEPS

    def pieces(self) -> Slices:
        for _ in range(STEPS):
            self.step()
            yield b"x"

    async def stream(self) -> int:
        return len(b"".join([piece async for piece in in_turns(self.pieces())]))

    async def walk(self) -> int:
        return await in_loop_turns(self.counted())

    async def turns(self) -> int:
        """As several short calls, one behind the other."""
        for _ in range(STEPS):
            await loop_turn(self.step)
        return STEPS

    async def watch(self) -> None:
        while True:
            before = self.steps
            await asyncio.sleep(0)
            self.most = max(self.most, self.steps - before)


@pytest.mark.parametrize("kind", ["stream", "walk", "turns"])
async def test_a_round_has_one_slice_of_all_callers(kind: str) -> None:
    """Thirty calls that list the pool held all others up for 30 slices in each round."""
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(work.watch())
        callers = [tasks.create_task(getattr(work, kind)()) for _ in range(CALLERS)]
        assert await asyncio.gather(*callers) == [STEPS] * CALLERS
        watching.cancel()
    assert (work.steps, work.most) == (CALLERS * STEPS, 1)


async def test_one_clients_walks_do_not_delay_anothers() -> None:
    many, one = Work(), Work()
    async with asyncio.TaskGroup() as tasks:
        walks = [tasks.create_task(as_client("many", many.walk)) for _ in range(CALLERS)]
        await asyncio.sleep(0)
        await as_client("one", one.walk)
        assert many.steps < 3 * STEPS
        await asyncio.gather(*walks)


async def test_a_caller_that_leaves_lets_the_others_go_on() -> None:
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(work.walk()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        callers[0].cancel()
        callers[1].cancel()
        assert await callers[2] == STEPS


async def test_an_error_ends_the_work_and_no_others() -> None:
    def broken() -> Generator[None, None, None]:
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_loop_turns(broken())
    assert await Work().walk() == STEPS
