"""Lanes: work in threads, in turns, that ends when its caller has left."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextlib import aclosing, suppress

import pytest

from ckb_node.runtime import lane as lane_module
from ckb_node.runtime import loop_turns
from ckb_node.runtime.lane import Lane, Slices, TooLongError, in_turns
from tests.support.lanes import Held, as_client


async def test_results_and_errors_come_from_a_thread() -> None:
    lane = Lane("test", 1)
    assert await lane.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)
    assert await lane.run(lambda: 1) == 1, "the slot came back"
    lane.close()


async def test_cheap_work_is_done_at_once() -> None:
    lane = Lane("test", 1)
    assert await lane.run_priced(lane_module.CHEAP_BYTES, threading.get_ident) == threading.get_ident()
    assert await lane.run_priced(lane_module.CHEAP_BYTES + 1, threading.get_ident) != threading.get_ident()
    lane.close()


async def test_work_that_keeps_the_interpreter_runs_alone() -> None:
    """Others have their turns meanwhile."""
    lane, held, order = Lane("test", 2), Held(), list[str]()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lane.run_alone(held))
        await held.has_begun()
        second = tasks.create_task(lane.run_alone(lambda: order.append("alone")))
        await asyncio.sleep(0.01)
        await lane.run(lambda: order.append("beside"))
        held.may_end.set()
        await second
    assert order == ["beside", "alone"]
    lane.close()


async def test_one_clients_calls_do_not_delay_anothers() -> None:
    lane, held, order = Lane("test", 1), Held(), list[str]()

    async def one(client: str) -> None:
        await as_client(client, lambda: lane.run(lambda: order.append(client)))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(as_client("many", lambda: lane.run(held)))
        await held.has_begun()
        for _ in range(50):
            tasks.create_task(one("many"))
        await asyncio.sleep(0)
        tasks.create_task(one("one"))
        await asyncio.sleep(0)
        held.may_end.set()
    assert order.index("one") <= 1
    lane.close()


async def test_a_turn_whose_caller_left_keeps_its_slot_to_the_end() -> None:
    lane, held = Lane("test", 1), Held()
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(lane.run(held))
        await held.has_begun()
        gone.cancel()
        await asyncio.sleep(0)
        after = tasks.create_task(lane.run(lambda: held.may_end.is_set()))
        await asyncio.sleep(0.01)
        assert not after.done()
        held.may_end.set()
    assert after.result()
    lane.close()


class Counting:
    """Sliced work without an end: counts its steps, and notes that it was closed."""

    def __init__(self, piece: bytes = b"") -> None:
        self.steps, self.piece = 0, piece
        self.closed = threading.Event()

    def __iter__(self) -> Slices:
        try:
            while True:
                self.steps += 1
                yield self.piece
        finally:
            self.closed.set()


async def test_sliced_work_lets_others_in_and_ends_with_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "SLICE_S", 0.0)
    lane, endless = Lane("test", 1), Counting()

    async def follow() -> None:
        async for _ in lane.stream(iter(endless)):
            raise AssertionError("no piece is ever ready")

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(as_client("endless", follow))
        await asyncio.sleep(0)
        for _ in range(20):
            assert await as_client("other", lambda: lane.run(lambda: 1)) == 1
        following.cancel()
    assert await asyncio.to_thread(endless.closed.wait, 30)
    steps = endless.steps
    await lane.run(lambda: 1)
    assert endless.steps == steps
    lane.close()


async def test_no_more_is_made_than_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "PIECE_BYTES", 1000)
    monkeypatch.setattr(lane_module, "SLICE_S", 1000.0)
    lane, source = Lane("test", 1), Counting(bytes(100))
    async with aclosing(lane.stream(iter(source))) as pieces:
        assert len(await anext(pieces)) == 1000
        await lane.run(lambda: 1)
        assert source.steps == 10
        assert len(await anext(pieces)) == 1000
        assert source.steps == 20
    assert await asyncio.to_thread(source.closed.wait, 30)
    lane.close()


async def test_sliced_work_ends_by_itself_or_by_an_error() -> None:
    lane = Lane("test", 1)

    def three() -> Slices:
        yield b"a"
        yield b""
        yield b"b"

    def broken() -> Slices:
        yield b"a"
        raise ZeroDivisionError

    assert b"".join([piece async for piece in lane.stream(three())]) == b"ab"
    with pytest.raises(ZeroDivisionError):
        [piece async for piece in lane.stream(broken())]
    lane.close()


async def test_nothing_begins_while_the_lane_is_held() -> None:
    lane = Lane("test", 1)
    async with asyncio.TaskGroup() as tasks:
        with lane.paused():
            waiting = tasks.create_task(lane.run(lambda: 1))
            await asyncio.sleep(0.01)
            assert not waiting.done()
        assert await waiting == 1
    lane.close()


async def test_closing_ends_sliced_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "SLICE_S", 1000.0)
    lane, endless = Lane("test", 1), Counting()

    async def follow() -> None:
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            async for _ in lane.stream(iter(endless)):
                pass

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        while not endless.steps:  # noqa: ASYNC110 - a thread counts them
            await asyncio.sleep(0.001)
        lane.close()
        assert endless.closed.is_set()


async def test_work_on_the_loop_leaves_it_between_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_turns, "LOOP_SLICE_S", 0.0)
    between = 0

    async def others() -> None:
        nonlocal between
        while True:
            between += 1
            await asyncio.sleep(0)

    def ten() -> Slices:
        for _ in range(10):
            yield b"x"

    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(others())
        assert b"".join([piece async for piece in in_turns(ten())]) == b"x" * 10
        other.cancel()
    assert between >= 9


async def test_an_error_keeps_nothing_of_the_work_alive() -> None:
    """Each refused request of 8 MB stayed in a cycle of its error and a frame until a full collection."""

    class Large:
        """What the work holds."""

    lane = Lane("test", 1)
    seen: list[weakref.ref[Large]] = []

    def work() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        raise ZeroDivisionError

    gc.disable()
    try:
        with suppress(ZeroDivisionError):
            await lane.run(work)
        await asyncio.sleep(0.05)
        assert seen[0]() is None
    finally:
        gc.enable()
        lane.close()


class Open:
    """Sliced work that holds something until it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Slices:
        try:
            for _ in range(1000):
                yield bytes(lane_module.PIECE_BYTES)
        finally:
            self.closed.set()


@pytest.mark.parametrize("kind", ["thread", "loop"])
async def test_what_is_not_taken_in_time_holds_nothing_any_more(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that took a few bytes a minute held a snapshot of the index for days."""
    monkeypatch.setattr(lane_module, "LIFE_S", 0.05)
    lane, work = Lane("test", 1), Open()
    stream = lane.stream(iter(work)) if kind == "thread" else in_turns(iter(work))
    async with aclosing(stream) as pieces:
        assert await anext(pieces)
        assert not work.closed.is_set()
        async with asyncio.timeout(5):
            while not work.closed.is_set():  # noqa: ASYNC110 - a thread closes it
                await asyncio.sleep(0.01)
        with pytest.raises(TooLongError, match="was not taken within"):
            await anext(pieces)
    assert not lane._streams
    assert await lane.run(lambda: 1) == 1
    lane.close()


async def test_a_turn_at_hand_when_the_time_is_up_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that never gives a piece ends too, with an error: its result is not whole."""
    monkeypatch.setattr(lane_module, "LIFE_S", 0.05)
    lane, endless = Lane("test", 1), Counting()
    with pytest.raises(TooLongError):
        [piece async for piece in lane.stream(iter(endless))]
    assert await asyncio.to_thread(endless.closed.wait, 30)
    lane.close()
