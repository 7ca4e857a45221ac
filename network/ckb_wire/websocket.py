"""WebSocket (RFC 6455) as a way to carry the wire's stream: it is all binary messages, one after another.

Messages are handed on as they come in, so their lengths cost no memory. Text is ignored, pings are answered, extensions
(with them compression) are never agreed on. Without I/O, and by wsproto, which draws keys and masks from the system.
"""

from __future__ import annotations

from typing import Final

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, RejectConnection, Request
from wsproto.utilities import RemoteProtocolError

from network.ckb_wire.forwarded import Forwarded, ip_address, port_number

__all__ = ["MAX_FORWARDED", "MAX_HEAD", "WebSocketClient", "WebSocketError", "WebSocketServer"]

HEAD_END: Final = b"\r\n\r\n"
MAX_HEAD: Final = 8192
"""Bytes of a request or response; common servers of HTTP take as much."""
MAX_FORWARDED: Final = 4096
"""How far into a request the address of the proxy's client is looked for."""
MAX_EARLY: Final = 8192
"""Bytes behind request or response in one piece: the other end has to wait for an answer after its first message."""
SMALL_FRAME: Final = 32
"""Bytes of the smallest sealed frame of secio: who sends smaller pieces than that sends more work than bytes."""
MAX_SMALL_FRAMES: Final = 1024
"""Frames that are small, or carry nothing of the stream, at once; each other frame allows one more."""
MAX_MESSAGE: Final = 1 << 20
"""Bytes of a message that is sent. The reference's library takes frames up to 16 MiB."""


class WebSocketError(Exception):
    """The other end does not speak WebSocket as it should: the connection is over. What `data_to_send` gives tells
    the other end so, and may be sent before the connection is closed."""


class _WebSocket:
    """What both ends have in common."""

    def __init__(self, role: ConnectionType) -> None:
        self._protocol: Final = WSConnection(role)
        self._head = bytearray()
        self._to_send = b""
        self._is_open = self._is_closed = False
        self._small_frames_left = MAX_SMALL_FRAMES
        self.frames_read = 0

    @property
    def is_open(self) -> bool:
        """The upgrade is done; `send` may be called. It stays so when the other end closes."""
        return self._is_open

    @property
    def is_closed(self) -> bool:
        """The other end has ended the stream: what is to be sent is sent, then the connection is closed."""
        return self._is_closed

    def data_to_send(self) -> bytes:
        """What is to be written now; b"" is nothing."""
        data, self._to_send = self._to_send, b""
        return data

    def receive(self, data: bytes | bytearray | memoryview) -> bytes:
        """Bytes of the connection, cut anywhere; gives those of the stream. WebSocketError."""
        if self._is_closed:
            return b""
        if self._is_open:
            return self._receive_messages(bytes(data))
        rest = self._receive_head(data)
        if len(rest) > MAX_EARLY:
            raise WebSocketError(f"{len(rest)} bytes before the answer could be there")
        return self._receive_messages(rest) if rest else b""

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Queues bytes of the stream. After the end of the stream nothing is sent."""
        if not self._is_open:
            raise RuntimeError("the upgrade is not done")
        if self._protocol.state is not ConnectionState.OPEN:
            return
        view = memoryview(data)
        messages = (view[at : at + MAX_MESSAGE] for at in range(0, len(view), MAX_MESSAGE))
        self._to_send += b"".join(self._protocol.send(BytesMessage(bytes(message))) for message in messages)

    def close(self) -> None:
        """Queues the end of the stream."""
        if self._is_open and self._protocol.state is ConnectionState.OPEN:
            self._to_send += self._protocol.send(CloseConnection(code=1000))

    def _receive_head(self, data: bytes | bytearray | memoryview) -> bytes:
        """Collects request or response, and gives what is behind it."""
        held = len(self._head)
        taken = data[: MAX_HEAD - held]
        self._head += taken
        end = self._head.find(HEAD_END, max(0, held - len(HEAD_END) + 1))
        if end < 0:
            if len(self._head) >= MAX_HEAD:
                raise WebSocketError(f"more than {MAX_HEAD} bytes of HTTP")
            return b""
        size = end + len(HEAD_END)
        head, rest = bytes(self._head[:size]), bytes(self._head[size:]) + bytes(data[len(taken) :])
        self._head.clear()
        self._accept_head(head)
        self._is_open = True
        return rest

    def _accept_head(self, head: bytes) -> None:
        raise NotImplementedError

    def _feed_head(self, head: bytes) -> None:
        try:
            self._protocol.receive_data(head)
        except RemoteProtocolError as error:
            if isinstance(error.event_hint, RejectConnection) and not self._protocol.client:
                self._to_send += self._protocol.send(error.event_hint)
            raise WebSocketError(f"no upgrade to WebSocket: {error}") from None
        except UnicodeError:
            raise WebSocketError("no upgrade to WebSocket: a header that is not ASCII") from None

    def _receive_messages(self, data: bytes) -> bytes:
        self._protocol.receive_data(data)
        chunks = []
        ping = None
        for event in self._protocol.events():
            self._count(event)
            if isinstance(event, BytesMessage):
                chunks.append(event.data)
            elif isinstance(event, Ping):
                ping = event  # the last one alone need be answered (RFC 6455, 5.5.3), so a flood is not echoed
            elif isinstance(event, CloseConnection):
                self._accept_close(event)
        if ping and self._protocol.state is ConnectionState.OPEN:
            self._to_send += self._protocol.send(ping.response())
        return b"".join(chunks)

    def _count(self, event: Event) -> None:
        """A frame costs as much time as kilobytes of data. WebSocketError when too many carry next to nothing."""
        self.frames_read += 1
        if isinstance(event, BytesMessage) and len(event.data) >= SMALL_FRAME:
            self._small_frames_left = min(MAX_SMALL_FRAMES, self._small_frames_left + 1)
            return
        self._small_frames_left -= 1
        if self._small_frames_left < 0:
            raise WebSocketError("too many frames that carry nothing")

    def _accept_close(self, event: CloseConnection) -> None:
        state = self._protocol.state
        self._is_closed = True
        if state is ConnectionState.REMOTE_CLOSING:
            self._to_send += self._protocol.send(event.response())
        elif state is not ConnectionState.CLOSED:  # not the other end's message: wsproto's judgement of its bytes
            if state is ConnectionState.OPEN:
                self._to_send += self._protocol.send(CloseConnection(code=event.code))
            raise WebSocketError(f"a broken frame: {event.reason}")


class WebSocketServer(_WebSocket):
    """The end that was connected to."""

    def __init__(self) -> None:
        super().__init__(ConnectionType.SERVER)
        self._forwarded: Forwarded | None = None

    @property
    def forwarded(self) -> Forwarded | None:
        """Whose connection a proxy says that it forwards, once `is_open`. To be believed of trusted proxies only, which
        must set the header themselves: one that a client brings along names whom it likes."""
        return self._forwarded

    def _accept_head(self, head: bytes) -> None:
        self._feed_head(head)
        if not any(isinstance(event, Request) for event in self._protocol.events()):
            raise WebSocketError("no upgrade to WebSocket: no request")
        self._to_send += self._protocol.send(AcceptConnection())
        self._forwarded = _forwarded_in(head)


class WebSocketClient(_WebSocket):
    """The end that connects. `host` is what is dialled: `192.0.2.8:8115`, `[2001:db8::8]:8115`, `node.example:8115`."""

    def __init__(self, host: str) -> None:
        super().__init__(ConnectionType.CLIENT)
        self._to_send += self._protocol.send(Request(host=host, target="/"))

    def _accept_head(self, head: bytes) -> None:
        self._feed_head(head)
        for event in self._protocol.events():
            if isinstance(event, AcceptConnection):
                return
            if isinstance(event, RejectConnection):
                raise WebSocketError(f"the upgrade to WebSocket is refused: HTTP {event.status_code}")
        raise WebSocketError("no upgrade to WebSocket: no response")


def _forwarded_in(head: bytes) -> Forwarded | None:
    """The first address of `X-Forwarded-For`, and `X-Forwarded-Port`. What is no address or port is not there."""
    address, port = None, None
    *lines, _ = head[:MAX_FORWARDED].split(b"\r\n")
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        text = value.split(b",")[0].strip().decode("latin-1")
        match name.lower():
            case b"x-forwarded-for":
                address = ip_address(text)
            case b"x-forwarded-port":
                port = port_number(text)
    return Forwarded(address, port) if address else None
