"""A connection of the HTTP server: aiohttp's protocol with an eye on what its client keeps it waiting for."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol

import structlog
from aiohttp import web
from aiohttp.hdrs import CONTENT_LENGTH
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from ckb_node.rpc.guard import FREE_BYTES, HASTY_S, Guard, HttpLimits, Phase, Unsent
from ckb_node.rpc.http_answers import refusal
from ckb_node.rpc.known_heads import KnownHead
from ckb_node.runtime.client import client_of, site_of

log = structlog.get_logger("rpc")

LINGER_SECONDS: Final = 2.0
"""What a client sends after a refusal is read and thrown away for so long: it would see a reset, not the refusal."""

LINGER_HEAD_BYTES: Final = 256 << 10
"""How much of it, when it is no body that is refused."""

HALF_CLOSED_SECONDS: Final = 0.5
"""A client that closed its side may wait for its answer so long. One that is gone looks the same."""

AT_ONCE_BYTES: Final = 1 << 10
"""Longest body of a request that may be answered as soon as it is read."""

_SHORT_SIZES: Final = frozenset(map(str, range(1, AT_ONCE_BYTES + 1)))

PIPELINED: Final = 4
"""Requests of a connection that are read ahead."""

_HEADER_BYTES = 8 << 10
_HEADERS = 64
_BUFFER_BYTES = 1 << 10
"""Of a body in chunks so many bytes, and a sixteenth as many chunks, are taken apart before others have their turn."""
_HEAD_END = b"\r\n\r\n"
_MANY_HEADERS = "Too many headers received"

_OFFER = re.compile(rb"(?i)\r\nupgrade:(?![ \t]*websocket[ \t]*\r\n)")
_IGNORED = b"\r\nx-grade:"
"""As long as the name that it replaces."""


class AtOnce(Protocol):
    """Answers requests that need no waiting."""

    def caller(self, message: RawRequestMessage) -> bool | None:
        """Whether a web page of another machine calls; None for a head that needs more than an answer to its body."""
        ...

    def answer(self, body: bytes, client: str, *, is_foreign: bool) -> bytes | None:
        """The whole answer to a body; None when it needs waiting."""
        ...


_SETTINGS: Final[dict[str, Any]] = {
    "access_log": None,
    "auto_decompress": False,
    "lingering_time": 0.0,
    "max_field_size": _HEADER_BYTES,
    "max_headers": _HEADERS,
    "max_line_size": _HEADER_BYTES,
    "read_bufsize": _BUFFER_BYTES,
    "keepalive_timeout": 1e9,  # the guard drops idle connections; the base class does not see all requests
    "tcp_keepalive": False,  # silent connections are dropped long before
}


class _Parser(HttpRequestParser):
    """Keeps what its connection answers at once from the base class, which would queue it for a task."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            connection,
            loop,
            _BUFFER_BYTES,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_HEADERS,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=PIPELINED,
        )
        self._connection: Final = connection

    def feed_data(  # type: ignore[override]  # the compiled one takes no more
        self, data: bytes
    ) -> tuple[Sequence[tuple[RawRequestMessage, Any]], bool, bytes]:
        messages, is_upgraded, tail = super().feed_data(data)
        if len(messages) == 1 and not is_upgraded and self._connection.answers_at_once(data, messages[0][0]):
            self.message_consumed()
            return (), False, tail
        return messages, is_upgraded, tail


class Connection(web.RequestHandler, asyncio.BufferedProtocol):
    """One client."""

    __slots__ = (
        "_answered_at",
        "_at_once",
        "_guard",
        "_has_ended",
        "_head",
        "_held",
        "_is_ahead",
        "_is_between",
        "_is_sending",
        "_left_over",
        "_received",
        "_wire",
        "client",
        "counted",
        "deadline",
        "is_late",
        "phase",
        "sharer",
        "task",
        "unsent",
    )

    def __init__(self, guard: Guard, manager: web.Server, at_once: AtOnce) -> None:
        super().__init__(manager, loop=guard.loop, **_SETTINGS)
        # The base class reads 32 requests ahead, whose headers and bodies are not counted.
        self._parser = _Parser(self, guard.loop)
        self._max_msg_queue_size, self._msg_queue_resume_size = PIPELINED, PIPELINED // 2
        self._guard, self._at_once = guard, at_once
        self.unsent = Unsent()
        self._wire: asyncio.Transport | None = None
        self.client = self.sharer = ""
        """The keys by which connections, and the node's work, are shared out."""
        self.task: asyncio.Task[Any] | None = None
        self.counted = 0
        self._received = self._left_over = 0
        self.phase = Phase.IDLE
        self.deadline = guard.loop.time() + guard.limits.idle_seconds
        self._answered_at = -math.inf
        self._is_ahead = self._is_sending = self._has_ended = self.is_late = False
        self._is_between = False
        """The last request was answered at once, and nothing came after it: the parser is where a request begins."""
        self._head = b""
        """Of a request whose body has not come."""
        self._held = b""
        """A request with a known head that waits for its turn."""

    # ------------------------------------------------------------ from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._wire = self.unsent.wire = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.client, self.sharer = site_of(host), client_of(host, port)
        if self._guard.admit(self):
            super().connection_made(transport)
        else:
            self.close()
            transport.write(refusal(503))
            transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._held = b""
        self._guard.leave(self)
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: into one place for all, since they are copied at once."""
        return self._guard.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came. asyncio by itself would read 256 KiB at a time of each connection before it looks at others."""
        data = bytes(self._guard.buffer[:nbytes])
        if self._held:
            self._parse(self._taken() + data)
            return
        if self._head:
            data, self._head, self.phase = self._head + data, b"", Phase.IDLE
        elif self.phase is Phase.IDLE and self._is_known_head(data):
            self._head = data
            self._wait_for(Phase.BODY, self._guard.limits.request_seconds)
            return
        if not (self._is_between and self._takes_known(data)):
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """What cannot be answered without."""
        self._is_between = False
        self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self._close:
            self._left_over -= len(data)
            if self._left_over < 0 and self._wire is not None:
                self._wire.pause_reading()  # and dropped when its time is up: sooner, it would come again sooner
            return
        if not data:
            super().data_received(data)
            return
        if self.phase is Phase.STREAM:
            self._received += len(data)
            self._hold_received()
            super().data_received(data)
        else:
            self._requests_received(data)

    def _requests_received(self, data: bytes) -> None:
        is_first = self.phase is Phase.IDLE
        if is_first:
            self.phase = Phase.HEAD
            data = _without_offer(data)
        self._received += len(data)
        self._hold_received()
        before = self._request_count
        super().data_received(data)
        if is_first and self.phase is Phase.HEAD:  # not answered at once
            self._wait_for(Phase.HEAD, self._guard.limits.head_seconds)
        if self.phase is Phase.ANSWER:
            # What comes ahead of its turn stays in the client.
            self._is_ahead = True
            self._pause_transport_reading()
        elif self.phase is Phase.HEAD:
            if self._request_count != before:
                self._wait_for(Phase.BODY, self._guard.limits.request_seconds)
            elif self._received > self._guard.limits.head_bytes:
                self.refuse(431)

    def _hold_received(self) -> None:
        if self._received > FREE_BYTES:
            self._guard.hold(self, self._received - FREE_BYTES)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client closed its side: it waits for its answer, or is gone."""
        if self._held:
            self._parse(self._taken())
        if self._close or self.phase in (Phase.IDLE, Phase.HEAD, Phase.STREAM):
            return False
        self._has_ended = True
        self._loop.call_later(HALF_CLOSED_SECONDS, self._drop_unless_sending)
        return True

    def _drop_unless_sending(self) -> None:
        if not self._is_sending:
            self.drop()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._guard.unread(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._guard.read_again(self)

    def answers_at_once(self, data: bytes, message: RawRequestMessage) -> bool:
        """Whether `data`, just received, is a whole request that needs no waiting; it is answered then. No task is
        made for it and none of the library's objects, which would take longer than the answer. A head that it has or is
        will be known."""
        head, end, body = data.partition(_HEAD_END)
        size = message.headers.get(CONTENT_LENGTH, "")
        if self.phase is not Phase.HEAD or self._received != len(data) or self._messages or head[:5] != b"POST ":
            return False
        is_whole = len(body) <= AT_ONCE_BYTES and size == str(len(body))
        if not is_whole and (body or size not in _SHORT_SIZES):
            return False
        is_foreign = self._at_once.caller(message)
        if is_foreign is None or (is_whole and not self._answers_whole(body, is_foreign=is_foreign)):
            return False
        self._guard.heads.note(head + end, KnownHead(int(size), is_foreign))
        if is_whole:
            self._received, self.phase, self._is_between = 0, Phase.IDLE, True
        return is_whole

    def _is_known_head(self, data: bytes) -> bool:
        """Whether a short body follows. Many clients send it by itself; it is taken together with its head."""
        known = self._guard.heads.get(data)
        return known is not None and known.body_bytes > 0

    def _takes_known(self, data: bytes) -> bool:
        """Whether the head of `data` need not be parsed, and its call needs no waiting; when it is this connection's
        turn, it is answered."""
        at = data.find(_HEAD_END) + len(_HEAD_END)
        known = self._guard.heads.get(data[:at])
        if known is None or len(data) - at != known.body_bytes or self._close or self.phase is not Phase.IDLE:
            return False
        if self._is_its_turn():
            return self._answers_body(data[at:], is_foreign=known.is_foreign)
        self._held = data
        self._guard.short_turns.wait(partial(self._begin_held, data, at, is_foreign=known.is_foreign))
        return True

    def _begin_held(self, data: bytes, at: int, *, is_foreign: bool) -> bool:
        """It is the turn of a request whose body is `at`; whether that still waits."""
        if self._held is not data:
            return False
        self._held = b""
        if self._close or self._wire is None or self._wire.is_closing():
            return False
        if not self._answers_body(data[at:], is_foreign=is_foreign):
            self._parse(data)
        return True

    @property
    def is_held(self) -> bool:
        """A short request waits for its turn."""
        return bool(self._held)

    def _taken(self) -> bytes:
        """The request that waits, which does no longer."""
        data, self._held = self._held, b""
        return data

    def _answers_whole(self, body: bytes, *, is_foreign: bool) -> bool:
        """Whether it is this connection's turn, and its request needs no waiting; it is answered then."""
        return self._is_its_turn() and self._answers_body(body, is_foreign=is_foreign)

    def _is_its_turn(self) -> bool:
        return self._loop.time() >= self._answered_at + HASTY_S or self._guard.short_turns.take_now()

    def _answers_body(self, body: bytes, *, is_foreign: bool) -> bool:
        """Whether a request needs no waiting; it is answered then."""
        if self._paused or self._wire is None:
            return False
        answer = self._at_once.answer(body, self.sharer, is_foreign=is_foreign)
        if answer is None:
            return False
        self._wire.write(answer)
        self._answered_at = now = self._loop.time()
        self.deadline = now + self._guard.limits.idle_seconds
        self._guard.await_client(self)
        return True

    # ------------------------------------------------------------ from the handler

    async def begin(self, *, is_large: bool) -> None:
        """A request's headers are here; return when it is its turn."""
        self.task = asyncio.current_task()
        self._is_sending = self.is_late = False
        self._wait_for(Phase.BODY, self._guard.limits.request_seconds)
        if self._loop.time() < self._answered_at + HASTY_S:
            await (self._guard.hasty_large_turns if is_large else self._guard.turns).take()

    def work(self, seconds: float = math.inf) -> None:
        """A request is here whole: now its client waits for the node, for so long at most."""
        self.phase = Phase.ANSWER
        self.deadline = self._loop.time() + seconds
        self._guard.attend(self)

    def stream(self, *, is_subscriber: bool) -> None:
        """It is a WebSocket, and all is answered. One that listens need not give way to others."""
        self.phase, self.task, self.deadline = Phase.STREAM, None, math.inf
        self._answered_at = self._loop.time()
        self._received = 0
        if self.counted:
            self._guard.hold(self, 0)
        if is_subscriber:
            self._guard.attend(self)
        else:
            self._guard.await_client(self)

    def attend(self) -> None:
        """A message of a WebSocket is here whole."""
        self.task = asyncio.current_task()
        self._guard.attend(self)

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
        self._guard.await_client(self)

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
    def limits(self) -> HttpLimits:
        """Those of its server."""
        return self._guard.limits

    @property
    def has_asked(self) -> bool:
        """Whether a request of it was answered before."""
        return self._answered_at > 0

    def refuse(self, status: int, text: str = "") -> None:
        """Say the last word; what the client still sends is read and dropped."""
        if self._close or self._wire is None or self._wire.is_closing():
            return
        if self.phase is Phase.STREAM:
            self.drop()  # no HTTP any more
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
