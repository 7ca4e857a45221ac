"""Fair lines: counted in turns, not in seconds."""

from __future__ import annotations

import asyncio

import pytest

from ckb_node.runtime import fair_queue as fair
from ckb_node.runtime.client import CLIENT
from ckb_node.runtime.fair_queue import EXPECTED_COST, FairLine, FairSlots


def served(line: FairLine[str], costs: dict[str, float], count: int) -> list[str]:
    """Clients in the order of their turns, one at a time, each turn at its client's cost."""
    order = []
    for _ in range(count):
        client, _ = line.take()
        line.charge(client, costs[client] - EXPECTED_COST)
        order.append(client)
    return order


def test_a_light_client_waits_for_one_turn_whatever_the_others_have_queued() -> None:
    line: FairLine[str] = FairLine()
    for call in range(1000):
        line.add("heavy", f"call {call}")
    costs = {"heavy": 1.0, "light": 0.001}
    assert served(line, costs, 3) == ["heavy"] * 3
    line.add("light", "call")
    assert served(line, costs, 2) == ["light", "heavy"]


def test_equal_clients_take_turns_and_their_own_calls_stay_in_order() -> None:
    line: FairLine[str] = FairLine()
    for client in ("a", "b", "c"):
        for call in range(3):
            line.add(client, f"{client}{call}")
    taken = []
    while line:
        client, item = line.take()
        line.charge(client, 1.0 - EXPECTED_COST)
        taken.append(item)
    assert [taken[:3], taken[3:6], taken[6:]] == [[f"{client}{call}" for client in "abc"] for call in range(3)]


def test_shares_are_of_cost_not_of_calls() -> None:
    line: FairLine[str] = FairLine()
    for call in range(200):
        line.add("cheap", f"{call}")
        line.add("dear", f"{call}")
    order = served(line, {"cheap": 1.0, "dear": 4.0}, 100)
    assert 75 <= order.count("cheap") <= 85


def test_turns_at_the_same_time_count_before_their_cost_is_known() -> None:
    line: FairLine[str] = FairLine()
    for client in ("first", "first", "second"):
        line.add(client, client)
    assert [line.take()[0] for _ in range(3)] == ["first", "second", "first"]


def test_who_was_away_has_not_saved_up_turns() -> None:
    line: FairLine[str] = FairLine()
    costs = {"busy": 1.0, "back": 1.0}
    line.add("back", "once")
    served(line, costs, 1)
    for call in range(30):
        line.add("busy", f"{call}")
    served(line, costs, 20)
    for call in range(10):
        line.add("back", f"{call}")
    order = served(line, costs, 10)
    assert order.count("busy") >= 4


def test_of_many_clients_those_are_remembered_that_had_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair, "MAX_REMEMBERED", 10)
    line: FairLine[str] = FairLine()
    line.add("heavy", "call")
    served(line, {"heavy": 5.0}, 1)
    for client in range(1000):
        line.add(f"{client}", "call")
        served(line, {f"{client}": 0.001}, 1)
    assert len(line._times) <= 10
    line.add("heavy", "call")
    line.add("new", "call")
    assert line.take()[0] == "new"


def test_who_leaves_the_line_is_not_called() -> None:
    line: FairLine[str] = FairLine()
    line.add("a", "gone")
    line.add("a", "stays")
    line.add("b", "gone too")
    line.discard("a", "gone")
    line.discard("b", "gone too")
    line.discard("b", "never there")
    assert line.take() == ("a", "stays")
    assert not line
    with pytest.raises(KeyError):
        line.take()


async def enter(slots: FairSlots, client: str, order: list[str]) -> None:
    CLIENT.set(client)
    async with slots.turn():
        order.append(client)
        await asyncio.sleep(0)


async def test_slots_are_given_by_client_and_come_back() -> None:
    slots, order = FairSlots(1), list[str]()
    async with asyncio.TaskGroup() as tasks, slots.turn():
        for client in ("a", "a", "a", "b"):
            tasks.create_task(enter(slots, client, order))
        await asyncio.sleep(0)
        assert order == []
    assert order[:2] == ["a", "b"]
    assert sorted(order) == ["a", "a", "a", "b"]


async def test_a_cancelled_turn_is_given_to_the_next() -> None:
    slots, order = FairSlots(1), list[str]()
    async with asyncio.TaskGroup() as tasks:
        async with slots.turn():
            waiting = tasks.create_task(enter(slots, "gone", order))
            tasks.create_task(enter(slots, "next", order))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)
        # Given, but cancelled before it wakes up.
        late = tasks.create_task(enter(slots, "late", order))
        await asyncio.sleep(0)
        late.cancel()
    async with slots.turn():
        pass
    assert order[0] == "next"


async def test_held_slots_are_given_after_the_release() -> None:
    slots, order = FairSlots(2), list[str]()
    slots.hold()
    slots.hold()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(enter(slots, "a", order))
        await asyncio.sleep(0)
        slots.release()
        await asyncio.sleep(0)
        assert order == []
        slots.release()
    assert order == ["a"]
