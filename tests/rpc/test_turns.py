"""Hasty clients wait for each other, in the order in which they came."""

from __future__ import annotations

import asyncio

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
