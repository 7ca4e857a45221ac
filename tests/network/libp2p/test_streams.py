"""Streams of libp2p as a session's connection: messages, holds, credit, bounds, ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from network.ckb_wire.events import (
    Ended,
    EndReason,
    Established,
    Event,
    Introduced,
    Opened,
    ProtocolClosed,
    ProtocolFault,
    Received,
    Refusal,
    Refused,
)
from network.identity import Identity
from network.libp2p import messages as ipc
from network.libp2p.messages import CREDIT, MAX_PIECE, IpcError
from network.libp2p.names import libp2p_id
from network.libp2p.streams import IDLE, MAX_OPENINGS, STALL, StreamsConnection
from network.limits import DISCOVERY, FILTER, RELAY, SYNC, Flags, ProtocolSpec
from network.peer import MessageTooLarge, PeerIdentity

KEY = Identity((7).to_bytes(32, "big")).public_key
STREAM = 11


def connection(max_queued: int = 1 << 24) -> StreamsConnection:
    return StreamsConnection([SYNC, RELAY, FILTER], now=0.0, max_queued=max_queued)


def records(*messages: ipc.Message) -> memoryview:
    return memoryview(b"".join(ipc.frame(1, ipc.encode(each))[ipc.CONN_SIZE :] for each in messages))


def tell(conn: StreamsConnection, *messages: ipc.Message, now: float = 0.0) -> list[Event]:
    return conn.receive(records(*messages), now)


def told(conn: StreamsConnection) -> list[ipc.Message]:
    return [ipc.decode(ipc.TO_CONNECTION, body) for body in conn.data_to_send()]


def opened(spec: ProtocolSpec = SYNC, number: int = STREAM, max_queued: int = 1 << 24) -> StreamsConnection:
    conn = connection(max_queued)
    assert tell(conn, ipc.Opened(number, spec.id)) == [Opened(spec, "1")]
    return conn


def framed(*payloads: bytes) -> bytes:
    return b"".join(len(each).to_bytes(4, "big") + each for each in payloads)


def pieces(data: bytes, size: int = MAX_PIECE, number: int = STREAM) -> Sequence[ipc.Data]:
    return [ipc.Data(number, data[at : at + size]) for at in range(0, len(data), size)]


def test_a_peer_is_known_by_its_key_and_tells_what_it_speaks() -> None:
    events = tell(
        connection(),
        ipc.Connected(libp2p_id(KEY), "/ip4/192.0.2.1/tcp/1", True),
        ipc.Introduced("agent", [SYNC.id, RELAY.id, DISCOVERY.id]),
    )
    flags = Flags.SYNC | Flags.COMPATIBILITY | Flags.RELAY
    assert events == [Established(KEY), Introduced(PeerIdentity(flags, "agent"), (SYNC, RELAY))]


def test_protocols_open_once_and_are_refused() -> None:
    conn = connection()
    for _ in range(2):
        conn.open(SYNC, 0.0)
    conn.open(RELAY, 0.0)
    conn.open(DISCOVERY, 0.0)
    assert told(conn) == [ipc.Open(SYNC.id), ipc.Open(RELAY.id)]
    events = tell(conn, ipc.Opened(1, SYNC.id), ipc.Refused(RELAY.id), ipc.Refused(RELAY.id))
    assert events == [Opened(SYNC, "1"), Refused(RELAY, Refusal.UNSUPPORTED)]
    conn.open(SYNC, 0.0)
    assert told(conn) == []


def test_a_second_stream_for_a_protocol_is_closed() -> None:
    conn = opened()
    assert tell(conn, ipc.Opened(12, SYNC.id), ipc.Opened(13, DISCOVERY.id)) == []
    assert told(conn) == [ipc.Close(12), ipc.Close(13)]


def test_a_protocol_cannot_be_opened_again_and_again() -> None:
    conn = connection()
    for number in range(1, MAX_OPENINGS + 3):
        tell(conn, ipc.Opened(number, SYNC.id), ipc.Closed(number, False))
    assert told(conn) == [ipc.Close(MAX_OPENINGS + 1), ipc.Close(MAX_OPENINGS + 2)]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_messages_come_whole_however_they_were_cut(size: int) -> None:
    payloads = [b"", b"a", b"bc" * 300, b"d"]
    conn = opened()
    assert tell(conn, *pieces(framed(*payloads), size)) == [Received(SYNC, payload) for payload in payloads]


def test_records_may_be_cut_anywhere() -> None:
    conn, events = connection(), list[Event]()
    data = records(ipc.Opened(STREAM, SYNC.id), ipc.Data(STREAM, framed(b"abc", b"")))
    for at in range(len(data)):
        events += conn.receive(data[at : at + 1], 0.0)
    assert events == [Opened(SYNC, "1"), Received(SYNC, b"abc"), Received(SYNC, b"")]


def test_credit_is_given_for_what_was_read() -> None:
    conn = opened()
    tell(conn, *pieces(framed(bytes(CREDIT))))
    given = [message for message in told(conn) if isinstance(message, ipc.Credit)]
    assert given
    assert CREDIT - CREDIT // 2 <= sum(message.size for message in given) <= CREDIT + 4


def test_what_is_held_waits_and_gets_no_credit() -> None:
    conn = opened()
    conn.hold(SYNC)
    assert tell(conn, *pieces(framed(*[bytes(1000)] * 200))) == []
    assert not conn.is_behind
    assert told(conn) == []
    assert conn.held_bytes == 200 * 1004
    assert conn.release(SYNC, 0.0) == [Received(SYNC, bytes(1000))] * 200
    assert told(conn) == [ipc.Credit(STREAM, 200 * 1004)]
    assert conn.held_bytes == 0


def test_a_hold_of_one_protocol_leaves_the_others_alone() -> None:
    conn = opened()
    tell(conn, ipc.Opened(12, RELAY.id))
    conn.hold(SYNC)
    events = tell(conn, ipc.Data(STREAM, framed(b"sync")), ipc.Data(12, framed(b"relay")))
    assert events == [Received(RELAY, b"relay")]


def test_more_than_there_is_credit_for_is_the_process_fault() -> None:
    conn = opened()
    conn.hold(SYNC)
    with pytest.raises(IpcError):
        tell(conn, *pieces(bytes(CREDIT + 1)))


def test_events_of_one_turn_are_bounded() -> None:
    conn = opened()
    conn.limit_events(10)
    events = tell(conn, ipc.Data(STREAM, framed(*[b"x"] * 25)))
    sizes, left = [len(events)], [conn.is_behind]
    for _ in range(3):
        sizes.append(len(conn.proceed(0.0)))
        left.append(conn.is_behind)
    assert sizes == [10, 10, 5, 0]
    assert left == [True, True, False, False]


def test_what_a_peer_said_before_it_closed_comes_first() -> None:
    conn = opened()
    conn.limit_events(1)
    assert tell(conn, ipc.Data(STREAM, framed(b"a", b"b")), ipc.Closed(STREAM, False)) == [Received(SYNC, b"a")]
    assert conn.proceed(0.0) == [Received(SYNC, b"b"), ProtocolClosed(SYNC, None)]


@pytest.mark.parametrize(
    ("data", "is_reset", "fault"),
    [
        (b"", False, None),
        (b"\0\0", False, ProtocolFault.CUT),
        (framed(b"abc")[:-1], False, ProtocolFault.CUT),
        (b"", True, ProtocolFault.RESET),
    ],
)
def test_why_a_protocol_has_closed(data: bytes, is_reset: bool, fault: ProtocolFault | None) -> None:
    conn = opened()
    messages = [ipc.Data(STREAM, data)] if data else []
    assert tell(conn, *messages, ipc.Closed(STREAM, is_reset)) == [ProtocolClosed(SYNC, fault)]
    assert not conn.send(SYNC, b"x", 0.0)


def test_a_message_longer_than_may_be_closes_the_protocol() -> None:
    conn = opened()
    size = (SYNC.max_frame + 1).to_bytes(4, "big")
    assert tell(conn, ipc.Data(STREAM, size)) == [ProtocolClosed(SYNC, ProtocolFault.TOO_LARGE)]
    assert told(conn) == [ipc.Close(STREAM)]


def test_small_messages_leave_in_one_piece() -> None:
    conn = opened()
    for _ in range(3):
        assert conn.send(SYNC, b"abc", 0.0)
    assert told(conn) == [ipc.Data(STREAM, framed(b"abc", b"abc", b"abc"))]
    assert conn.queued_bytes == 0


def test_no_more_leaves_than_there_is_credit_for() -> None:
    conn, payload = opened(), bytes(range(256)) * 2048
    conn.send(SYNC, payload, 0.0)
    sent = b""
    for _ in range(3):
        found = [message.data for message in told(conn) if isinstance(message, ipc.Data)]
        assert all(len(data) <= MAX_PIECE for data in found)
        assert sum(map(len, found)) <= CREDIT
        sent += b"".join(found)
        assert conn.queued_bytes == 4 + len(payload) - len(sent)
        tell(conn, ipc.Credit(STREAM, CREDIT))
    assert sent == framed(payload)


def test_a_message_that_is_too_large_changes_nothing() -> None:
    conn = opened()
    with pytest.raises(MessageTooLarge):
        conn.send(SYNC, bytes(SYNC.max_frame + 1), 0.0)
    assert conn.queued_bytes == 0


def test_what_waits_for_a_peer_is_bounded_in_bytes_and_time() -> None:
    conn = opened(max_queued=1000)
    conn.send(SYNC, bytes(2000), 0.0)
    assert conn.advance(0.0) == [Ended(EndReason.SEND_QUEUE_FULL, "2004 bytes, of at most 1000")]
    conn = opened()
    for _ in range(2):
        conn.send(SYNC, bytes(CREDIT), 5.0)
    told(conn)
    assert conn.next_deadline() == 5.0 + STALL
    tell(conn, ipc.Credit(STREAM, 1), now=6.0)
    assert conn.next_deadline() == 6.0 + STALL
    assert [type(event) for event in conn.advance(6.0 + STALL)] == [Ended]


def test_a_connection_without_protocols_ends() -> None:
    conn = opened()
    assert conn.next_deadline() is None
    tell(conn, ipc.Closed(STREAM, False), now=3.0)
    assert conn.next_deadline() == 3.0 + IDLE
    assert conn.advance(3.0 + IDLE) == [Ended(EndReason.IDLE, "no protocol is open")]


def test_a_protocol_is_closed_behind_what_was_sent() -> None:
    conn = opened()
    conn.send(SYNC, b"last", 0.0)
    conn.close_protocol(SYNC, 0.0)
    assert told(conn) == [ipc.Data(STREAM, framed(b"last")), ipc.Close(STREAM)]
    assert tell(conn, ipc.Data(STREAM, framed(b"late")), ipc.Closed(STREAM, True), ipc.Credit(STREAM, 1)) == []


def test_the_end_comes_behind_what_was_sent() -> None:
    conn = opened()
    conn.send(SYNC, b"bye", 0.0)
    conn.close(0.0)
    assert told(conn) == [ipc.Data(STREAM, framed(b"bye")), ipc.Disconnect()]
    assert tell(conn, ipc.Disconnected("gone")) == [Ended(EndReason.CLOSED, "")]
    assert not conn.send(SYNC, b"x", 0.0)
    assert tell(conn, ipc.Disconnected("gone")) == []


def test_the_peer_leaves() -> None:
    assert tell(opened(), ipc.Disconnected("gone")) == [Ended(EndReason.END_OF_STREAM, "gone")]
