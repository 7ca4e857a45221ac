"""A server over loopback with methods of its own, and a client that sends hand-written bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ckb_node.rpc.answer_room import AnswerRoom
from ckb_node.rpc.calls import ThreadStream
from ckb_node.rpc.guard import HttpLimits
from ckb_node.rpc.http import HttpServer, serving
from ckb_node.rpc.origin import OriginPolicy
from ckb_node.rpc.params import Text, Uint32
from ckb_node.rpc.registry import Methods, Module
from ckb_node.runtime.client import CLIENT
from ckb_node.runtime.lane import Lane, Slices
from ckb_node.runtime.tasks import Tasks
from tests.support.asking import dispatcher_of


class Services:
    """What the slow method waits for."""

    miner = None

    def __init__(self) -> None:
        self.lane = Lane("test", 2)
        self.room = AnswerRoom()
        self.gate = asyncio.Event()
        self.started: list[str] = []
        self.has_started = asyncio.Event()
        self.was_cancelled = asyncio.Event()
        self.done: list[str] = []


METHODS = Methods(Module.CHAIN)


OWNERS = Methods(Module.NET)


@OWNERS.method
def command(services: Services) -> None:
    """Changes the node."""
    services.done.append("command")


@METHODS.method
def echo(services: Any, text: Text) -> str:
    """Answers its text."""
    return text


@METHODS.method
def fill(services: Any, size: Uint32) -> str:
    """Answers so many characters."""
    return "x" * size


@METHODS.method
def cut(services: Any) -> ThreadStream[list[int]]:
    """A long answer whose end cannot be had."""

    def pieces() -> Slices:
        yield b"[" + b"1," * 500_000
        yield b"1," * 500_000
        raise ZeroDivisionError

    return ThreadStream(pieces())


@METHODS.method
def who(services: Any) -> str:
    """Under which name the client has its share."""
    return CLIENT.get()


@METHODS.method
async def wait(services: Services, text: Text) -> str:
    """Answers when the gate opens."""
    services.started.append(text)
    services.has_started.set()
    try:
        await services.gate.wait()
    except asyncio.CancelledError:
        services.was_cancelled.set()
        raise
    services.done.append(text)
    return text


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; `running` bounds the time."""
    while not condition():  # noqa: ASYNC110 - many things may make it hold
        await asyncio.sleep(0.01)


@dataclass
class Answer:
    """A parsed response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, has_body: bool = True) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        elif has_body:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    async def is_closed(self) -> bool:
        try:
            async with asyncio.timeout(5):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True


def no_lingering(writer: asyncio.StreamWriter) -> None:
    """The end of the connection is a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class Running:
    """A server and what its methods see."""

    server: HttpServer
    services: Services
    tasks: Tasks

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(*self.server.address)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def running(
    policy: OriginPolicy | None = None,
    host: str = "127.0.0.1",
    is_busy: Callable[[], bool] = lambda: False,
    **limits: Any,
) -> AsyncIterator[Running]:
    services = Services()
    dispatcher = dispatcher_of(services, [Module.CHAIN, Module.NET], [METHODS, OWNERS])
    bounds = HttpLimits(**limits)
    async with (
        asyncio.timeout(30),
        Tasks(lambda: 0) as tasks,
        serving(tasks, dispatcher, host, 0, bounds, policy, is_busy=is_busy) as server,
    ):
        yield Running(server, services, tasks)


def post(body: bytes, *headers: bytes, path: bytes = b"/") -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def rpc(method: str, *params: Any, identity: int = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode()
