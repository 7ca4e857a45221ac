"""Thousands of malformed calls by each transport: an answer to each, never a fault, memory bounded."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from structlog.testing import capture_logs

from ckb_node.rpc.guard import HttpLimits
from ckb_node.rpc.http import serving
from ckb_node.rpc.lines import serving_lines
from ckb_node.rpc.openrpc import discovery
from ckb_node.rpc.subscriptions import Hub
from ckb_node.runtime.tasks import Tasks
from tests.rpc.kit import rpc_chain
from tests.rpc.kit_malformed import DEEP, Malformer

CALLS = int(os.environ.get("MALFORMED_CALLS", "700"))
"""By each transport."""
FAULTS = ("Traceback", "traceback", 'File "', "Error(", "object at 0x", "/home/", "site-packages")
CODES = {-32700, -32600, -32601, -32602, -32603, -32000}

NESTED = [
    b"[" * DEEP,
    b"[" * DEEP + b"]" * DEEP,
    b'{"jsonrpc":"2.0","id":1,"method":"get_block","params":' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"jsonrpc":"2.0","id":1,"method":"submit_block","params":["0x0",'
    + b'{"header":' * DEEP
    + b"1"
    + b"}" * DEEP
    + b"]}",
    b'{"jsonrpc":"2.0","id":' + b"9" * 100_000 + b',"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping","method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"get_header_by_number","params":[' + b"9" * 100_000 + b"]}",
    b'{"jsonrpc":"2.0","id":1,"method":"get_header_by_number","params":["0x' + b"f" * 100_000 + b'"]}',
]


class Caller:
    """Sends bytes by one transport; the answer's bytes, empty for none."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self._url, self._session = url, session

    async def ask(self, body: bytes) -> bytes:
        async with self._session.post(self._url, data=io.BytesIO(body)) as answer:
            assert answer.status in (200, 204)
            return await answer.read()


class SocketCaller:
    """Behind each call comes a `ping`, whose answer says that there is none to the call."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket

    async def ask(self, body: bytes) -> bytes:
        await self._socket.send_frame(body, WSMsgType.TEXT)
        return await self._heard()

    async def _heard(self) -> bytes:
        await self._socket.send_frame(MARK, WSMsgType.TEXT)
        heard = b""
        while (message := (await self._socket.receive_str()).encode()) != MARKED:
            heard = heard or message
        return heard


class LineCaller:
    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, body: bytes) -> bytes:
        self._writer.write(body.replace(b"\n", b" ") + b"\n" + MARK + b"\n")
        heard = b""
        while (line := (await self._reader.readuntil(b"\n")).strip()) != MARKED:
            heard = heard or line
        return heard


MARK = b'{"jsonrpc":"2.0","id":"mark","method":"ping"}'
MARKED = b'{"jsonrpc":"2.0","result":"pong","id":"mark"}'


@asynccontextmanager
async def callers() -> AsyncIterator[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        rpc = await stack.enter_async_context(rpc_chain())
        registry = rpc.dispatcher._registry
        registry.add(discovery(lambda: registry))
        tasks = await stack.enter_async_context(Tasks(lambda: 0))
        hub, limits = Hub(), HttpLimits()
        server = await stack.enter_async_context(serving(tasks, rpc.dispatcher, "127.0.0.1", 0, limits, None, hub))
        lines = await stack.enter_async_context(serving_lines(tasks, rpc.dispatcher, hub, "127.0.0.1", 0, limits))
        session = await stack.enter_async_context(ClientSession())
        host, port = server.address
        socket = await stack.enter_async_context(session.ws_connect(f"http://{host}:{port}/", max_msg_size=0))
        reader, writer = await asyncio.open_connection(*lines.address, limit=1 << 26)
        stack.callback(writer.close)
        yield {
            "http": Caller(f"http://{host}:{port}/", session),
            "ws": SocketCaller(socket),
            "tcp": LineCaller(reader, writer),
        }


def assert_is_answer(body: bytes, answer: bytes) -> None:
    if not answer:
        return
    text = answer.decode()
    said = json.loads(text)
    for each in said if isinstance(said, list) else [said]:
        assert each["jsonrpc"] == "2.0", body[:500]
        assert ("result" in each) != ("error" in each), body[:500]
        if "error" in each:
            assert isinstance(each["error"]["code"], int)
            assert len(each["error"]["message"]) < 5000, body[:500]
            shown = each["error"]["message"] + str(each["error"].get("data", ""))
            assert not any(fault in shown for fault in FAULTS), (body[:500], shown[:500])
            assert each["error"]["message"] != "Internal error", body[:500]


@pytest.mark.parametrize("transport", ["http", "tcp", "ws"])
async def test_malformed_calls_are_answered(transport: str) -> None:
    seed = {"http": 1, "tcp": 2, "ws": 3}[transport] + int(os.environ.get("MALFORMED_SEED", "0"))
    with capture_logs() as logs:
        async with callers() as all_callers:
            caller = all_callers[transport]
            for body in Malformer(seed).calls(CALLS):
                assert_is_answer(body, await caller.ask(body))
            assert (await caller.ask(MARK.replace(b"mark", b"last"))).startswith(b'{"jsonrpc":"2.0","result":"pong"')
    faults = [line for line in logs if line["log_level"] == "error"]
    assert not faults, faults[:3]


@pytest.mark.parametrize("body", NESTED, ids=range(len(NESTED)))
@pytest.mark.parametrize("transport", ["http", "tcp", "ws"])
async def test_deep_huge_and_double(transport: str, body: bytes) -> None:
    async with callers() as all_callers:
        answer = json.loads(await all_callers[transport].ask(body))
        assert "error" not in answer or answer["error"]["code"] in CODES
