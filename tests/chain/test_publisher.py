"""Listeners are told in order, in slices, and one's fault is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from ckb_node.chain import publisher
from ckb_node.chain.publisher import Publisher


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_calls_are_made_in_the_order_in_which_they_were_added() -> None:
    heard: list[int] = []
    telling = Publisher()
    telling.add(partial(heard.append, number) for number in range(3))
    telling.add([partial(heard.append, 3)])
    assert heard == [], "not while the caller is at work"
    await turns()
    assert heard == [0, 1, 2, 3]
    telling.add([partial(heard.append, 4)])
    await turns()
    assert heard[-1] == 4


async def test_the_loop_runs_between_the_slices_of_one_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "SLICE_S", 0.0)
    heard: list[str] = []

    def much(name: str) -> Iterator[None]:
        for step in range(5):
            heard.append(f"{name}{step}")
            yield

    async def other() -> None:
        while "b4" not in heard:
            heard.append("other")
            await asyncio.sleep(0)

    telling = Publisher()
    telling.add([partial(much, "a"), partial(much, "b")])
    await other()
    told = [word for word in heard if word != "other"]
    assert told == [f"{name}{step}" for name in "ab" for step in range(5)], "one listener after the other"
    assert all(a == "other" or b == "other" for a, b in pairwise(heard))


async def test_a_slice_holds_several_steps_but_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr("ckb_node.chain.publisher.time.perf_counter", lambda: len(steps) * publisher.SLICE_S / 4)

    def much() -> Iterator[None]:
        for number in range(12):
            steps.append(number)
            yield

    telling = Publisher()
    telling.add([much])
    seen = []
    while len(steps) < 12:
        await asyncio.sleep(0)
        seen.append(len(steps))
    assert seen == [4, 8, 12], "the loop comes in between, but not after each step"


async def test_a_fault_keeps_nothing_from_the_others() -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    heard: list[int] = []

    def fails() -> Iterator[None]:
        heard.append(1)
        yield
        raise RuntimeError("in a slice")

    def fails_at_once() -> None:
        raise RuntimeError("at once")

    telling = Publisher()
    telling.add([fails, fails_at_once, partial(heard.append, 2)])
    await turns()
    assert heard == [1, 2]
    assert [str(fault["exception"]) for fault in faults] == ["in a slice", "at once"]
