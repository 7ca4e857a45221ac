"""HTTP/1.1 for JSON-RPC by aiohttp, behind the guard (`guard.py`).

Every POST is a request, whatever its path; `GET /ping` answers `pong`. Requests of one connection are answered in
order. A client that leaves stops its request; what changes the node's state is finished by the dispatcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache
from typing import Final

import structlog
from aiohttp import web
from aiohttp.hdrs import CONTENT_LENGTH, EXPECT, HOST, ORIGIN, UPGRADE
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage

from ckb_node.rpc.dispatch import AnswerCutError, Dispatcher
from ckb_node.rpc.guard import LARGE_BYTES, READ_BYTES, Guard, HttpLimits
from ckb_node.rpc.http_answers import (
    CHUNKED,
    CONTINUE,
    CORS,
    JSON,
    NO_CONTENT,
    NOT_ALLOWED,
    OK,
    PREFLIGHT,
    RESULT,
    chunk,
    whole,
)
from ckb_node.rpc.http_connection import Connection, Left
from ckb_node.rpc.listening import ACCEPTED_AT_ONCE, address_of, close, listen_deeper
from ckb_node.rpc.origin import OriginPolicy, Standing
from ckb_node.rpc.subscriptions import Hub
from ckb_node.rpc.websocket import NotUpgradedError, serve_websocket
from ckb_node.runtime.tasks import Tasks

log = structlog.get_logger("rpc")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

CHUNK_BYTES = 256 << 10
"""An answer of so many bytes is sent as it comes, not gathered first."""

KNOWN_CALLERS = 1024
"""Pairs of Origin and Host whose standing is remembered."""

NOTICE_SECONDS = 10.0
"""Between two lines of the log about refused callers."""

_FORBIDDEN = (
    "This web page, or this name of the node, may not call the RPC. The operator can list pages in `cors_origins` and "
    "names in `allowed_hosts`, both in section [rpc] of config.toml.\n"
)


class Answered(web.StreamResponse):
    """Stands for an answer that the handler has written itself, encoded, in one piece."""

    def __init__(self, *, keeps_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keeps_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be written."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""


_KEPT, _CLOSED = Answered(keeps_alive=True), Answered(keeps_alive=False)


class _RefusedError(Exception):
    """The request is not served."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(status)
        self.status: Final = status
        self.text: Final = text


class HttpServer:
    """Listens, and answers. Use `serving`."""

    def __init__(
        self,
        dispatcher: Dispatcher | None,
        limits: HttpLimits,
        policy: OriginPolicy,
        hub: Hub | None = None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._dispatcher: Final = dispatcher
        self._hub: Final = hub
        self.limits: Final = limits
        self.guard: Final = Guard(limits, is_busy)
        self.routes: Final[dict[tuple[str, str], Handler]] = {("GET", "/ping"): _ping}
        """By method and path; every POST is JSON-RPC, if there is a dispatcher."""
        self._standing: Final = lru_cache(KNOWN_CALLERS)(policy.standing)
        self._next_notice = 0.0
        self._manager: Final = web.Server(self._handle, handler_cancellation=True)
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        return address_of(self._server)

    async def listen(self, host: str, port: int) -> None:
        """Bind; OSError when the address cannot be had. Port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self.guard, self._manager, self), host, port, backlog=ACCEPTED_AT_ONCE
        )
        listen_deeper(self._server)

    async def close(self) -> None:
        """Listen no more, give answers on the way a moment, and drop all connections."""
        await close(self._server, self.guard)

    # ------------------------------------------------------------ answering

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 - what `listen` makes
        is_kept = False
        try:
            await connection.begin(is_large=int(request.headers.get(CONTENT_LENGTH, 0)) > LARGE_BYTES)
            # A target with an authority of its own stands above the header field.
            host = request.headers.get(HOST) if request.raw_path[:1] in "/*" else request.host
            standing = self._standing_of(request.headers.getall(ORIGIN, ()), host)
            if request.method == "POST" and self._dispatcher is not None:
                is_kept = await self._answer_rpc(self._dispatcher, request, connection, standing)
            elif (route := self.routes.get((request.method, request.path))) is not None:
                connection.work()
                is_kept = True
                return await route(request)
            elif request.method == "GET" and self._dispatcher is not None and self._hub is not None:
                is_foreign = standing is Standing.FOREIGN
                return await serve_websocket(request, connection, self._dispatcher, self._hub, is_foreign=is_foreign)
            else:
                is_kept = await _answer_other(request, connection)
        except _RefusedError as refused:
            connection.refuse(refused.status, refused.text)
            return Left()
        except NotUpgradedError as refused:
            connection.refuse(400, str(refused))
            return Left()
        except ConnectionError:
            connection.drop()  # the client is gone
        finally:
            is_kept = connection.end() and is_kept
        return _KEPT if is_kept else _CLOSED

    def caller(self, message: RawRequestMessage) -> bool | None:
        """See `http_connection.AtOnce`: of plain requests of HTTP/1.1."""
        headers = message.headers
        if (
            message.method != "POST"
            or message.version != HttpVersion11
            or message.should_close
            or message.path[:1] != "/"
            or UPGRADE in headers
            or EXPECT in headers
        ):
            return None
        try:
            return self._standing_of(headers.getall(ORIGIN, ()), headers.get(HOST)) is Standing.FOREIGN
        except _RefusedError:
            return None

    def answer(self, body: bytes, client: str, *, is_foreign: bool) -> bytes | None:
        """See `http_connection.AtOnce`."""
        if self._dispatcher is None or len(body) > self.limits.body_bytes:
            return None
        answer = self._dispatcher.at_once(body, client, is_foreign=is_foreign)
        return None if answer is None else whole(RESULT, b"", answer)

    def _standing_of(self, origins: Sequence[str], host: str | None) -> Standing:
        """What the caller may ask for; _RefusedError for a page or a host name that is not allowed."""
        origin = ", ".join(origins) if origins else None
        standing = self._standing(origin, host)
        if standing is Standing.REFUSED:
            if (now := self.guard.loop.time()) >= self._next_notice:
                self._next_notice = now + NOTICE_SECONDS
                log.warning("a caller is refused: see rpc.cors_origins, rpc.allowed_hosts", origin=origin, host=host)
            raise _RefusedError(403, _FORBIDDEN)
        return standing

    async def _answer_rpc(
        self, dispatcher: Dispatcher, request: web.BaseRequest, connection: Connection, standing: Standing
    ) -> bool:
        """Dispatch; whether the connection stays open."""
        body = await self._body(request, connection)
        connection.work(self.limits.answer_seconds)
        if len(body) > LARGE_BYTES:
            await self.guard.large_turns.take()  # many that are whole at the same time would begin in one round
        is_foreign = standing is Standing.FOREIGN
        async with aclosing(dispatcher.parts(body, connection.sharer, is_foreign=is_foreign)) as parts:
            try:
                gathered, is_whole = await _gather(parts)
            except asyncio.CancelledError:
                if connection.is_late:
                    raise _RefusedError(408) from None
                raise
            connection.work()
            if is_whole:
                is_kept = _is_kept(request)
                head = RESULT if gathered else NO_CONTENT
                await connection.send(whole(head, _keep(request, is_kept=is_kept), gathered))
                return is_kept
            try:
                return await _stream(request, connection, gathered, parts)
            except AnswerCutError:
                connection.drop()
                return False

    async def _body(self, request: web.BaseRequest, connection: Connection) -> bytes:
        """The whole body; _RefusedError when it is too large or badly framed."""
        content, limit = request.content, self.limits.body_bytes
        if (length := request.headers.get(CONTENT_LENGTH)) is not None:
            if int(length) > limit:
                raise _RefusedError(413)
            content.set_read_chunk_size(READ_BYTES)
        if EXPECT in request.headers and request.version == HttpVersion11 and not content.is_eof():
            await connection.send(CONTINUE)
        gathered = bytearray()
        try:
            while not content.at_eof():
                gathered += await content.readany()
                if len(gathered) > limit:
                    raise _RefusedError(413)
                if not content.is_eof():
                    await asyncio.sleep(0)  # tiny chunks are here many at a time
        except web.RequestPayloadError:
            raise _RefusedError(400) from None
        return bytes(gathered)


async def _ping(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="pong", headers={"access-control-allow-origin": "*"})


NOT_ALLOWED_TEXT: Final = (
    b"Used HTTP Method is not allowed. POST or OPTIONS is required; "
    b"WebSocket connections have an address of their own, rpc.ws_listen_address in config.toml"
)


async def _answer_other(request: web.BaseRequest, connection: Connection) -> bool:
    """Preflight, and methods that are none of ours."""
    is_kept = _is_kept(request)
    keep = _keep(request, is_kept=is_kept)
    if request.method == "OPTIONS":
        await connection.send(whole(OK + PREFLIGHT, keep, b""))
    else:
        text = b"" if request.method == "HEAD" else NOT_ALLOWED_TEXT
        await connection.send(whole(NOT_ALLOWED, keep, text))
    return is_kept


@asynccontextmanager
async def serving(
    tasks: Tasks,
    dispatcher: Dispatcher | None,
    host: str,
    port: int,
    limits: HttpLimits | None = None,
    policy: OriginPolicy | None = None,
    hub: Hub | None = None,
    is_busy: Callable[[], bool] = lambda: False,
) -> AsyncIterator[HttpServer]:
    """A server that listens while the context lasts; without a dispatcher it has `routes` alone, with a hub it serves
    WebSockets too. Programs that ask without end give way while it `is_busy`. `tasks`, which end later, watch the time
    of its connections. Raises OSError or UnicodeError when the address cannot be had."""
    server = HttpServer(dispatcher, limits or HttpLimits(), policy or OriginPolicy(), hub, is_busy)
    await server.listen(host, port)
    tasks.start_restartable(f"time limits of connections to port {server.address[1]}", server.guard.watch)
    try:
        yield server
    finally:
        await server.close()


async def _gather(parts: AsyncGenerator[bytes, None]) -> tuple[bytes, bool]:
    """The parts in one, and whether they are all; not all when they reach CHUNK_BYTES."""
    gathered: list[bytes] = []
    size = 0
    async for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            return b"".join(gathered), False
    return b"".join(gathered), True


async def _stream(
    request: web.BaseRequest, connection: Connection, first: bytes, parts: AsyncGenerator[bytes, None]
) -> bool:
    """Send a long answer as it comes; the client's pace bounds the memory. Whether the connection stays open."""
    if request.version == HttpVersion10:  # knows no chunks: the end is that of the connection
        await connection.send(b"".join((OK, CORS, JSON, b"connection: close\r\n\r\n", first)))
        async for part in parts:
            await connection.send(part)
        return False
    is_kept = _is_kept(request)
    await connection.send(b"".join((CHUNKED, _keep(request, is_kept=is_kept), b"\r\n", chunk(first))))
    async for part in parts:
        await connection.send(chunk(part))
    await connection.send(b"0\r\n\r\n")
    return is_kept


def _is_kept(request: web.BaseRequest) -> bool:
    """Whether the client may send another request. Behind the offer of another protocol nothing would be read."""
    offer = request.headers.get(UPGRADE)
    return request.keep_alive and (offer is None or offer.lower() == "websocket")


def _keep(request: web.BaseRequest, *, is_kept: bool) -> bytes:
    """What the answer says about the connection's future."""
    if not is_kept:
        return b"connection: close\r\n"
    return b"connection: keep-alive\r\n" if request.version == HttpVersion10 else b""
