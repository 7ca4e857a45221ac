"""Targets for the state machines: scripts of a hostile peer, of our own calls and of time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from network.ckb_wire.connection import WireConnection, WireLimits
from network.ckb_wire.events import Ended, Established, Event, Opened, ProtocolClosed, Received
from network.ckb_wire.secio import HandshakeError
from network.ckb_wire.select import select_frame
from network.ckb_wire.yamux import Session, Stream, YamuxError, YamuxLimits
from network.ckb_wire.yamux.frames import ACK, DATA, FIN, HEADER, RST, SYN, GoAwayCode, go_away, ping, window_update
from network.framing import frame
from network.limits import ALL_PROTOCOLS, PING, RELAY, SYNC, VERSION
from network.peer import Direction, MessageTooLarge
from tests.support.secio import side
from tests.support.wire import ACCEPTER_KEY, DIALER_KEY, PlainHandshake
from tests.wire_fuzz.cursor import Cursor, cut

IDS = (1, 2, 3, 5, 0, 7, 9, 0xFFFF_FFFF)
FLAGS = (0, SYN, ACK, FIN, RST, SYN | FIN, SYN | RST, ACK | RST, SYN | ACK, 0xFFFF)
DELTAS = (0, 1, 786_432, 1 << 20, 0xFFFF_FFFF, 0x8000_0000)
PROTOCOLS = (PING, SYNC, RELAY)
MAX_BODY = 1500
BOUNDLESS = YamuxLimits(burst=1 << 40)


def handshake(data: bytes) -> None:
    """A peer that answers with its own bytes, or with those of a genuine side, changed."""
    cursor = Cursor(data)
    ours, theirs = side(1), side(2)
    is_genuine, step = bool(cursor.byte() & 1), cursor.byte()
    try:
        while cursor and not theirs.is_done:
            theirs.receive(ours.data_to_send())
            genuine = bytearray(theirs.data_to_send()) if is_genuine else bytearray()
            if cursor.byte() & 3 == 0 and genuine:
                genuine[cursor.number() % len(genuine)] ^= cursor.byte()
            for piece in cut(bytes(genuine) + cursor.take(cursor.byte()), step):
                ours.receive(piece)
                if ours.is_done:
                    ours.channel()
                    return
    except HandshakeError:
        return


def yamux_frame(cursor: Cursor) -> bytes:
    """A frame that is mostly well formed."""
    kind = cursor.byte() % 8
    stream_id, flags = cursor.choose(IDS), cursor.choose(FLAGS)
    if kind < 4:
        size = cursor.number() % MAX_BODY if kind == 3 else cursor.byte() % 40
        body = cursor.take(min(size, 40)).ljust(size, b"\0")
        return HEADER.pack(DATA, flags, stream_id, size) + body
    if kind == 4:
        return window_update(flags, stream_id, cursor.choose(DELTAS))
    if kind == 5:
        return ping(flags, cursor.byte())
    if kind == 6:
        return go_away(cursor.choose(list(GoAwayCode)))
    return cursor.take(cursor.byte())


class Collector:
    """A consumer that checks the order of its calls."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.got = bytearray()
        self.end = ""

    def data(self, data: bytes, start: int, end: int) -> int:
        assert not self.end
        assert start < end <= len(data)
        self.got += data[start:end]
        return end

    def finished(self) -> None:
        assert not self.end
        self.end = "finished"

    def was_reset(self) -> None:
        assert not self.end
        self.end = "reset"


def yamux(data: bytes) -> None:
    """Frames of a peer, in one piece and cut, to a session that holds and releases streams."""

    def run(step: int) -> object:
        cursor, collectors = Cursor(data), list[Collector]()

        def accept(stream: Stream) -> Collector:
            collectors.append(Collector(stream))
            return collectors[-1]

        session = Session(is_dialer=False, accept=accept, limits=BOUNDLESS, now=0.0)
        sent, fault = b"", None
        try:
            while cursor and session.remote_code is None:
                sent += _yamux_step(session, cursor, collectors, step)
                assert session.queued_bytes == sum(one.stream.queued for one in collectors)
                assert session.held_bytes <= len(collectors) << 20
        except YamuxError as error:
            fault = error.fault
        return [(bytes(one.got), one.end) for one in collectors], sent, fault, session.remote_code

    assert run(0) == run(1) == run(7)


def _yamux_step(session: Session, cursor: Cursor, collectors: list[Collector], step: int) -> bytes:
    action = cursor.byte() % 8
    stream = collectors[cursor.byte() % len(collectors)].stream if collectors else None
    if action < 4 or stream is None:
        for piece in cut(yamux_frame(cursor), step):
            session.receive(piece, 0.0)
    elif action == 4 and stream.is_open:
        session.send(stream, b"", bytes(cursor.number() % MAX_BODY), 0.0)
    elif action == 5:
        session.hold(stream)
    elif action == 6:
        session.release(stream, 0.0)
    elif action == 7:
        (session.close if cursor.byte() & 1 else session.reset)(stream)
    return b"".join(session.data_to_send())


def connection(data: bytes) -> None:
    """A whole connection behind its handshake, however what comes is cut."""
    assert _run_connection(data, 0) == _run_connection(data, 1)


def _run_connection(data: bytes, step: int) -> object:
    cursor = Cursor(data)
    is_dialer = bool(cursor.byte() & 1)
    limits = WireLimits(max_queued=1 << 20, yamux=BOUNDLESS)
    key, direction = (DIALER_KEY, Direction.OUTBOUND) if is_dialer else (ACCEPTER_KEY, Direction.INBOUND)
    wire = WireConnection(PlainHandshake(key), direction, ALL_PROTOCOLS, now=0.0, limits=limits)
    checker, now, sent = Checker(), 0.0, b""
    checker.add(wire.receive(memoryview(ACCEPTER_KEY if is_dialer else DIALER_KEY), now))
    while cursor:
        action = cursor.byte()
        if action & 0x80:
            now += (action & 0x7F) / 10
            checker.add(wire.advance(now))
        elif action & 0x40:
            checker.add(_own_call(wire, cursor, now))
        else:
            for piece in cut(_peer_bytes(cursor), step):
                checker.add(_whole_turn(wire, wire.receive(memoryview(piece), now), now))
        sent += b"".join(wire.data_to_send())
        assert wire.queued_bytes <= 1 << 20 or wire.next_deadline() == now
        assert wire.held_bytes <= 2 * len(data) + (1 << 17) * len(data)
    checker.add(wire.end_of_stream(now))
    assert checker.has_ended
    assert wire.next_deadline() is None
    assert wire.queued_bytes == 0
    return checker.events, sent


def _own_call(wire: WireConnection, cursor: Cursor, now: float) -> list[Event]:
    protocol = cursor.choose(PROTOCOLS)
    action = cursor.byte() % 8
    calls: list[Callable[[], object]] = [
        lambda: wire.open(protocol, now),
        lambda: wire.send(protocol, b"x" * (1 + cursor.number()), now),
        lambda: wire.close_protocol(protocol, now),
        lambda: wire.hold(protocol),
        lambda: wire.close(now) if cursor.byte() == 0x77 else None,
    ]
    if action < len(calls):
        with suppress(MessageTooLarge):
            calls[action]()
        return []
    return _whole_turn(wire, wire.release(protocol, now), now)


def _whole_turn(wire: WireConnection, events: list[Event], now: float) -> list[Event]:
    """Events, and those that were too many for one call."""
    while wire.is_behind:
        more = wire.proceed(now)
        assert more or not wire.is_behind
        events += more
    return events


def _peer_bytes(cursor: Cursor) -> bytes:
    """What the peer sends: openings and messages, frames of yamux, or anything."""
    kind = cursor.byte() % 8
    stream_id, protocol = cursor.choose(IDS), cursor.choose(PROTOCOLS)
    if kind == 0:
        body = select_frame(protocol.name, [VERSION])
        return frame(HEADER.pack(DATA, cursor.choose((SYN, ACK, 0)), stream_id, len(body)) + body)
    if kind < 4:
        body = frame(cursor.take(1) + cursor.take(cursor.byte()))
        return frame(HEADER.pack(DATA, 0, stream_id, len(body)) + body)
    if kind < 7:
        return frame(yamux_frame(cursor))
    return cursor.take(cursor.byte())


class Checker:
    """Collects events and checks their order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.open: set[int] = set()
        self.has_ended = False

    def add(self, events: list[Event]) -> None:
        for event in events:
            assert not self.has_ended, f"{event} behind the end"
            self._look_at(event)
        self.events += events

    def _look_at(self, event: Event) -> None:
        match event:
            case Opened(protocol):
                self.open.add(protocol.id)
            case ProtocolClosed(protocol):
                assert protocol.id in self.open
                self.open.remove(protocol.id)
            case Received(protocol):
                assert protocol.id in self.open
            case Ended():
                self.has_ended = True
            case Established():
                assert not self.events
            case _:
                pass
