"""Hasty clients wait for each other, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ckb_node.rpc.turns import Turns


async def test_so_many_a_round_in_order() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(loop, 3)
    rounds: list[list[int]] = [[]]

    async def one(number: int) -> None:
        await turns.take()
        rounds[-1].append(number)

    tasks = [loop.create_task(one(number)) for number in range(10)]
    for _ in range(20):
        await asyncio.sleep(0)
        rounds.append([])
    await asyncio.gather(*tasks)
    began = [each for each in rounds if each]
    assert [number for each in began for number in each] == list(range(10))
    assert max(map(len, began)) <= 3


class Later:
    """A loop that only notes what it is to call, and when."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.calls.append((0.0, call))

    def call_later(self, pause: float, call: Callable[[], None]) -> None:
        self.calls.append((pause, call))


def test_rounds_are_longer_while_something_else_goes_first() -> None:
    loop, pause = Later(), 0.5
    turns = Turns(loop, 2, lambda: pause)  # type: ignore[arg-type]
    assert [turns.take_now() for _ in range(3)] == [True, True, False]
    ((due, call),) = loop.calls
    assert due == 0.5
    pause = 0.0
    call()
    assert turns.take_now()
    assert [due for due, _ in loop.calls] == [0.5, 0.0]


async def test_who_leaves_the_line_takes_no_turn() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(loop, 1)
    await turns.take()
    tasks = [loop.create_task(turns.take()) for _ in range(5)]
    await asyncio.sleep(0)
    for each in tasks[:4]:
        each.cancel()
    async with asyncio.timeout(5):
        await tasks[4]
        await turns.take()
