"""Miners are heard in turn, a line each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from ckb_node.stratum import turns
from ckb_node.stratum.turns import Turns


@dataclass
class Speaker:
    """Has so many lines to say."""

    name: str
    lines: int
    heard: list[str]

    def hear(self) -> bool:
        self.heard.append(self.name)
        self.lines -= 1
        if self.lines < 0:
            raise ValueError(self.name)
        return self.lines > 0


async def until(heard: list[str], count: int) -> None:
    async with asyncio.timeout(10):
        while len(heard) < count:  # noqa: ASYNC110 - of the loop's own calls
            await asyncio.sleep(0)


@pytest.mark.parametrize("slice_s", [0.0001, 5.0])
async def test_nobody_waits_behind_anothers_many(slice_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SLICE_S", slice_s)
    heard: list[str] = []
    waiting = Turns()
    waiting.add(Speaker("many", 1000, heard))
    waiting.add(Speaker("one", 1, heard))
    waiting.add(Speaker("two", 2, heard))
    await until(heard, 1003)
    assert heard[:5] == ["many", "one", "two", "many", "two"]
    waiting.add(Speaker("later", 1, heard))
    await until(heard, 1004)


async def test_the_loop_goes_on_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SLICE_S", 0.000_1)
    heard: list[str] = []
    waiting = Turns()
    waiting.add(Speaker("many", 100_000, heard))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < len(heard) < 100_000
    waiting._waiting.clear()


async def test_a_fault_of_one_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SLICE_S", 5.0)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    heard: list[str] = []
    waiting = Turns()
    waiting.add(Speaker("broken", 0, heard))
    waiting.add(Speaker("one", 1, heard))
    await until(heard, 2)
    assert heard == ["broken", "one"]
    assert len(faults) == 1
