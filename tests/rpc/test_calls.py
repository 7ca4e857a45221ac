"""Where calls are worked out, and what becomes of them when their client leaves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from ckb_node.rpc import dispatch as dispatch_module
from ckb_node.rpc import requests
from ckb_node.rpc.answer_room import AnswerRoom
from ckb_node.rpc.calls import EncodedJson, LoopStream, ThreadStream
from ckb_node.rpc.dispatch import BATCHES_PER_ROUND, AnswerCutError, Dispatcher
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.params import Text, Uint32
from ckb_node.rpc.registry import Methods, Module, Registry
from ckb_node.runtime.client import CLIENT
from ckb_node.runtime.lane import Lane, Slices
from tests.support.asking import RpcFailure, ask, call

METHODS = Methods(Module.CHAIN)
PIECE = "x" * 1000


class World:
    """What the methods below act on."""

    miner = None

    def __init__(self) -> None:
        self.lane = Lane("test", 1)
        self.room = AnswerRoom()
        self.gate = asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.steps = 0


@METHODS.method(price=lambda _, size: size)
def thread_at(services: World, size: Uint32) -> bool:
    """Whether it ran in a thread."""
    return threading.current_thread() is not threading.main_thread()


@METHODS.method(is_change=True)
async def change(services: World, name: Text) -> str:
    """Waits, and then changes something."""
    services.begun.append(name)
    await services.gate.wait()
    services.ended.append(name)
    return name


@METHODS.method
async def read(services: World, name: Text) -> str:
    """Waits, and changes nothing."""
    services.begun.append(name)
    await services.gate.wait()
    services.ended.append(name)
    return name


@METHODS.method
def who(services: World) -> str:
    """The client."""
    return CLIENT.get()


def listed(services: World, count: int, end: Exception | None = None) -> Slices:
    yield b"["
    for index in range(count):
        services.steps += 1
        yield (b"," if index else b"") + json.dumps(PIECE).encode()
    if end is not None:
        raise end
    yield b"]"


@METHODS.method
def beside(services: World, count: Uint32) -> ThreadStream[list[str]]:
    """A long list."""
    return ThreadStream(listed(services, count))


@METHODS.method
def turns(services: World, count: Uint32) -> LoopStream[list[str]]:
    """A long list."""
    return LoopStream(listed(services, count))


@METHODS.method
def broken(services: World, count: Uint32) -> ThreadStream[list[str]]:
    """A list whose end cannot be had."""
    return ThreadStream(listed(services, count, RpcError(Code.Invalid, "no end")))


@METHODS.method
def written(services: World) -> EncodedJson[list[int]]:
    """JSON already."""
    return EncodedJson(b"[1, 2]")


@METHODS.method
def large(services: World, size: Uint32) -> str:
    """A text."""
    return "x" * size


@METHODS.method
def light(services: World) -> None:
    """Nothing."""
    services.steps += 1


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as group:
        yield group


def dispatcher_over(world: World, tasks: asyncio.TaskGroup | None = None, room: AnswerRoom | None = None) -> Dispatcher:
    world.room = room or world.room
    services: Any = world
    registry = Registry(services, [Module.CHAIN])
    registry.add(METHODS)
    return Dispatcher(registry, tasks=tasks)


def body_of(method: str, *params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


async def test_dear_calls_run_in_the_lane_and_cheap_ones_at_once(world: World) -> None:
    dispatcher = dispatcher_over(world)
    assert await call(dispatcher, "thread_at", "0x1") is False
    assert await call(dispatcher, "thread_at", "0x1000000") is True


async def test_a_call_knows_its_client(world: World) -> None:
    dispatcher = dispatcher_over(world)
    assert json.loads(await dispatcher.dispatch(body_of("who"), "192.0.2.1"))["result"] == "192.0.2.1"


async def leave_while_it_runs(dispatcher: Dispatcher, world: World, method: str) -> None:
    """Ask, and be gone when the call has begun."""
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(dispatcher.dispatch(body_of(method, method)))
        while not world.begun:  # noqa: ASYNC110 - the method says so
            await asyncio.sleep(0)
        asked.cancel()


async def test_a_change_is_finished_though_its_client_left(world: World) -> None:
    async with asyncio.TaskGroup() as tasks:
        await leave_while_it_runs(dispatcher_over(world, tasks), world, "change")
        assert world.ended == []
        world.gate.set()
    assert world.ended == ["change"]


async def test_a_read_ends_with_its_client(world: World) -> None:
    async with asyncio.TaskGroup() as tasks:
        await leave_while_it_runs(dispatcher_over(world, tasks), world, "read")
        world.gate.set()
    assert world.ended == []


async def test_a_batch_stops_when_its_client_has_left(world: World) -> None:
    async with asyncio.TaskGroup() as tasks:
        dispatcher = dispatcher_over(world, tasks)
        calls = [json.loads(body_of("change", "first")), *(json.loads(body_of("light")) for _ in range(100))]
        asked = tasks.create_task(dispatcher.dispatch(json.dumps(calls).encode()))
        while not world.begun:  # noqa: ASYNC110 - the method says so
            await asyncio.sleep(0)
        asked.cancel()
        world.gate.set()
    assert (world.ended, world.steps) == (["first"], 0)


async def test_a_batch_of_cheap_calls_leaves_the_loop_to_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_module, "TURN_S", 0.0)
    between = 0

    async def others() -> None:
        nonlocal between
        while True:
            between += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        other = group.create_task(others())
        await ask(dispatcher_over(world), [json.loads(body_of("light"))] * 100)
        other.cancel()
    assert between >= 100


@pytest.mark.parametrize("method", ["beside", "turns"])
@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_long_results_are_whole_json(world: World, method: str, count: int) -> None:
    assert await call(dispatcher_over(world), method, hex(count)) == [PIECE] * count


async def test_what_is_json_already_is_sent_as_it_is(world: World) -> None:
    assert await dispatcher_over(world).dispatch(body_of("written")) == b'{"jsonrpc":"2.0","result":[1, 2],"id":1}'


@pytest.mark.parametrize("method", ["beside", "turns"])
async def test_a_long_result_is_made_as_it_is_taken(world: World, method: str) -> None:
    room = AnswerRoom()
    dispatcher = dispatcher_over(world, room=room)
    async with aclosing(dispatcher.parts(body_of(method, "0xffffffff"))) as parts:
        for taken in (1, 2, 3):
            part = await anext(parts)
            assert len(part) < 600_000
            assert room.held_bytes == len(part)
            assert world.steps <= (taken + 1) * 600
    assert room.held_bytes == 0


async def test_large_answers_come_in_parts_and_are_counted_until_they_are_taken(world: World) -> None:
    room = AnswerRoom()
    dispatcher = dispatcher_over(world, room=room)
    async with aclosing(dispatcher.parts(body_of("large", "0x200000"))) as parts:
        first = await anext(parts)
        assert len(first) == 256 << 10
        assert room.held_bytes > 0x200000
        rest = [part async for part in parts]
    assert len(json.loads(b"".join([first, *rest]))["result"]) == 0x200000
    assert room.held_bytes == 0


async def test_without_room_dear_calls_are_refused_and_cheap_ones_answered(world: World) -> None:
    room = AnswerRoom(max_bytes=1000, wait_s=0)
    dispatcher = dispatcher_over(world, room=room)
    with room.holding("another", 1000):
        for method, size in (("thread_at", "0x1000000"), ("beside", "0x1"), ("turns", "0x1")):
            with pytest.raises(RpcFailure, match=r"^-32000: ServerIsBusy: 1000 bytes of answers wait to be read"):
                await call(dispatcher, method, size)
        assert await call(dispatcher, "light") is None
        assert await call(dispatcher, "thread_at", "0x1") is False


async def test_answers_of_calls_that_wait_for_the_lane_count_already(world: World) -> None:
    """Any number of calls began while there was room, and 300 answers of 2 MB were held at the same time."""
    room = AnswerRoom(max_bytes=0x4000000, wait_s=0)
    dispatcher = dispatcher_over(world, room=room)
    async with asyncio.TaskGroup() as tasks:
        with world.lane.paused():
            calls = [
                tasks.create_task(dispatcher.dispatch(body_of("thread_at", "0x1000000"), f"client {each}"))
                for each in range(10)
            ]
            await asyncio.sleep(0.01)
            assert room.held_bytes == 0x4000000
    assert sum(b"ServerIsBusy" in each.result() for each in calls) == 8
    assert room.held_bytes == 0


async def test_few_of_many_batches_go_on_in_a_round(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """120 clients with batches of cheap calls made everybody wait for half a second."""
    monkeypatch.setattr(dispatch_module, "TURN_S", 0.0)
    dispatcher = dispatcher_over(world)
    body = b"[" + b",".join([body_of("light")] * 20) + b"]"
    async with asyncio.TaskGroup() as tasks:
        batches = [tasks.create_task(dispatcher.dispatch(body)) for _ in range(50)]
        await asyncio.sleep(0)
        assert world.steps <= BATCHES_PER_ROUND, "long batches do not all begin at once"
        while not all(each.done() for each in batches):
            before = world.steps
            await asyncio.sleep(0)
            assert world.steps - before <= 2 * BATCHES_PER_ROUND
    assert world.steps == 1000


async def test_a_fault_before_the_first_part_is_an_error_object(world: World) -> None:
    with pytest.raises(RpcFailure, match="no end"):
        await call(dispatcher_over(world), "broken", "0x1")


async def test_a_fault_behind_the_first_part_cuts_the_answer(world: World) -> None:
    parts = dispatcher_over(world).parts(body_of("broken", "0x400"))
    taken: list[bytes] = []

    async def take() -> None:
        async for part in parts:
            taken.append(part)  # noqa: PERF401 - it raises on the way

    with pytest.raises(AnswerCutError):
        await take()
    assert taken
    assert not b"".join(taken).endswith(b"}")


async def test_more_values_than_objects_can_be_made_of_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MOST_VALUES", 1000)
    dispatcher = dispatcher_over(world)
    for body in (b'{"jsonrpc":"2.0","id":1,"method":"light","params":[%b]}', b'[{"method":"light","params":[%b]}]'):
        answer = json.loads(await dispatcher.dispatch(body % b",".join([b"0"] * 1002)))
        assert answer["error"]["code"] == -32600
        assert answer["error"]["message"] == "The request has more than 1000 values"
    assert await call(dispatcher, "light") is None
