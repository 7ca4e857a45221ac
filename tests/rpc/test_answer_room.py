"""Room for answers on their way."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ckb_node.rpc.answer_room import SHARE, AnswerRoom, NoRoomError
from ckb_node.runtime.lane import CHEAP_BYTES, Lane
from tests.support.lanes import Held, as_client


async def test_a_client_has_its_share_and_all_have_the_whole() -> None:
    room = AnswerRoom(max_bytes=400, wait_s=0)
    assert SHARE == 4
    with room.holding("a", 100):
        with pytest.raises(
            NoRoomError, match="100 bytes of answers wait to be read, 100 of them by this client"
        ) as refused:
            await room.wait("a")
        assert (refused.value.held_bytes, refused.value.of_client) == (100, 100)
        await room.wait("b")
        with room.holding("b", 99), room.holding("c", 201), pytest.raises(NoRoomError):
            await room.wait("d")
        await room.wait("d")
    await room.wait("a")
    assert room.held_bytes == 0


async def test_who_waits_goes_on_when_an_answer_is_taken() -> None:
    room = AnswerRoom(max_bytes=100, wait_s=60)
    async with asyncio.TaskGroup() as tasks:
        with room.holding("a", 100):
            waiting = [tasks.create_task(room.wait(each)) for each in ("b", "c")]
            await asyncio.sleep(0)
            assert not any(each.done() for each in waiting)


async def test_dear_work_waits_for_room_and_counts_while_it_runs() -> None:
    room, lane, held = AnswerRoom(max_bytes=1 << 20, wait_s=60), Lane("test", 2), Held()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(as_client("a", lambda: room.run_priced(lane, 1 << 19, held)))
        await held.has_begun()
        assert room.held_bytes == 1 << 20
        waiting = tasks.create_task(as_client("b", lambda: room.run_priced(lane, 1 << 19, threading.get_ident)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert await room.run_priced(lane, CHEAP_BYTES, threading.get_ident) == threading.get_ident()
        held.may_end.set()
        assert await waiting != threading.get_ident()
    assert room.held_bytes == 0
    lane.close()
