"""What clients may take of the HTTP server: connections, bytes and time. All bounds are in `HttpLimits`.

`Connection` is aiohttp's protocol with an eye on what its client keeps it waiting for. When room runs out, the client
that has kept the server waiting longest gives way, never the one that just came.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import LineTooLong

from ckb_node.rpc.http_answers import refusal
from ckb_node.rpc.turns import Turns
from ckb_node.runtime.client import client_of, site_of

log = structlog.get_logger("rpc")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the server. Sizes in bytes, times in seconds."""

    body_bytes: int = 10 << 20
    head_bytes: int = 16 << 10
    connections: int = 1000
    connections_per_address: int = 500
    """Of one IPv4 address, or of one IPv6 network of 64 bits."""
    held_bytes: int = 64 << 20
    """Requests of all connections that are held in memory, beyond `FREE_BYTES` of each."""
    unsent_bytes: int = 128 << 20
    """Answers that clients do not take."""
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""
    request_seconds: float = 60.0
    """From the end of the headers to the last byte of the body."""
    idle_seconds: float = 75.0
    """Between requests."""
    answer_seconds: float = 60.0
    """To work out the first part of an answer."""
    write_seconds: float = 60.0
    """A client that takes nothing for so long is gone."""
    closing_seconds: float = 1.0
    """For answers on the way when the server is closed."""


FREE_BYTES: Final = 64 << 10
"""What each connection may have sent without being counted, so that small requests always get in."""

LINGER_SECONDS: Final = 2.0
"""What a client sends after a refusal is read and thrown away for so long: it would see a reset, not the refusal."""

LINGER_HEAD_BYTES: Final = 256 << 10
"""How much of it, when it is no body that is refused."""

HALF_CLOSED_SECONDS: Final = 0.5
"""A client that closed its side may wait for its answer so long. One that is gone looks the same."""

PIPELINED: Final = 4
"""Requests of a connection that are read ahead."""

READ_BYTES: Final = 16 << 10
"""That are read of a connection before others have their turn."""

HASTY_S: Final = 0.005
HASTY_PER_ROUND: Final = 8
"""Clients that ask again within HASTY_S of an answer wait for each other: so many begin in a round of the event loop.
All others pass them."""

_HEADER_BYTES = 8 << 10
_HEADERS = 64
_BUFFER_BYTES = 1 << 10
"""Of a body in chunks so many bytes, and a sixteenth as many chunks, are taken apart before others have their turn."""
_LOOKED_AT = 64
_WATCH_SECONDS = 0.5
_MANY_HEADERS = "Too many headers received"

_OFFER = re.compile(rb"(?i)\r\nupgrade:(?![ \t]*websocket[ \t]*\r\n)")
_IGNORED = b"\r\nx-grade:"
"""As long as the name that it replaces."""

_SETTINGS: Final[dict[str, Any]] = {
    "access_log": None,
    "auto_decompress": False,
    "lingering_time": 0.0,
    "max_field_size": _HEADER_BYTES,
    "max_headers": _HEADERS,
    "max_line_size": _HEADER_BYTES,
    "read_bufsize": _BUFFER_BYTES,
    "tcp_keepalive": False,  # silent connections are dropped long before
}


class Phase(Enum):
    """What a connection waits for."""

    IDLE = "a request"
    HEAD = "the rest of the headers"
    BODY = "the rest of the body"
    ANSWER = "the node"
    LEAVING = "its end"


class Guard:
    """The connections of a server, and what they hold."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits: Final = limits
        self.loop: Final = asyncio.get_running_loop()
        self.connections: Final[set[Connection]] = set()
        self.held_bytes = 0
        self.is_closing = False
        self.turns: Final = Turns(self.loop, HASTY_PER_ROUND)
        self.buffer: Final = memoryview(bytearray(READ_BYTES))
        self._of_address: Final[Counter[str]] = Counter()
        self.waiting: Final[dict[Connection, None]] = {}
        """Those that wait for their client, the longest first."""
        self._unread: Final[dict[Connection, None]] = {}
        """Those whose client does not take its answer, the longest first."""

    def admit(self, connection: Connection) -> bool:
        """Take a new connection; at a bound the place of another. False when there is none to give way."""
        crowded = None
        if self._of_address[connection.client] >= self.limits.connections_per_address:
            crowded = connection.client
        if crowded is not None or len(self.connections) >= self.limits.connections or self.is_closing:
            victim = None if self.is_closing else self._longest_waiting(crowded)
            if victim is None:
                return False
            victim.drop()
        self.connections.add(connection)
        self._of_address[connection.client] += 1
        self.waiting[connection] = None
        return True

    def _longest_waiting(self, client: str | None) -> Connection | None:
        """Of an address; or of those that wait longest one whose address has most connections. Before any that has
        asked something before, one that never did: clients that keep their connection outlast those that only fill
        the server."""
        of_client = (each for each in self.waiting if each.client == client)
        those = islice(self.waiting, _LOOKED_AT) if client is None else of_client
        return min(those, key=lambda each: (-self._of_address[each.client], each.has_asked), default=None)

    def leave(self, connection: Connection) -> None:
        """A connection is lost or dropped."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self._of_address[connection.client] -= 1
        if not self._of_address[connection.client]:
            del self._of_address[connection.client]
        self.waiting.pop(connection, None)
        self._unread.pop(connection, None)
        self.hold(connection, 0)

    def hold(self, connection: Connection, size: int) -> None:
        """Count what a connection holds beyond FREE_BYTES. Too much in all: the one that sends longest gives way."""
        self.held_bytes += size - connection.counted
        connection.counted = size
        while self.held_bytes > self.limits.held_bytes:
            victim = next((each for each in self.waiting if each.counted), connection)
            if victim is connection:
                connection.refuse(503)
                return
            victim.drop()

    def unread(self, connection: Connection) -> None:
        """A client does not take its answer. Too much unsent in all: the one that takes nothing longest gives way."""
        self._unread[connection] = None
        while len(self._unread) > 1 and sum(each.unsent for each in self._unread) > self.limits.unsent_bytes:
            next(iter(self._unread)).drop()

    def read_again(self, connection: Connection) -> None:
        """A client takes its answer."""
        self._unread.pop(connection, None)

    async def watch(self) -> None:
        """Disconnect connections whose time is up; runs until it is cancelled."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            now = self.loop.time()
            for connection in list(self.connections):
                if now >= connection.deadline:
                    connection.end_wait()
            for connection in list(self._unread):
                connection.check_progress(now)

    async def close(self) -> None:
        """Admit no more connections; answers on the way have `closing_seconds`, then all are dropped."""
        self.is_closing = True
        for connection in list(self.waiting):
            connection.drop()
        tasks = [each.task for each in self.connections if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.closing_seconds)
        for connection in list(self.connections):
            connection.drop()
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.closing_seconds)


class Connection(web.RequestHandler, asyncio.BufferedProtocol):
    """One client."""

    __slots__ = (
        "_answered_at",
        "_guard",
        "_has_ended",
        "_is_ahead",
        "_is_sending",
        "_left_over",
        "_received",
        "_taken_deadline",
        "_unsent_before",
        "_wire",
        "client",
        "counted",
        "deadline",
        "is_late",
        "phase",
        "sharer",
        "task",
    )

    def __init__(self, guard: Guard, manager: web.Server) -> None:
        super().__init__(manager, loop=guard.loop, **_SETTINGS)
        # The base class reads 32 requests ahead, whose headers and bodies are not counted.
        self._parser = HttpRequestParser(
            self,
            guard.loop,
            _BUFFER_BYTES,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_HEADERS,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=PIPELINED,
        )
        self._max_msg_queue_size, self._msg_queue_resume_size = PIPELINED, PIPELINED // 2
        self._guard = guard
        self._wire: asyncio.Transport | None = None
        self.client = self.sharer = ""
        """The keys by which connections, and the node's work, are shared out."""
        self.task: asyncio.Task[Any] | None = None
        self.counted = 0
        self._received = self._left_over = 0
        self.phase = Phase.IDLE
        self.deadline = guard.loop.time() + guard.limits.idle_seconds
        self._taken_deadline, self._unsent_before, self._answered_at = 0.0, 0, 0.0
        self._is_ahead = self._is_sending = self._has_ended = self.is_late = False

    # ------------------------------------------------------------ from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._wire = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.client, self.sharer = site_of(host), client_of(host, port)
        if self._guard.admit(self):
            super().connection_made(transport)
        else:
            self.close()
            transport.write(refusal(503))
            transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._guard.leave(self)
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: into one place for all, since they are copied at once."""
        return self._guard.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came. asyncio by itself would read 256 KiB at a time of each connection before it looks at others."""
        self.data_received(bytes(self._guard.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        if self._close:
            self._left_over -= len(data)
            if self._left_over < 0 and self._wire is not None:
                self._wire.pause_reading()  # and dropped when its time is up: sooner, it would come again sooner
            return
        if not data:
            super().data_received(data)
            return
        if self.phase is Phase.IDLE:
            self._wait_for(Phase.HEAD, self._guard.limits.head_seconds)
            data = _without_offer(data)
        self._received += len(data)
        if self._received > FREE_BYTES:
            self._guard.hold(self, self._received - FREE_BYTES)
        before = self._request_count
        super().data_received(data)
        if self.phase is Phase.ANSWER:
            # What comes ahead of its turn stays in the client.
            self._is_ahead = True
            self._pause_transport_reading()
        elif self.phase is Phase.HEAD:
            if self._request_count != before:
                self._wait_for(Phase.BODY, self._guard.limits.request_seconds)
            elif self._received > self._guard.limits.head_bytes:
                self.refuse(431)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client closed its side: it waits for its answer, or is gone."""
        if self._close or self.phase in (Phase.IDLE, Phase.HEAD):
            return False
        self._has_ended = True
        self._loop.call_later(HALF_CLOSED_SECONDS, self._drop_unless_sending)
        return True

    def _drop_unless_sending(self) -> None:
        if not self._is_sending:
            self.drop()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken_deadline = self._loop.time() + self._guard.limits.write_seconds
        self._unsent_before = self.unsent
        self._guard.unread(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._guard.read_again(self)

    # ------------------------------------------------------------ from the handler

    async def begin(self) -> None:
        """A request's headers are here; return when it is its turn."""
        self.task = asyncio.current_task()
        self._is_sending = self.is_late = False
        self._wait_for(Phase.BODY, self._guard.limits.request_seconds)
        if self._loop.time() < self._answered_at + HASTY_S:
            await self._guard.turns.take()

    def work(self, seconds: float = math.inf) -> None:
        """A request is here whole: now its client waits for the node, for so long at most."""
        self.phase = Phase.ANSWER
        self.deadline = self._loop.time() + seconds
        self._guard.waiting.pop(self, None)

    def end(self) -> bool:
        """A request is answered; whether the client may send another."""
        self.task = None
        self._answered_at = self._loop.time()
        is_last = not self._messages
        self._received = 0 if is_last else min(self._received, FREE_BYTES)
        if self.counted:
            self._guard.hold(self, 0)
        if self._close:
            return False
        self._wait_for(Phase.IDLE if is_last else Phase.BODY, self._guard.limits.idle_seconds)
        if self._is_ahead:
            self._is_ahead = False
            if not self._buffer_paused and not self._reading_paused:
                self._resume_transport_reading()
        return not (self._has_ended and is_last)

    def _wait_for(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self.deadline = self._loop.time() + seconds
        waiting = self._guard.waiting
        waiting.pop(self, None)
        if self in self._guard.connections:
            waiting[self] = None

    async def send(self, data: bytes) -> None:
        """Hand bytes to the transport and wait while the client does not take them. ConnectionError when it is gone."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._is_sending = True
        self.transport.write(data)
        if self._paused:
            await self._drain_helper()

    # ------------------------------------------------------------ ends

    @property
    def has_asked(self) -> bool:
        """Whether a request of it was answered before."""
        return self._answered_at > 0

    @property
    def unsent(self) -> int:
        """Bytes of answers that the client has not taken."""
        return 0 if self._wire is None else self._wire.get_write_buffer_size()

    def check_progress(self, now: float) -> None:
        """Drop a client that has taken nothing of its answer for too long."""
        unsent = self.unsent
        if unsent < self._unsent_before:
            self._unsent_before = unsent
            self._taken_deadline = now + self._guard.limits.write_seconds
        elif now >= self._taken_deadline:
            self.drop()

    def refuse(self, status: int, text: str = "") -> None:
        """Say the last word; what the client still sends is read and dropped."""
        if self._close or self._wire is None or self._wire.is_closing():
            return
        self._wire.write(refusal(status, text))
        try:
            self._wire.write_eof()
        except OSError:  # the client has reset the connection meanwhile
            self.drop()
            return
        self._wire.resume_reading()
        self.close()
        self._left_over = LINGER_HEAD_BYTES if status in (400, 431) else 2 * self._guard.limits.body_bytes + (4 << 20)
        if self.counted:
            self._guard.hold(self, 0)
        self._wait_for(Phase.LEAVING, LINGER_SECONDS)

    def end_wait(self) -> None:
        """What it waits for does not come in time."""
        if self.phase is Phase.ANSWER and self.task is not None:
            self.is_late, self.deadline = True, math.inf
            self.task.cancel()
        else:
            self.drop()

    def drop(self) -> None:
        """Disconnect at once."""
        self._guard.leave(self)
        if self._wire is not None:
            self._wire.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What is no HTTP, and faults of handlers; the base class would log each."""
        if status == 400:
            self.refuse(431 if isinstance(exc, LineTooLong) or _MANY_HEADERS in (message or "") else 400)
            return Left()
        log.error("an RPC connection failed", exc_info=exc)
        if self._is_sending:
            self.drop()  # part of an answer is out, and must not look whole
        self.refuse(500)
        return Left()


class Left(web.StreamResponse):
    """Stands for an answer that was written and is the last one: waits for the client to leave."""

    async def prepare(self, request: web.BaseRequest) -> None:
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        await asyncio.sleep(LINGER_SECONDS)


def _without_offer(data: bytes) -> bytes:
    """A request that offers another protocol (HTTP/2: curl --http2, the JDK) is served by HTTP/1.1. The parser would
    throw away what comes behind it in the same piece, so it must not see the offer."""
    if b"pgrade" not in data and b"PGRADE" not in data:
        return data
    head, end, rest = data.partition(b"\r\n\r\n")
    return _OFFER.sub(_IGNORED, head + end) + rest
