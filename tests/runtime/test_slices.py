"""Steps on the event loop: others have their turn between slices, and may end the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from ckb_node.runtime import slices
from ckb_node.runtime.slices import in_slices


def steps(taken: list[int]) -> Iterator[None]:
    for number in range(5):
        taken.append(number)
        yield


async def test_short_work_is_done_in_one_slice() -> None:
    taken: list[int] = []
    asyncio.get_running_loop().call_soon(taken.append, 9)
    await in_slices(steps(taken))
    assert taken == [0, 1, 2, 3, 4]


async def test_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    taken: list[int] = []
    asyncio.get_running_loop().call_soon(taken.append, 9)
    await in_slices(steps(taken))
    assert taken == [0, 9, 1, 2, 3, 4]


async def test_the_rest_may_be_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    taken: list[int] = []
    await in_slices(steps(taken), lambda: len(taken) == 2)
    assert taken == [0, 1]
