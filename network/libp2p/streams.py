"""One connection of the libp2p process as its session sees it: streams of protocols, cut into whole messages. No I/O.

Each protocol has one stream in both directions; the dialler opens it. On it messages stand behind their length (u32,
big endian). Both processes give each other credit for each stream, so that neither holds more than CREDIT bytes of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from network.ckb_wire.connection import MAX_SEND_BUFFER
from network.ckb_wire.events import (
    Ended,
    EndReason,
    Established,
    Event,
    ProtocolClosed,
    ProtocolFault,
    Received,
    Refusal,
)
from network.ckb_wire.events import Introduced as PeerIntroduced
from network.ckb_wire.events import Opened as ProtocolOpened
from network.ckb_wire.events import Refused as ProtocolRefused
from network.ckb_wire.messages import BrokenMessage, MessageReader, message_frame
from network.framing import Frames
from network.libp2p import messages as ipc
from network.libp2p.messages import (
    CREDIT,
    MAX_BODY,
    MAX_PIECE,
    OF_CONNECTION,
    Close,
    Closed,
    Connected,
    Credit,
    Data,
    Disconnect,
    Disconnected,
    Introduced,
    IpcError,
    OfConnection,
    Open,
    Opened,
    Refused,
)
from network.libp2p.names import key_of
from network.libp2p.protocols import STREAM_VERSION, flags_of, plain
from network.limits import MIB, ProtocolSpec
from network.peer import PeerIdentity, Wire

__all__ = ["StreamsConnection"]

IDLE: Final = 20.0
"""Seconds for which no protocol may be open."""
STALL: Final = 120.0
"""Seconds that a peer may take nothing of what waits for it."""
MAX_EVENTS: Final = 512
MAX_DELIVERED: Final = 4 * MIB
"""Bytes of messages after which a turn takes no other one."""
MAX_OPENINGS: Final = 4
"""How often a protocol may be opened on one connection: limits of a handler begin anew with each."""


class Stream:
    """A stream on which a protocol is open."""

    def __init__(self, number: int, spec: ProtocolSpec, reader: MessageReader) -> None:
        self.number, self.spec, self.framing, self.reader = number, spec, plain(spec), reader
        self.unread, self.at = b"", 0
        """What came and is not read, from `at` on."""
        self.used = 0
        """Bytes that were read and for which no credit was given yet."""
        self.is_held = False
        self.is_reset: bool | None = None
        """Not None: nothing more comes."""
        self.queue: Final = deque[memoryview]()
        self.queued = 0
        self.credit = CREDIT

    @property
    def unread_size(self) -> int:
        return len(self.unread) - self.at


class StreamsConnection:
    """Satisfies network.connection.Connection. Bytes that come are records: size and body of OfConnection; those that
    go are bodies of ToConnection, without a size."""

    def __init__(self, protocols: Sequence[ProtocolSpec], *, now: float, max_queued: int = MAX_SEND_BUFFER) -> None:
        """`protocols` are those that are spoken."""
        self._specs: Final = {spec.id: spec for spec in protocols}
        self._max_queued: Final = max_queued
        self._now = now
        self._frames: Final = Frames(MAX_BODY)
        self._events: Final = list[Event]()
        self._out: Final = list[bytes]()
        self._streams: Final = dict[int, Stream]()
        """By number."""
        self._open: Final = dict[int, Stream]()
        """By protocol."""
        self._asked: Final = set[int]()
        self._openings: Final = dict[int, int]()
        self._behind: Final = dict[int, Stream]()
        """Those that have more to read than there was room for events."""
        self._has_ended = False
        self._idle_since: float | None = now
        self._took_at = now
        """When the peer last took something, or nothing waited."""
        self._max_events = MAX_EVENTS
        self._records, self._delivered, self._delivered_before = 0, 0, 0
        self._queued = 0

    @property
    def wire(self) -> Wire:
        return Wire.LIBP2P

    # --- what comes in ---

    def receive(self, data: memoryview, now: float) -> list[Event]:
        """Raises IpcError: the other process is broken."""
        self._now = now
        for body in self._frames.feed(bytes(data)):
            self._records += 1
            if not self._has_ended:
                self._take(ipc.decode(OF_CONNECTION, body))
        return self._drain()

    def _take(self, message: OfConnection) -> None:
        match message:
            case Data(number, data):
                self._data(self._streams.get(number), data)
            case Credit(number, size):
                self._more_credit(self._streams.get(number), size)
            case Opened(number, protocol):
                self._opened(number, protocol)
            case Closed(number, is_reset):
                self._closed(self._streams.get(number), is_reset=is_reset)
            case Refused(protocol):
                self._refused(protocol)
            case Introduced(agent, protocols):
                spoken = tuple(self._specs[each] for each in protocols if each in self._specs)
                self._events.append(PeerIntroduced(PeerIdentity(flags_of(spoken), agent), spoken))
            case Connected(peer_id):
                self._events.append(Established(key_of(peer_id)))
            case Disconnected(reason):
                self._end(EndReason.END_OF_STREAM, reason)

    def _opened(self, number: int, protocol: int) -> None:
        """Of two streams for one protocol the second is closed; so is one that was opened too often."""
        spec = self._specs.get(protocol)
        self._asked.discard(protocol)
        openings = self._openings[protocol] = self._openings.get(protocol, 0) + 1
        if spec is None or protocol in self._open or openings > MAX_OPENINGS:
            self._out.append(ipc.encode(Close(number)))
            return
        stream = Stream(number, spec, MessageReader(plain(spec), lambda payload: self._deliver(spec, payload)))
        self._streams[number] = self._open[protocol] = stream
        self._idle_since = None
        self._events.append(ProtocolOpened(spec, STREAM_VERSION))

    def _deliver(self, spec: ProtocolSpec, payload: bytes) -> None:
        self._delivered += len(payload)
        self._events.append(Received(spec, payload))

    def _refused(self, protocol: int) -> None:
        if protocol in self._asked:
            self._asked.remove(protocol)
            self._events.append(ProtocolRefused(self._specs[protocol], Refusal.UNSUPPORTED))

    def _data(self, stream: Stream | None, data: bytes) -> None:
        if stream is None:
            return  # closed meanwhile
        stream.unread, stream.at = (stream.unread[stream.at :] + data if stream.unread_size else data), 0
        if stream.unread_size > CREDIT:
            raise IpcError(f"{stream.unread_size} bytes of a stream, of at most {CREDIT}")
        self._read(stream)

    @property
    def _room(self) -> int:
        """Events that may be added in this turn."""
        if not self._events:
            self._delivered_before = self._delivered
        elif self._delivered - self._delivered_before >= MAX_DELIVERED:
            return 0
        return self._max_events - len(self._events)

    def _read(self, stream: Stream) -> None:
        """Messages of what came, as many as there is room for."""
        room = self._room
        if stream.is_held or room <= 0:
            self._note_behind(stream)
            return
        try:
            at = stream.reader.feed(stream.unread, stream.at, len(stream.unread), room)
        except BrokenMessage as error:
            self._fault(stream, error.fault)
            return
        self._give_credit(stream, at - stream.at)
        stream.at = at
        if not stream.unread_size:
            stream.unread, stream.at = b"", 0
        self._note_behind(stream)
        if stream.is_reset is not None and not stream.unread_size:
            self._finish(stream, is_reset=stream.is_reset)

    def _note_behind(self, stream: Stream) -> None:
        if stream.unread_size and not stream.is_held:
            self._behind[stream.number] = stream
        else:
            self._behind.pop(stream.number, None)

    def _give_credit(self, stream: Stream, size: int) -> None:
        """In large pieces: each is a message."""
        stream.used += size
        if stream.used >= CREDIT // 2 and stream.is_reset is None:
            self._out.append(ipc.encode(Credit(stream.number, stream.used)))
            stream.used = 0

    def _more_credit(self, stream: Stream | None, size: int) -> None:
        if stream is not None:
            stream.credit = min(stream.credit + size, CREDIT)
            self._took_at = self._now

    def _closed(self, stream: Stream | None, *, is_reset: bool) -> None:
        """By the peer; what it has said before is read first."""
        if stream is None:
            return
        stream.is_reset = is_reset
        if not stream.unread_size:
            self._finish(stream, is_reset=is_reset)

    def _finish(self, stream: Stream, *, is_reset: bool) -> None:
        self._remove(stream)
        is_cut = stream.reader.is_inside
        fault = ProtocolFault.RESET if is_reset else ProtocolFault.CUT if is_cut else None
        self._events.append(ProtocolClosed(stream.spec, fault))

    def _fault(self, stream: Stream, fault: ProtocolFault) -> None:
        self._out.append(ipc.encode(Close(stream.number)))
        self._remove(stream)
        self._events.append(ProtocolClosed(stream.spec, fault))

    def _remove(self, stream: Stream) -> None:
        del self._streams[stream.number], self._open[stream.spec.id]
        self._behind.pop(stream.number, None)
        self._queued -= stream.queued
        if not self._open:
            self._idle_since = self._now

    @property
    def is_behind(self) -> bool:
        return bool(self._behind) and not self._has_ended

    def limit_events(self, most: int) -> None:
        self._max_events = most

    def proceed(self, now: float) -> list[Event]:
        self._now = now
        for stream in list(self._behind.values()):
            if self._room <= 0:
                break
            self._read(stream)
        return self._drain()

    @property
    def work_done(self) -> tuple[int, int]:
        return self._records, self._delivered

    @property
    def held_bytes(self) -> int:
        return sum(stream.reader.held_bytes + stream.unread_size for stream in self._streams.values())

    def end_of_stream(self, now: float) -> list[Event]:
        self._now = now
        self._end(EndReason.END_OF_STREAM)
        return self._drain()

    # --- what the owner does ---

    def open(self, protocol: ProtocolSpec, now: float) -> None:
        self._now = now
        is_known = protocol.id in self._specs and protocol.id not in self._open
        if is_known and not self._has_ended and protocol.id not in self._asked:
            self._asked.add(protocol.id)
            self._out.append(ipc.encode(Open(protocol.id)))

    def send(self, protocol: ProtocolSpec, payload: bytes, now: float) -> bool:
        stream = self._open.get(protocol.id)
        if stream is None or self._has_ended:
            return False
        prefix, body = message_frame(stream.framing, payload)
        if not self._queued:
            self._took_at = now
        stream.queue.extend((memoryview(prefix), memoryview(body)))
        size = len(prefix) + len(body)
        stream.queued += size
        self._queued += size
        if self._queued > self._max_queued:
            self._end(EndReason.SEND_QUEUE_FULL, f"{self._queued} bytes, of at most {self._max_queued}")
        return True

    def close_protocol(self, protocol: ProtocolSpec, now: float) -> None:
        self._now = now
        self._asked.discard(protocol.id)
        stream = self._open.get(protocol.id)
        if stream is not None and not self._has_ended:
            self._write(stream)
            self._out.append(ipc.encode(Close(stream.number)))
            self._remove(stream)

    def hold(self, protocol: ProtocolSpec) -> None:
        stream = self._open.get(protocol.id)
        if stream is not None:
            stream.is_held = True
            self._note_behind(stream)

    def release(self, protocol: ProtocolSpec, now: float) -> list[Event]:
        self._now = now
        stream = self._open.get(protocol.id)
        if stream is not None and stream.is_held:
            stream.is_held = False
            if stream.unread_size:
                self._read(stream)
        return self._drain()

    def close(self, now: float) -> None:
        self._now = now
        if not self._has_ended:
            for stream in self._streams.values():
                self._write(stream)
            self._out.append(ipc.encode(Disconnect()))
            self._end(EndReason.CLOSED)

    # --- what goes out ---

    def data_to_send(self) -> list[bytes]:
        if not self._has_ended and self._queued:
            for stream in self._streams.values():
                self._write(stream)
        out = self._out[:]
        self._out.clear()
        return out

    def _write(self, stream: Stream) -> None:
        """As much as there is credit for, in pieces as large as may be: small ones cost libp2p as much."""
        while stream.queue and stream.credit:
            piece = self._piece(stream, min(stream.credit, MAX_PIECE))
            stream.credit -= len(piece)
            stream.queued -= len(piece)
            self._queued -= len(piece)
            self._out.append(ipc.encode(Data(stream.number, piece)))

    @staticmethod
    def _piece(stream: Stream, most: int) -> bytes:
        parts, size, queue = list[memoryview](), 0, stream.queue
        while queue and size < most:
            part = queue.popleft()
            if size + len(part) > most:
                cut = most - size
                queue.appendleft(part[cut:])
                part = part[:cut]
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    @property
    def queued_bytes(self) -> int:
        return self._queued

    # --- time ---

    def next_deadline(self) -> float | None:
        if self._events:
            return self._now
        if self._has_ended:
            return None
        deadlines = [self._took_at + STALL] if self._queued else []
        if self._idle_since is not None:
            deadlines.append(self._idle_since + IDLE)
        return min(deadlines, default=None)

    def advance(self, now: float) -> list[Event]:
        self._now = now
        if not self._has_ended:
            if self._queued and now >= self._took_at + STALL:
                self._end(EndReason.SEND_STALLED, f"for {STALL:g} s")
            elif self._idle_since is not None and now >= self._idle_since + IDLE:
                self._end(EndReason.IDLE, "no protocol is open")
        return self._drain()

    # --- the end ---

    def _end(self, reason: EndReason, detail: str = "") -> None:
        if not self._has_ended:
            self._has_ended = True
            self._behind.clear()
            self._events.append(Ended(reason, detail))

    def _drain(self) -> list[Event]:
        events = self._events[:]
        self._events.clear()
        return events
