"""One connection of the CKB wire, from its handshake to whole messages of its protocols: secio, yamux, select, frames.

Sans I/O: bytes and times come in, events and bytes go out. The owner writes what `data_to_send` gives after each call,
and calls `advance` when `next_deadline` has come. After the event Ended nothing more happens; all calls are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from network.ckb_wire.events import Ended, EndReason, Established, Event
from network.ckb_wire.protocol_streams import ProtocolStreams, WrongAnswer
from network.ckb_wire.records import RecordReader
from network.ckb_wire.secio.errors import HandshakeError, HandshakeFault, SecioError
from network.ckb_wire.yamux import GoAwayCode, YamuxError, YamuxLimits
from network.ckb_wire.yamux.stream import Buffer
from network.framing import FrameTooLarge
from network.limits import ProtocolSpec
from network.peer import Direction, Wire

__all__ = ["MAX_SEND_BUFFER", "Channel", "Handshake", "WireConnection", "WireLimits"]

MAX_RECORD: Final = 8 << 20
"""Bytes of a sealed frame, tag included. The reference sends 1 MiB and a little at most, but accepts this."""
SEALED_TOGETHER: Final = 1 << 20
"""Bytes of frames that are sealed into one buffer: memory is dear that is asked for in many pieces of this kind."""
SEALED_ALONE: Final = 4096
MAX_SEND_BUFFER: Final = 24 << 20
"""Bytes that may wait for a peer, as in the reference."""


class Channel(Protocol):
    """Both directions of a connection after the handshake; `secio.SecureChannel`."""

    @property
    def remote_public_key(self) -> bytes: ...

    @property
    def frame_overhead(self) -> int:
        """Bytes that a frame has more than its plaintext."""

    def seal(self, plaintext: Buffer) -> bytes:
        """A whole frame, with its length."""

    def seal_into(self, plaintext: Buffer, out: memoryview) -> int:
        """Writes a whole frame to the beginning of `out`; gives its size."""

    def open(self, frame: memoryview) -> bytes:
        """The plaintext of a frame without its length. Raises SecioError."""


class Handshake(Protocol):
    """What proves the keys; `secio.SecioHandshake`."""

    def data_to_send(self) -> bytes: ...

    def receive(self, data: memoryview) -> None:
        """Raises HandshakeError."""

    @property
    def is_done(self) -> bool: ...

    def channel(self) -> Channel: ...

    def early_data(self) -> bytes:
        """Plaintext that came in the handshake's last frame; goes before `rest`."""

    def rest(self) -> bytes:
        """What came behind the handshake."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Times in seconds, sizes in bytes; all but `close_timeout` are the reference's. Onion services need 120 s where it
    says 5."""

    handshake_timeout: float = 5
    select_timeout: float = 5
    idle_timeout: float = 5
    """For how long no protocol may be open."""
    close_timeout: float = 1
    """For how long the peer may take to answer that it closes, too."""
    max_queued: int = MAX_SEND_BUFFER
    yamux: YamuxLimits = field(default_factory=YamuxLimits)


def sealed(channel: Channel, plaintexts: Sequence[Buffer]) -> list[bytes | bytearray]:
    """The frames of these plaintexts, short ones each in a buffer of its own, others many in one."""
    data, group, size = list[bytes | bytearray](), list[Buffer](), 0
    for plaintext in plaintexts:
        group.append(plaintext)
        size += len(plaintext) + channel.frame_overhead
        if size >= SEALED_TOGETHER:
            data.append(_sealed_together(channel, group, size))
            group, size = [], 0
    if size > SEALED_ALONE:
        data.append(_sealed_together(channel, group, size))
    else:
        data += [channel.seal(plaintext) for plaintext in group]
    return data


def _sealed_together(channel: Channel, plaintexts: Sequence[Buffer], size: int) -> bytearray:
    out = bytearray(size)
    view, at = memoryview(out), 0
    for plaintext in plaintexts:
        at += channel.seal_into(plaintext, view[at:])
    return out


class WireConnection:
    """One side of a connection. All times are of the same steady clock, in seconds."""

    __slots__ = (
        "_channel",
        "_closing_until",
        "_deadline",
        "_direction",
        "_events",
        "_handshake",
        "_has_ended",
        "_limits",
        "_now",
        "_protocols",
        "_records",
        "_streams",
        "_unsent",
    )

    def __init__(
        self,
        handshake: Handshake,
        direction: Direction,
        protocols: Sequence[ProtocolSpec],
        *,
        now: float,
        limits: WireLimits | None = None,
    ) -> None:
        """`protocols` are those that the peer may open."""
        self._limits: Final = limits or WireLimits()
        self._direction: Final = direction
        self._protocols: Final = protocols
        self._now = now
        self._events: Final = list[Event]()
        self._handshake: Handshake | None = handshake
        self._deadline = now + self._limits.handshake_timeout
        """Of the handshake."""
        self._unsent = b""
        """The end of the handshake."""
        self._channel: Channel | None = None
        self._streams: ProtocolStreams | None = None
        self._records: Final = RecordReader(MAX_RECORD)
        self._closing_until: float | None = None
        self._has_ended = False

    @property
    def wire(self) -> Wire:
        return Wire.CKB

    # --- what comes in ---

    def receive(self, data: memoryview, now: float) -> list[Event]:
        """Bytes from the peer; `data` is not kept. When `is_behind` is true then, `proceed` gives the next events."""
        self._now = now
        if not self._has_ended:
            self._guarded(lambda: self._receive(data))
        return self._drain()

    def _guarded(self, read: Callable[[], None]) -> None:
        """What the peer does wrong ends the connection."""
        try:
            read()
        except HandshakeError as error:
            self._end(EndReason.HANDSHAKE_FAILED, error.detail, error.fault)
        except (SecioError, FrameTooLarge) as error:
            self._end(EndReason.VIOLATION, f"secio: {error}")
        except YamuxError as error:
            self._break_off(EndReason.VIOLATION, f"yamux: {error}")
        except WrongAnswer as error:
            self._break_off(EndReason.SELECT_VIOLATION, str(error))

    def _receive(self, data: memoryview) -> None:
        if self._handshake is not None:
            data = self._shake_hands(self._handshake, data)
        if self._channel is not None and self._streams is not None:
            self._open_records(self._channel, self._streams, data)

    def _shake_hands(self, handshake: Handshake, data: memoryview) -> memoryview:
        """Gives what is behind the handshake."""
        handshake.receive(data)
        if not handshake.is_done:
            return memoryview(b"")
        self._unsent += handshake.data_to_send()
        self._channel = channel = handshake.channel()
        self._handshake = None
        self._streams = streams = ProtocolStreams(
            self._protocols,
            self._events,
            is_dialer=self._direction is Direction.OUTBOUND,
            select_timeout=self._limits.select_timeout,
            limits=self._limits.yamux,
            now=self._now,
        )
        self._events.append(Established(channel.remote_public_key))
        self._read(streams, handshake.early_data())
        return memoryview(handshake.rest())

    def _open_records(self, channel: Channel, streams: ProtocolStreams, data: memoryview) -> None:
        for record in self._records.feed(data):
            if self._has_ended:
                return
            self._read(streams, channel.open(record))

    def _read(self, streams: ProtocolStreams, plaintext: bytes) -> None:
        streams.receive(plaintext, self._now)
        self._look_for_goodbye(streams)

    def _look_for_goodbye(self, streams: ProtocolStreams) -> None:
        """What the peer has said before it said goodbye is handed on first, in as many turns as that takes."""
        code = streams.session.remote_code
        if code is None or (streams.is_behind and self._closing_until is None):
            return
        streams.session.go_away(GoAwayCode.NORMAL)
        if self._closing_until is not None:
            self._end(EndReason.CLOSED)
        else:
            self._end(EndReason.PEER_CLOSED, f"with code {code}")

    @property
    def is_behind(self) -> bool:
        """Messages or frames wait until `proceed`: nothing more should be received before."""
        return self._streams is not None and not self._has_ended and self._streams.is_behind

    def limit_events(self, most: int) -> None:
        """So many events at once from now on; 512 by default."""
        if self._streams is not None:
            self._streams.max_events = most

    def proceed(self, now: float) -> list[Event]:
        """The next events of what was received, see `limit_events`."""
        self._now = now
        if self._streams is not None and not self._has_ended:
            streams = self._streams
            self._guarded(lambda: self._proceed(streams))
        return self._drain()

    def _proceed(self, streams: ProtocolStreams) -> None:
        streams.proceed(self._now)
        self._look_for_goodbye(streams)

    @property
    def work_done(self) -> tuple[int, int]:
        """Frames of yamux that were read, and bytes of messages that came of it, since the beginning: what a peer
        costs besides its bytes."""
        streams = self._streams
        return (0, 0) if streams is None else (streams.session.frames_read, streams.delivered)

    def end_of_stream(self, now: float) -> list[Event]:
        """The peer sends nothing more."""
        self._now = now
        if not self._has_ended:
            if self._closing_until is not None:
                self._end(EndReason.CLOSED)
            else:
                self._end(EndReason.END_OF_STREAM, "" if self._handshake is None else "during the handshake")
        return self._drain()

    # --- what the owner does ---

    def open(self, protocol: ProtocolSpec, now: float) -> None:
        """Ask the peer for a protocol, unless it is open or asked for; Opened or Refused follows."""
        self._now = now
        if self._is_usable and self._streams is not None:
            self._streams.open(protocol, now)

    def version_of(self, protocol: ProtocolSpec) -> str | None:
        """None when the protocol is not open."""
        return self._streams.version_of(protocol) if self._is_usable and self._streams is not None else None

    def send(self, protocol: ProtocolSpec, payload: bytes, now: float) -> bool:
        """Queue a message; False when the protocol is not open. Raises MessageTooLarge. When more waits than may, the
        connection ends."""
        self._now = now
        if not self._is_usable or self._streams is None:
            return False
        is_open = self._streams.send(protocol, payload, now)
        queued = self._streams.session.queued_bytes
        if queued > self._limits.max_queued:
            self._end(EndReason.SEND_QUEUE_FULL, f"{queued} bytes, of at most {self._limits.max_queued}")
        return is_open

    def close_protocol(self, protocol: ProtocolSpec, now: float) -> None:
        """Send what the window allows, and close one protocol. There is no event of it."""
        self._now = now
        if self._is_usable and self._streams is not None:
            self._streams.close(protocol, now)

    def hold(self, protocol: ProtocolSpec) -> None:
        """No messages of one protocol until `release`; the peer may go on to send what its window allows."""
        if self._is_usable and self._streams is not None:
            self._streams.hold(protocol)

    def release(self, protocol: ProtocolSpec, now: float) -> list[Event]:
        """Messages come again; first those that came meanwhile."""
        self._now = now
        if self._is_usable and self._streams is not None:
            self._streams.release(protocol, now)
        return self._drain()

    def close(self, now: float) -> None:
        """Send what the windows allow and that we close. Ended follows when the peer has answered, or after a while."""
        self._now = now
        if self._has_ended or self._closing_until is not None:
            return
        if self._streams is None:
            self._end(EndReason.CLOSED, "during the handshake")
            return
        self._streams.session.go_away(GoAwayCode.NORMAL)
        self._closing_until = now + self._limits.close_timeout

    # --- what goes out ---

    def data_to_send(self) -> list[bytes | bytearray]:
        """What is to be written now, in order; never changed afterwards."""
        if self._handshake is not None:
            data = self._handshake.data_to_send()
            return [data] if data else []
        if self._channel is None or self._streams is None:
            return []
        frames = sealed(self._channel, self._streams.session.data_to_send())
        if self._unsent:
            frames.insert(0, self._unsent)
            self._unsent = b""
        return frames

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that wait in here."""
        return self._streams.session.queued_bytes if self._streams is not None else 0

    @property
    def held_bytes(self) -> int:
        """Bytes that came and are not complete messages yet, or are on hold."""
        return self._records.held_bytes + (self._streams.held_bytes if self._streams is not None else 0)

    # --- time ---

    def next_deadline(self) -> float | None:
        """When `advance` has something to do; it may be past. None: never again."""
        if self._events:
            return self._now
        if self._has_ended:
            return None
        if self._closing_until is not None:
            return self._closing_until
        if self._streams is None:
            return self._deadline
        streams = self._streams
        deadline = streams.session.next_ping
        if streams.idle_since is not None:
            deadline = min(deadline, streams.idle_since + self._limits.idle_timeout)
        for other in (streams.select_deadline, streams.session.stall_deadline):
            if other is not None and other < deadline:
                deadline = other
        return deadline

    def advance(self, now: float) -> list[Event]:
        """Do what time demands."""
        self._now = now
        if self._has_ended:
            return self._drain()
        if self._closing_until is not None:
            if now >= self._closing_until:
                self._end(EndReason.CLOSED)
        elif self._streams is None:
            if now >= self._deadline:
                self._end(EndReason.HANDSHAKE_TIMEOUT, f"after {self._limits.handshake_timeout:g} s")
        else:
            self._advance_streams(self._streams, now)
        return self._drain()

    def _advance_streams(self, streams: ProtocolStreams, now: float) -> None:
        streams.advance(now)
        if streams.idle_since is not None and now >= streams.idle_since + self._limits.idle_timeout:
            self._break_off(EndReason.IDLE, "no protocol is open", GoAwayCode.NORMAL)
            return
        stall_deadline = streams.session.stall_deadline
        if stall_deadline is not None and now >= stall_deadline:
            self._break_off(EndReason.SEND_STALLED, f"for {self._limits.yamux.send_stall:g} s", GoAwayCode.NORMAL)
        elif not streams.session.advance(now):
            self._break_off(EndReason.PING_TIMEOUT, "", GoAwayCode.NORMAL)

    # --- the end ---

    @property
    def _is_usable(self) -> bool:
        return not self._has_ended and self._closing_until is None

    def _break_off(self, reason: EndReason, detail: str, code: GoAwayCode = GoAwayCode.PROTOCOL_ERROR) -> None:
        """End, and tell the peer."""
        if self._streams is not None:
            self._streams.session.go_away(code)
        self._end(reason, detail)

    def _end(self, reason: EndReason, detail: str = "", fault: HandshakeFault | None = None) -> None:
        """End; only what was told the peer as the last is still sent."""
        self._has_ended = True
        self._handshake = None
        if self._streams is not None and not self._streams.session.is_closing:
            self._streams = self._channel = None
        self._events.append(Ended(reason, detail, fault))

    def _drain(self) -> list[Event]:
        events = self._events[:]
        self._events.clear()
        return events
