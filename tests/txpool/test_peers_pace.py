"""Half of the event loop's time at most is for peers' transactions, whatever is done for them."""

from __future__ import annotations

import asyncio

import pytest

from ckb_node.runtime.client import CLIENT
from ckb_node.txpool.peers_pace import WORK_S, PeersPace
from ckb_node.txpool.pool import TxPool
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import OutPoint
from tests.txpool.kit_remote import remote


class Clock:
    """Time passes when somebody says so, and when a turn rests."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rested: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.rested.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def pace(self) -> PeersPace:
        return PeersPace(self, self.sleep)


async def work(pace: PeersPace, clock: Clock, seconds: float) -> None:
    async with pace:
        clock.now += seconds


async def test_turns_rest_as_long_as_they_work() -> None:
    clock = Clock()
    pace = clock.pace()
    for _ in range(10):
        await work(pace, clock, 2 * WORK_S)
    assert clock.rested == pytest.approx([2 * WORK_S] * 9)
    assert clock.now == pytest.approx(38 * WORK_S), "the last work waits for nothing"


async def test_small_work_adds_up_before_a_turn_rests() -> None:
    clock = Clock()
    pace = clock.pace()
    for _ in range(9):
        await work(pace, clock, WORK_S / 10)
    assert not clock.rested
    await work(pace, clock, WORK_S)
    await work(pace, clock, WORK_S)
    assert clock.rested == [pytest.approx(1.9 * WORK_S)]


async def test_time_in_which_nothing_was_done_is_rest() -> None:
    clock = Clock()
    pace = clock.pace()
    await work(pace, clock, 3 * WORK_S)
    clock.now += 2 * WORK_S
    await work(pace, clock, WORK_S)
    assert clock.rested == [pytest.approx(WORK_S)]
    clock.now += 2 * WORK_S
    await work(pace, clock, WORK_S)
    assert len(clock.rested) == 1


async def test_work_outside_of_turns_counts() -> None:
    clock = Clock()
    pace = clock.pace()
    with pace.counted():
        clock.now += 7 * WORK_S
    assert not clock.rested
    await work(pace, clock, WORK_S)
    assert clock.rested == [7 * WORK_S]


async def test_peers_have_turns_by_what_they_took() -> None:
    clock, order = Clock(), list[str]()
    pace = clock.pace()

    async def turn(name: str, seconds: float) -> None:
        CLIENT.set(name)
        async with pace:
            order.append(name)
            clock.now += seconds

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(turn("dear", 40 * WORK_S))
        for _ in range(4):
            group.create_task(turn("cheap", WORK_S / 100))
    assert order.count("dear") == order.count("cheap") == 4
    assert order[-2:] == ["dear"] * 2, "who takes little does not wait for all of the other's"


async def test_who_is_cancelled_while_it_rests_leaves_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = PeersPace()
    with pace.counted():
        pass
    monkeypatch.setattr(pace, "_worked_s", 3600.0)
    resting = asyncio.get_running_loop().create_task(pace.__aenter__())
    await asyncio.sleep(0)
    resting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await resting
    async with asyncio.timeout(10), pace:
        pass


async def test_a_refusal_is_work_for_its_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orphan's parents are looked for; the next turn waits for that too."""
    seconds, counted = [0.0], list[float]()
    count = PeersPace._count

    def look(*_: object) -> bool:
        seconds.append(seconds[-1] + 1)
        return True

    def note(pace: PeersPace, began: float) -> float:
        counted.append(count(pace, began))
        return 0.0  # no turn waits in this test

    monkeypatch.setattr(TxPool, "is_off_chain", look)
    async with remote() as made:
        pace = made.funds.pool.remote.pace
        monkeypatch.setattr(PeersPace, "_count", note)
        monkeypatch.setattr(pace, "_clock", lambda: seconds[-1])
        monkeypatch.setattr(pace, "_rest", _no_rest)
        await made.after(
            made.funds.spend(reads=[OutPoint(tx_hash=ckb_hash(b"%d" % each), index=0) for each in range(9)])
        )
        assert sum(counted) == 9 + 2, "with those of its input and its lock"


async def _no_rest() -> None:
    pass
