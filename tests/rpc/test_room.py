"""Room for answers on their way."""

from __future__ import annotations

import asyncio

import pytest

from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.room import SHARE, AnswerRoom


async def test_a_client_has_its_share_and_all_have_the_whole() -> None:
    room = AnswerRoom(max_bytes=400, wait_s=0)
    assert SHARE == 4
    with room.holding("a", 100):
        with pytest.raises(
            RpcError, match="100 bytes of answers wait to be read, 100 of them by this client"
        ) as refused:
            await room.wait("a")
        assert refused.value.code is Code.ServerIsBusy
        await room.wait("b")
        with room.holding("b", 99), room.holding("c", 201), pytest.raises(RpcError):
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
