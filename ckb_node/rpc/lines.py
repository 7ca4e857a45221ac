"""JSON-RPC over TCP: one request or batch a line, answers and events one a line."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.guard import FREE_BYTES, Guard, HttpLimits, Unsent
from ckb_node.rpc.listening import ACCEPTED_AT_ONCE, address_of, close, listen_deeper
from ckb_node.rpc.stream import IDLE_SECONDS, serve_stream
from ckb_node.rpc.subscriptions import Hub
from ckb_node.runtime.client import client_of, site_of
from ckb_node.runtime.tasks import Tasks

log = structlog.get_logger("rpc")

_END: Final = b"\n"
_HTTP: Final = re.compile(rb"[A-Z]+ \S+ HTTP/[0-9.]+\r?")
"""A web page can make a browser post lines to any port of this machine; before them it sends a line like this."""


class LineConnection(asyncio.BufferedProtocol):
    """One client. Satisfies `guard.Guarded` and `stream.Stream`."""

    takes_parts = True

    def __init__(self, server: LineServer) -> None:
        self._server: Final = server
        self._guard: Final = server.guard
        limits = self._guard.limits
        self.answer_seconds = limits.answer_seconds
        self.client = self.sharer = ""
        self.counted = 0
        self.deadline = math.inf
        self.task: asyncio.Task[Any] | None = None
        self.has_asked = False
        self._serving: asyncio.Task[None] | None = None
        self.unsent: Final = Unsent()
        self._wire: asyncio.Transport | None = None
        self._received = bytearray()
        self._searched = 0
        self._more: Final = asyncio.Event()
        self._writable: Final = asyncio.Event()
        self._writable.set()
        self._has_ended = self._is_reading = self._has_line = False

    # ------------------------------------------------------------ from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, if there is room."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._wire = self.unsent.wire = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.client, self.sharer = site_of(host), client_of(host, port)
        if self._guard.admit(self):
            self._is_reading = True
            self.await_client(is_subscriber=False)
            self._serving = self._server.start(self)
        else:
            self.refuse(503)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone: so is what is worked out for it."""
        self._guard.leave(self)
        self._has_ended = True
        self._writable.set()
        self._more.set()
        if self._serving is not None:
            self._serving.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: into one place for all, since they are copied at once."""
        return self._guard.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came. What comes ahead of its turn stays in the client, but its leaving is seen."""
        came = self._guard.buffer[:nbytes]
        if not self._received:
            self.deadline = self._guard.loop.time() + self._guard.limits.request_seconds
        self._received += came
        if len(self._received) > FREE_BYTES:
            self._guard.hold(self, len(self._received) - FREE_BYTES)
        if self._has_line:
            self._pause()
        elif _END in bytes(came) or len(self._received) > self._guard.limits.body_bytes:
            self._has_line = True
            self._more.set()

    def eof_received(self) -> bool:
        """The client sends no more, and may wait for answers."""
        self._has_ended = True
        self._more.set()
        return True

    def pause_writing(self) -> None:
        """The client does not take what is sent."""
        self._writable.clear()
        self._guard.unread(self)

    def resume_writing(self) -> None:
        """The client takes it."""
        self._writable.set()
        self._guard.read_again(self)

    def _pause(self) -> None:
        if self._is_reading and self._wire is not None:
            self._is_reading = False
            self._wire.pause_reading()

    def _resume(self) -> None:
        if not self._is_reading and self._wire is not None and not self._has_ended:
            self._is_reading = True
            self._wire.resume_reading()

    # ------------------------------------------------------------ for `serve_stream`

    async def receive(self) -> bytes | None:
        """The next line; what came before the end of the connection counts as one."""
        while True:
            end = self._received.find(_END, self._searched)
            if end >= 0:
                return self._taken(end, end + 1)
            self._searched = len(self._received)
            if len(self._received) > self._guard.limits.body_bytes:
                await self._refuse_long()
                return None
            if self._has_ended:
                return self._taken(len(self._received), len(self._received)) if self._received else None
            self._more.clear()
            self._has_line = False
            self._resume()
            await self._more.wait()

    def _taken(self, end: int, rest: int) -> bytes:
        line = bytes(self._received[:end])
        del self._received[:rest]
        self._searched = 0
        if not self.has_asked and _HTTP.fullmatch(line):
            raise ConnectionAbortedError("the client speaks HTTP")
        return line

    async def _refuse_long(self) -> None:
        text = f"a line is longer than {self._guard.limits.body_bytes} bytes"
        await self.send(self._server.dispatcher.failure(b"", RpcError(Code.InvalidRequest, text)))

    def attend(self) -> None:
        """A request is here."""
        self.task, self.deadline = self._serving, math.inf
        self._guard.attend(self)

    def await_client(self, *, is_subscriber: bool) -> None:
        """All is answered."""
        self.has_asked = self.has_asked or self.task is not None
        self.task = None
        self._guard.hold(self, max(0, len(self._received) - FREE_BYTES))
        now = self._guard.loop.time()
        if self._received:
            self.deadline = now + self._guard.limits.request_seconds
        else:
            self.deadline = math.inf if is_subscriber else now + IDLE_SECONDS
        if is_subscriber:
            self._guard.attend(self)
        else:
            self._guard.await_client(self)

    async def send_parts(self, first: bytes, parts: AsyncGenerator[bytes, None]) -> None:
        """An answer, as its parts come."""
        await self._write(first)
        async for part in parts:
            await self._write(part)
        await self._write(_END)

    async def send(self, message: bytes) -> None:
        """A line."""
        await self._write(message + _END)

    async def _write(self, data: bytes) -> None:
        if self._wire is None or self._wire.is_closing():
            raise ConnectionResetError("the client is gone")
        self._wire.write(data)
        await self._writable.wait()

    # ------------------------------------------------------------ for the guard

    def end_wait(self) -> None:
        """Its time is up."""
        self.drop()

    def refuse(self, status: int, text: str = "") -> None:
        """Too many connections, or too many bytes held: say so and disconnect."""
        if self._wire is not None and not self._wire.is_closing():
            busy = RpcError(Code.ServerIsBusy, text or "too many connections, or too large requests; try again later")
            self._wire.write(self._server.dispatcher.failure(b"", busy) + _END)
            self._wire.close()

    def drop(self) -> None:
        """Disconnect at once."""
        self._guard.leave(self)
        if self._wire is not None:
            self._wire.abort()

    def close(self) -> None:
        """Disconnect when all is sent."""
        if self._wire is not None:
            self._wire.close()


class LineServer:
    """Listens, and serves. Use `serving_lines`."""

    def __init__(self, dispatcher: Dispatcher, hub: Hub, limits: HttpLimits, group: asyncio.TaskGroup) -> None:
        self.dispatcher: Final = dispatcher
        self.guard: Final = Guard(limits)
        self._hub, self._group = hub, group
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        return address_of(self._server)

    async def listen(self, host: str, port: int) -> None:
        """Bind; OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: LineConnection(self), host, port, backlog=ACCEPTED_AT_ONCE)
        listen_deeper(self._server)

    def start(self, connection: LineConnection) -> asyncio.Task[None]:
        """Serve a connection until its end."""
        return self._group.create_task(self._serve(connection))

    async def _serve(self, connection: LineConnection) -> None:
        try:
            await serve_stream(connection, self.dispatcher, self._hub)
        except Exception as error:
            log.exception("an RPC connection failed", exc_info=error)
        finally:
            connection.close()

    async def close(self) -> None:
        """Listen no more, give answers on the way a moment, and drop all connections."""
        await close(self._server, self.guard)


@asynccontextmanager
async def serving_lines(
    tasks: Tasks, dispatcher: Dispatcher, hub: Hub, host: str, port: int, limits: HttpLimits
) -> AsyncIterator[LineServer]:
    """A server that listens while the context lasts. Raises OSError or UnicodeError when the address cannot be had."""
    async with asyncio.TaskGroup() as group:
        server = LineServer(dispatcher, hub, limits, group)
        await server.listen(host, port)
        tasks.start_restartable(f"time limits of connections to port {server.address[1]}", server.guard.watch)
        try:
            yield server
        finally:
            await server.close()
