"""Connections of the CKB wire without sockets: a handshake without secrets, and two ends joined in memory."""

from __future__ import annotations

from collections.abc import Sequence

from network.ckb_wire.connection import WireConnection, WireLimits
from network.ckb_wire.events import Event
from network.ckb_wire.secio.errors import HandshakeError, HandshakeFault, SecioError
from network.ckb_wire.yamux.stream import Buffer
from network.framing import LENGTH_SIZE, frame
from network.limits import ALL_PROTOCOLS, ProtocolSpec
from network.peer import Direction

KEY_SIZE = 33
FORGED = b"\xffgarbage"
"""A frame that does not open."""


class PlainChannel:
    """Frames as secio's, but readable: a length and the plaintext, which must not be FORGED."""

    frame_overhead = LENGTH_SIZE

    def __init__(self, remote_public_key: bytes) -> None:
        self.remote_public_key = remote_public_key

    def seal(self, plaintext: Buffer) -> bytes:
        return frame(bytes(plaintext))

    def seal_into(self, plaintext: Buffer, out: memoryview) -> int:
        sealed = self.seal(plaintext)
        out[: len(sealed)] = sealed
        return len(sealed)

    def open(self, frame: memoryview) -> bytes:
        plaintext = bytes(frame)
        if plaintext == FORGED:
            raise SecioError("a frame that does not open")
        return plaintext


class PlainHandshake:
    """Each side sends its key, and that is all."""

    def __init__(self, public_key: bytes) -> None:
        self._out = public_key
        self._in = b""

    def data_to_send(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def receive(self, data: memoryview) -> None:
        self._in += bytes(data)
        if self._in[:1] not in (b"", b"\x02", b"\x03"):
            raise HandshakeError(HandshakeFault.MALFORMED, "no key")

    @property
    def is_done(self) -> bool:
        return len(self._in) >= KEY_SIZE

    def channel(self) -> PlainChannel:
        return PlainChannel(self._in[:KEY_SIZE])

    def early_data(self) -> bytes:
        return b""

    def rest(self) -> bytes:
        return self._in[KEY_SIZE:]


DIALER_KEY = b"\x02" + bytes(32)
ACCEPTER_KEY = b"\x03" + bytes(32)


class End:
    """A connection, and what it has told so far."""

    def __init__(
        self,
        direction: Direction,
        protocols: Sequence[ProtocolSpec] = ALL_PROTOCOLS,
        limits: WireLimits | None = None,
        now: float = 0.0,
    ) -> None:
        key = DIALER_KEY if direction is Direction.OUTBOUND else ACCEPTER_KEY
        self.connection = WireConnection(PlainHandshake(key), direction, protocols, now=now, limits=limits)
        self.events: list[Event] = []

    def receive(self, data: bytes, now: float = 0.0) -> list[Event]:
        """Also adds to `events`."""
        events = self.connection.receive(memoryview(data), now)
        while self.connection.is_behind:
            events += self.connection.proceed(now)
        self.events += events
        return events

    def sent(self) -> bytes:
        """All that is to be sent."""
        return b"".join(self.connection.data_to_send())

    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self.events = self.events, []
        return events


class Pair:
    """Both ends of a connection."""

    def __init__(
        self,
        *,
        limits: WireLimits | None = None,
        protocols: Sequence[ProtocolSpec] = ALL_PROTOCOLS,
        step: int | None = None,
    ) -> None:
        """`protocols` are those of the accepter; with `step` so many bytes arrive at once."""
        self.dialer = End(Direction.OUTBOUND, limits=limits)
        self.accepter = End(Direction.INBOUND, protocols, limits)
        self.step = step
        self.now = 0.0

    def exchange(self) -> None:
        """Until both have nothing to send."""
        while self.carry(self.dialer, self.accepter) + self.carry(self.accepter, self.dialer):
            pass

    def carry(self, sender: End, receiver: End) -> int:
        """Bytes that went one way."""
        data = sender.sent()
        step = self.step or len(data) or 1
        for at in range(0, len(data), step):
            receiver.receive(data[at : at + step], self.now)
        return len(data)

    def open(self, *protocols: ProtocolSpec) -> None:
        """Shake hands and open protocols; forgets the events of it."""
        self.exchange()
        for protocol in protocols:
            self.dialer.connection.open(protocol, self.now)
        self.exchange()
        self.dialer.take()
        self.accepter.take()
