"""HTTP/1.1 for JSON-RPC: small, bounded, and nothing else.

Every POST is a request, whatever its path; `GET /ping` answers `pong`. Requests of one connection are answered in
order (pipelining). All bounds are in `HttpLimits`; whoever breaks one gets a status and is disconnected.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httptools
import structlog

from ckb_node.rpc.dispatch import Dispatcher

log = structlog.get_logger("rpc")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of a connection. Sizes in bytes, times in seconds."""

    body_bytes: int = 10 << 20
    head_bytes: int = 16 << 10
    connections: int = 1000
    pipelined: int = 32
    """Requests of a connection that may wait for their turn; more are left unread."""
    total_body_bytes: int = 256 << 20
    """Requests of all connections that are held in memory."""
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""
    request_seconds: float = 60.0
    """From the first byte of a request to its last."""
    idle_seconds: float = 75.0
    """Between requests."""
    answer_seconds: float = 60.0
    """To work out the first part of an answer."""
    write_seconds: float = 60.0
    """A client that takes nothing for so long is gone."""


CHUNK_BYTES = 256 << 10
"""A batch's answer that grows beyond this is sent as it comes, not gathered first."""

LINGER_SECONDS = 2.0

_STATUS_LINES = {
    200: b"HTTP/1.1 200 OK\r\n",
    204: b"HTTP/1.1 204 No Content\r\n",
    400: b"HTTP/1.1 400 Bad Request\r\n",
    405: b"HTTP/1.1 405 Method Not Allowed\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    413: b"HTTP/1.1 413 Payload Too Large\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}
# Wallets in browsers call the node from any page, so every answer allows every origin.
_CORS = b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
_PREFLIGHT = _CORS + b"access-control-allow-methods: *\r\naccess-control-allow-headers: *\r\n"
_JSON = b"content-type: application/json\r\n"
_TEXT = b"content-type: text/plain; charset=utf-8\r\n"
_CLOSE = b"connection: close\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
_ALLOW = b"allow: POST, OPTIONS\r\n"
_NOT_ALLOWED = b"Used HTTP Method is not allowed. POST or OPTIONS is required"


def _response(status: int, headers: bytes, body: bytes = b"") -> bytes:
    length = b"" if status == 204 else b"content-length: %d\r\n" % len(body)
    return b"".join((_STATUS_LINES[status], headers, length, b"\r\n", body))


@dataclass(frozen=True, slots=True)
class _Request:
    """A whole request as read from the wire."""

    method: bytes
    path: bytes
    body: bytes
    keeps_alive: bool
    is_http10: bool


class HttpServer:
    """Listens, and owns every connection's task. Use `serving`."""

    def __init__(self, dispatcher: Dispatcher, limits: HttpLimits, tasks: asyncio.TaskGroup) -> None:
        self.dispatcher: Final = dispatcher
        self.limits: Final = limits
        self.tasks: Final = tasks
        self.connections: Final[set[HttpConnection]] = set()
        self.held_bytes = 0
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        if self._server is None:
            raise RuntimeError("the server does not listen")
        name = self._server.sockets[0].getsockname()
        return name[0], name[1]

    async def listen(self, host: str, port: int) -> None:
        """Bind; OSError when the address cannot be had. Port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: HttpConnection(self), host, port)

    async def watch(self) -> None:
        """Disconnect connections whose time is up; runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            now = loop.time()
            for connection in list(self.connections):
                connection.check_time(now)

    async def close(self) -> None:
        """Stop listening and drop all connections; answers on the way are given up."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.drop()
            if connection.task is not None:
                connection.task.cancel()
        if self._server is not None:
            await self._server.wait_closed()


@asynccontextmanager
async def serving(
    dispatcher: Dispatcher, host: str, port: int, limits: HttpLimits | None = None
) -> AsyncIterator[HttpServer]:
    """A server that listens while the context lasts."""
    async with asyncio.TaskGroup() as tasks:
        server = HttpServer(dispatcher, limits or HttpLimits(), tasks)
        await server.listen(host, port)
        watcher = tasks.create_task(server.watch(), name="rpc-http-watch")
        try:
            yield server
        finally:
            watcher.cancel()
            await server.close()


class _ClientGoneError(Exception):
    """The client disconnected while its answer was on the way."""


class HttpConnection(asyncio.Protocol):
    """One client. The parser fills the queue, one task answers from it, in order.

    A request whose client is gone is still worked off: a transaction that was sent is not lost with the connection.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server, self._limits = server, server.limits
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self._queue: deque[_Request] = deque()
        self._held_bytes = 0
        self._wakes, self._writable = asyncio.Event(), asyncio.Event()
        self._writable.set()
        self._is_paused = self._is_answering = self._is_lost = False
        self._refusal: bytes | None = None
        self._read_deadline: float | None = self._loop.time() + self._limits.idle_seconds
        self._write_deadline: float | None = None
        self._url = b""
        self._body: list[bytes] = []
        self._head_size = self._body_size = 0
        self._expects_continue = self._is_mid_request = False

    # ------------------------------------------------------------ from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._transport = transport
        if len(self._server.connections) >= self._limits.connections:
            self._refusal = b""
            transport.write(_response(503, _CLOSE))
            transport.close()
            return
        self._server.connections.add(self)
        self.task = self._server.tasks.create_task(self._serve(), name="rpc-http-connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._is_lost = True
        self._refusal = self._refusal or b""
        self._queue.clear()
        self._wakes.set()
        self._writable.set()
        self._release(self._held_bytes)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400)
        except httptools.HttpParserError:
            self._refuse(400)

    def eof_received(self) -> bool:
        """A client that sent all its requests may still wait for the answers."""
        if self._refusal is not None or not (self._queue or self._is_answering):
            return False
        self._refusal = b""
        return True

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # ------------------------------------------------------------ from the parser

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []
        self._head_size = self._body_size = 0
        self._expects_continue, self._is_mid_request = False, True
        self._read_deadline = self._loop.time() + self._limits.head_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self._count_head(len(name) + len(value or b"") + 4)
        lowered = name.lower()
        if lowered == b"content-length" and value is not None and int(value) > self._limits.body_bytes:
            self._refuse(413)
        elif lowered == b"expect" and value is not None and value.lower() == b"100-continue":
            self._expects_continue = True

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head_bytes:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        self._read_deadline = self._loop.time() + self._limits.request_seconds
        if self._expects_continue and self._transport is not None and self._refusal is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._refusal is not None:
            return
        self._body_size += len(body)
        self._held_bytes += len(body)
        self._server.held_bytes += len(body)
        self._body.append(body)
        if self._body_size > self._limits.body_bytes:
            self._refuse(413)
        elif self._server.held_bytes > self._limits.total_body_bytes:
            self._refuse(503)

    def on_message_complete(self) -> None:
        if self._refusal is not None:
            return
        body, self._body = b"".join(self._body), []
        self._is_mid_request, self._read_deadline = False, None
        self._queue.append(
            _Request(
                self._parser.get_method(),
                self._url.partition(b"?")[0],
                body,
                self._parser.should_keep_alive(),
                self._parser.get_http_version() == "1.0",
            )
        )
        self._wakes.set()
        if len(self._queue) >= self._limits.pipelined:
            self._pause_reading()

    # ------------------------------------------------------------ answering

    async def _serve(self) -> None:
        try:
            await self._answer_all()
        except _ClientGoneError:
            pass
        except Exception:
            # The last boundary: a fault in one connection must not end the server.
            log.exception("an RPC connection failed")
            self.drop()

    async def _answer_all(self) -> None:
        """Answer requests in order until the connection is to be closed."""
        while True:
            while not self._queue:
                if self._refusal is not None:
                    self._finish(self._refusal)
                    return
                self._wakes.clear()
                await self._wakes.wait()
            request = self._queue.popleft()
            self._is_answering = True
            is_kept = await self._answer(request)
            self._is_answering = False
            self._release(len(request.body))
            if not is_kept:
                self._finish(b"")
                return
            self._resume_reading()
            if not self._queue and not self._is_mid_request:
                self._read_deadline = self._loop.time() + self._limits.idle_seconds

    async def _answer(self, request: _Request) -> bool:
        """Answer one request; whether the connection stays open."""
        keep = b"" if request.keeps_alive else _CLOSE
        if request.method == b"POST":
            return await self._answer_rpc(request, keep) and request.keeps_alive
        if request.method == b"OPTIONS":
            answer = _response(200, _PREFLIGHT + keep)
        elif request.method == b"GET" and request.path == b"/ping":
            answer = _response(200, _CORS + _TEXT + keep, b"pong")
        else:
            text = b"" if request.method == b"HEAD" else _NOT_ALLOWED
            answer = _response(405, _CORS + _TEXT + _ALLOW + keep, text)
        await self._write(answer)
        return request.keeps_alive

    async def _answer_rpc(self, request: _Request, keep: bytes) -> bool:
        """Dispatch; False when the answer could not be finished."""
        parts = self._server.dispatcher.parts(request.body)
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                gathered, is_whole = await _gather(parts, None if request.is_http10 else CHUNK_BYTES)
        except TimeoutError:
            await self._write(_response(408, _CORS + _CLOSE))
            return False
        if is_whole:
            status, kind = (200, _JSON) if gathered else (204, b"")
            await self._write(_response(status, _CORS + kind + keep, gathered))
        else:
            await self._stream(gathered, parts, keep)
        return True

    async def _stream(self, first: bytes, parts: AsyncIterator[bytes], keep: bytes) -> None:
        """Send a long answer in chunks while it grows; the client's pace bounds the memory."""
        await self._write(b"".join((_STATUS_LINES[200], _CORS, _JSON, _CHUNKED, keep, b"\r\n")) + _chunk(first))
        async for part in parts:
            await self._write(_chunk(part))
        await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        """Hand bytes to the transport and wait while the client does not take them."""
        if self._transport is None or self._is_lost:
            raise _ClientGoneError
        self._transport.write(data)
        if not self._writable.is_set():
            self._write_deadline = self._loop.time() + self._limits.write_seconds
            await self._writable.wait()
            self._write_deadline = None

    def _release(self, size: int) -> None:
        """Bytes of requests that are no longer held; what a lost connection held was released before."""
        size = min(size, self._held_bytes)
        self._held_bytes -= size
        self._server.held_bytes -= size

    # ------------------------------------------------------------ ends

    def check_time(self, now: float) -> None:
        """Disconnect when a request, the client's reading, or the pause between requests takes too long."""
        is_late_reading = not self._is_paused and self._read_deadline is not None and now >= self._read_deadline
        is_late_writing = self._write_deadline is not None and now >= self._write_deadline
        if is_late_reading or is_late_writing:
            self.drop()

    def drop(self) -> None:
        """Disconnect at once."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, status: int) -> None:
        """Take no more; the refusal is sent after the answers that are due before it."""
        if self._refusal is None:
            self._refusal = _response(status, _CORS + _CLOSE)
            self._body = []
            self._wakes.set()

    def _finish(self, last: bytes) -> None:
        """Say the last word and close; what the client still sends is read and dropped, or it would see a reset."""
        if self._transport is None or self._is_lost:
            return
        if not last:
            self._transport.close()
            return
        self._transport.write(last)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._is_paused = False
        self._read_deadline = self._loop.time() + LINGER_SECONDS
        self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is None or not self._is_paused or self._is_lost:
            return
        self._is_paused = False
        if self._is_mid_request:
            self._read_deadline = self._loop.time() + self._limits.request_seconds
        self._transport.resume_reading()


async def _gather(parts: AsyncIterator[bytes], limit: int | None) -> tuple[bytes, bool]:
    """The parts in one, and whether they are all; not all when they grow beyond the limit."""
    gathered: list[bytes] = []
    size = 0
    async for part in parts:
        gathered.append(part)
        size += len(part)
        if limit is not None and size > limit:
            return b"".join(gathered), False
    return b"".join(gathered), True


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
