"""Posts of strangers: bounded, and with a token only those of the node."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

import ckb_node.miner.listener as module
import ckb_node.miner.node_rpc as node_rpc
from ckb_node.miner.listener import TemplateListener
from ckb_node.miner.work import MinerError


@asynccontextmanager
async def listening(token: str | None = None) -> AsyncIterator[tuple[str, asyncio.Queue[bytes]]]:
    got: asyncio.Queue[bytes] = asyncio.Queue()
    listener = TemplateListener("127.0.0.1", 0, token)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(listener.run(got.put))
        await listener.is_open.wait()
        yield f"http://127.0.0.1:{listener.port}/", got
        running.cancel()


async def test_a_post_is_handed_on() -> None:
    async with listening() as (url, got), aiohttp.ClientSession() as client:
        async with client.post(url, data=b"text") as answer:
            assert answer.status == 200
        assert await got.get() == b"text"
        async with client.get(url) as answer:
            assert answer.status == 405


@pytest.mark.parametrize("shown", [None, "", "Bearer", "Bearer other", "secret", "bearer s\u00e9cret"])
async def test_a_token_is_asked_for(shown: str | None) -> None:
    async with listening("secret") as (url, got), aiohttp.ClientSession() as client:
        headers = {} if shown is None else {"Authorization": shown}
        async with client.post(url, data=b"text", headers=headers) as answer:
            assert answer.status == 401
        async with client.post(url, data=b"good", headers={"Authorization": "Bearer secret"}) as answer:
            assert answer.status == 200
        assert await got.get() == b"good"


async def test_a_large_post_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_rpc, "MAX_TEMPLATE_BYTES", 1000)
    async with listening() as (url, got), aiohttp.ClientSession() as client:
        async with client.post(url, data=bytes(1001)) as answer:
            assert answer.status == 400
        assert got.empty()


async def test_posts_that_do_not_end_leave_room_for_no_more_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is sent away after its time; while they are there, others are told to come again."""
    monkeypatch.setattr(module, "MAX_POSTS", 2)
    async with listening() as (url, _), aiohttp.ClientSession() as client:
        port = int(url.rsplit(":", 1)[1].strip("/"))
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in slow:
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            await writer.drain()
        async with asyncio.timeout(20):
            while True:
                async with client.post(url, data=b"text") as answer:
                    if answer.status == 503:
                        break
        for _, writer in slow:
            writer.close()


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MinerError, match=r"miner\.listen"):
            await TemplateListener("127.0.0.1", taken.getsockname()[1]).run(asyncio.Queue[bytes]().put)
