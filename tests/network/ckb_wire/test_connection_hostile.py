"""What a hostile peer can send on a connection: it gets bounded memory and work, and an end where it is due."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from network.ckb_wire.connection import MAX_RECORD, MAX_SEND_BUFFER, WireLimits
from network.ckb_wire.events import (
    Ended,
    EndReason,
    Event,
    Opened,
    ProtocolClosed,
    ProtocolFault,
    Received,
    Refusal,
    Refused,
)
from network.ckb_wire.protocol_streams import MAX_OPENINGS
from network.ckb_wire.select import MAX_SELECT, select_frame
from network.ckb_wire.yamux import YamuxLimits
from network.ckb_wire.yamux.frames import ACK, DATA, FIN, HEADER, RST, SYN, GoAwayCode, go_away, ping, window_update
from network.framing import frame
from network.limits import ALL_PROTOCOLS, DISCOVERY, PING, RELAY, SYNC, VERSION
from network.peer import Direction
from tests.support.wire import ACCEPTER_KEY, DIALER_KEY, End, Pair

ACCEPT = window_update(ACK, 1, 786_432)


def data_frame(stream_id: int, body: bytes, flags: int = 0) -> bytes:
    return HEADER.pack(DATA, flags, stream_id, len(body)) + body


def opening(stream_id: int, name: str, *versions: str) -> bytes:
    return data_frame(stream_id, select_frame(name, versions or [VERSION]), SYN)


def accepter(limits: WireLimits | None = None) -> End:
    """Our end of an inbound connection, after the handshake."""
    end = End(Direction.INBOUND, limits=limits)
    end.receive(DIALER_KEY)
    end.sent()
    end.take()
    return end


def dialer_with() -> End:
    """Our end of an outbound connection that has asked for Ping on stream 1."""
    end = End(Direction.OUTBOUND)
    end.receive(ACCEPTER_KEY)
    end.connection.open(PING, 0.0)
    end.sent()
    end.take()
    return end


def send(end: End, *frames: bytes, now: float = 0.0) -> list[Event]:
    return end.receive(frame(b"".join(frames)), now)


def reason(events: list[Event]) -> EndReason:
    last = events[-1]
    assert isinstance(last, Ended)
    return last.reason


# --- secio's frames ---


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("garbage", [b"\xff" * 5, (MAX_RECORD + 1).to_bytes(4, "big"), frame(b"\xffgarbage")])
def test_garbage_behind_the_handshake(garbage: bytes, step: int) -> None:
    end = accepter()
    for at in range(0, len(garbage), step):
        end.receive(garbage[at : at + step])
    assert reason(end.events) is EndReason.VIOLATION
    assert end.sent() == b""


def test_garbage_instead_of_a_handshake() -> None:
    end = End(Direction.INBOUND)
    events = end.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert reason(events) is EndReason.HANDSHAKE_FAILED
    assert isinstance(events[-1], Ended)
    assert events[-1].fault is not None


def test_empty_frames_by_the_thousand() -> None:
    end = accepter()
    events = end.receive(frame(b"") * 5000)
    assert reason(events) is EndReason.VIOLATION
    assert "flood" in events[-1].detail  # type: ignore[union-attr]


def test_an_unfinished_frame_keeps_what_came() -> None:
    end = accepter()
    end.receive(MAX_RECORD.to_bytes(4, "big") + bytes(1000))
    assert end.connection.held_bytes == 1004


# --- yamux ---


@pytest.mark.parametrize(
    "frames",
    [
        b"\x01" + bytes(11),
        b"\x00\x09" + bytes(10),
        HEADER.pack(DATA, 0, 1, (1 << 20) + 1),
        opening(1, PING.name) + opening(1, PING.name),
        opening(1, RELAY.name) + window_update(0, 1, 0xFFFF_FFFF),
        ping(SYN, 1) * 5000,
        window_update(SYN | RST, 1, 0) * 1000,
    ],
)
def test_violations_end_the_connection_and_the_peer_is_told(frames: bytes) -> None:
    end = accepter()
    assert reason(send(end, frames)) is EndReason.VIOLATION
    assert end.sent().endswith(go_away(GoAwayCode.PROTOCOL_ERROR))
    assert end.connection.advance(1e6) == []


def test_more_streams_than_protocols() -> None:
    end = accepter()
    send(end, *(window_update(SYN, number, 0) for number in range(1, 41, 2)))
    assert end.sent().count(HEADER.pack(1, ACK | RST, 39, 0)[:6]) == 8


def test_streams_that_never_say_what_for_are_given_up() -> None:
    end = accepter()
    send(end, opening(1, PING.name), *(window_update(SYN, number, 0) for number in range(3, 13, 2)))
    end.sent()
    assert end.connection.next_deadline() == 5.0
    assert end.connection.advance(5.0) == []
    assert end.sent().count(b"\0\x01\0\x08") == 5, "reset"
    assert end.connection.next_deadline() == 30.0


def test_streams_half_closed_are_gone() -> None:
    end = accepter()
    for number in range(48):
        protocol, stream_id = ALL_PROTOCOLS[number // MAX_OPENINGS], 1 + 2 * number
        send(end, opening(stream_id, protocol.name), window_update(FIN, stream_id, 0), now=number * 1.0)
        assert end.take() == [Opened(protocol, VERSION), ProtocolClosed(protocol, None)]
        end.sent()


def test_a_protocol_that_is_opened_again_and_again_is_not_spoken_any_more() -> None:
    """What a handler answers once costs more than the question: each opening would be another first time."""
    end = accepter()
    for number in range(100):
        stream_id = 1 + 2 * number
        send(end, opening(stream_id, PING.name), window_update(FIN, stream_id, 0), now=number * 1.0)
    assert end.take() == MAX_OPENINGS * [Opened(PING, VERSION), ProtocolClosed(PING, None)]
    end.sent()
    send(end, opening(999, SYNC.name), opening(1001, PING.name), now=100.0)
    assert end.take() == [Opened(SYNC, VERSION)]
    assert select_frame(PING.name, []) in end.sent()


def test_go_away_of_a_peer() -> None:
    end = accepter()
    assert send(end, opening(1, PING.name), go_away(GoAwayCode.INTERNAL_ERROR), b"\xff" * 50) == [
        Opened(PING, VERSION),
        Ended(EndReason.PEER_CLOSED, "with code 2"),
    ]
    assert end.sent().endswith(go_away(GoAwayCode.NORMAL))


# --- select ---


def test_garbage_instead_of_a_name_resets_that_stream_only() -> None:
    end = accepter()
    events = send(end, opening(1, PING.name), data_frame(3, frame(b"garbage"), SYN), data_frame(3, b"more of it"))
    assert events == [Opened(PING, VERSION)]
    assert window_update(RST, 3, 0) in end.sent()


def test_a_name_that_is_too_long_resets_that_stream_only() -> None:
    end = accepter()
    assert send(end, data_frame(1, (MAX_SELECT + 1).to_bytes(4, "big"), SYN)) == []
    assert end.sent().endswith(window_update(RST, 1, 0))


@pytest.mark.parametrize("request_", [("/ckb/unknown", "3"), ("/ckb/ping", "2"), ("/ckb/ping", "")])
def test_what_is_not_supported_gets_an_answer_and_no_stream(request_: tuple[str, str]) -> None:
    end = accepter()
    name, version = request_
    assert send(end, opening(1, name, version)) == []
    assert end.sent().endswith(data_frame(1, select_frame(name, [])) + window_update(RST, 1, 0))


def test_a_second_open_of_a_running_protocol_is_agreed_to_and_reset() -> None:
    end = accepter()
    assert send(end, opening(1, PING.name)) == [Opened(PING, VERSION)]
    end.sent()
    assert send(end, opening(3, PING.name), data_frame(3, frame(b"on the second"))) == []
    assert end.sent().endswith(data_frame(3, select_frame(PING.name, [VERSION])) + window_update(RST, 3, 0))
    assert send(end, data_frame(1, frame(b"on the first"))) == [Received(PING, b"on the first")]


def test_an_answer_with_another_name_ends_the_connection() -> None:
    end = dialer_with()
    events = send(end, ACCEPT, data_frame(1, select_frame("/ckb/other", [VERSION])))
    assert reason(events) is EndReason.SELECT_VIOLATION


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (ACCEPT + data_frame(1, select_frame(PING.name, [])), Refusal.UNSUPPORTED),
        (ACCEPT + data_frame(1, select_frame("/ckb/other", [])), Refusal.UNSUPPORTED),
        (ACCEPT + data_frame(1, select_frame(PING.name, ["4"])), Refusal.UNSUPPORTED),
        (ACCEPT + data_frame(1, frame(b"garbage")), Refusal.MALFORMED),
        (window_update(ACK | RST, 1, 0), Refusal.CLOSED),
        (ACCEPT + window_update(FIN, 1, 0), Refusal.CLOSED),
    ],
)
def test_answers_that_open_nothing(answer: bytes, refusal: Refusal) -> None:
    end = dialer_with()
    assert send(end, answer, data_frame(1, b"and more")) == [Refused(PING, refusal)]
    assert end.connection.version_of(PING) is None


def test_an_answer_and_a_reset_behind_it() -> None:
    end = dialer_with()
    assert send(end, ACCEPT, data_frame(1, select_frame(PING.name, [VERSION])), window_update(RST, 1, 0)) == [
        Opened(PING, VERSION),
        ProtocolClosed(PING, ProtocolFault.RESET),
    ]


# --- messages ---


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ((SYNC.max_frame + 1).to_bytes(4, "big") + b"\0", ProtocolFault.TOO_LARGE),
        (frame(b"\0"), ProtocolFault.TOO_SHORT),
        (frame(b"\x80\xff\xff\xff\x7f"), ProtocolFault.BAD_COMPRESSION),
    ],
)
def test_a_broken_message_closes_its_protocol_only(broken: bytes, fault: ProtocolFault) -> None:
    end = accepter()
    send(end, opening(1, SYNC.name), opening(3, PING.name))
    end.sent()
    end.take()
    events = send(end, data_frame(1, frame(b"\0good") + broken + bytes(100)), data_frame(3, frame(b"ping")))
    assert events == [Received(SYNC, b"good"), ProtocolClosed(SYNC, fault), Received(PING, b"ping")]
    assert end.sent() == frame(window_update(FIN, 1, 0))
    assert send(end, data_frame(1, b"still sending"), window_update(RST, 1, 0)) == []


def test_a_stream_that_ends_inside_a_message() -> None:
    end = accepter()
    send(end, opening(1, SYNC.name))
    assert send(end, data_frame(1, frame(b"\0cut")[:-1], FIN))[-1] == ProtocolClosed(SYNC, ProtocolFault.CUT)


def test_single_bytes_cost_no_more_than_they_may() -> None:
    """A message of 4 MiB, each byte in a frame of its own: 13 bytes on the wire for each."""
    end = accepter()
    send(end, opening(1, RELAY.name))
    send(end, data_frame(1, RELAY.max_frame.to_bytes(4, "big") + b"\0"))
    events: list[Event] = []
    for _ in range(10_000):
        events = send(end, data_frame(1, b"x"))
        if events:
            break
    assert reason(events) is EndReason.VIOLATION


def peak_of(work: object) -> int:
    assert callable(work)
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_lengths_alone_take_no_memory() -> None:
    """All streams announce the longest message, and nothing comes of them."""

    def announce() -> None:
        end = accepter()
        send(end, opening(1, RELAY.name), data_frame(1, RELAY.max_frame.to_bytes(4, "big") + b"\0"))
        send(end, opening(3, SYNC.name), data_frame(3, SYNC.max_frame.to_bytes(4, "big") + b"\0"))
        send(end, opening(5, DISCOVERY.name), data_frame(5, DISCOVERY.max_frame.to_bytes(4, "big")))
        end.receive(MAX_RECORD.to_bytes(4, "big"))

    assert peak_of(announce) < 200_000


# --- a peer that never reads ---


def test_the_queue_for_a_peer_that_never_reads_is_bounded() -> None:
    pair = Pair()
    pair.open(RELAY)
    payload = random.Random(6).randbytes(1 << 20)
    taken = 0
    while pair.dialer.connection.send(RELAY, payload, 0.0) and taken < 100:
        pair.dialer.connection.data_to_send()
        taken += 1
        if pair.dialer.connection.next_deadline() == 0.0:
            break
    assert MAX_SEND_BUFFER >> 20 <= taken <= (MAX_SEND_BUFFER >> 20) + 2
    assert reason(pair.dialer.connection.advance(0.0)) is EndReason.SEND_QUEUE_FULL
    assert pair.dialer.connection.queued_bytes == 0
    assert not pair.dialer.connection.send(RELAY, payload, 0.0)


def test_a_queue_of_short_messages_costs_about_its_size() -> None:
    pair = Pair()
    pair.open(SYNC)

    def fill() -> None:
        for number in range(100_000):
            pair.dialer.connection.send(SYNC, b"%20d" % number, 0.0)

    assert peak_of(fill) < 2 * 25 * 100_000


def test_a_peer_that_stops_reading_is_given_up() -> None:
    pair = Pair()
    pair.open(SYNC)
    payload = random.Random(6).randbytes(1_100_000)
    pair.dialer.connection.send(SYNC, payload, 10.0)
    pair.dialer.connection.data_to_send()
    for now in (30.0, 60.0, 90.0, 120.0):
        assert pair.dialer.connection.advance(now) == []
        pair.dialer.connection.receive(memoryview(frame(ping(ACK, int(now // 30)))), now)
    assert pair.dialer.connection.next_deadline() == 130.0
    assert reason(pair.dialer.connection.advance(130.0)) is EndReason.SEND_STALLED


def test_a_peer_that_reads_slowly_is_not() -> None:
    pair = Pair(limits=WireLimits(yamux=YamuxLimits(keepalive=1e9)))
    pair.open(SYNC)
    payload = random.Random(6).randbytes(1_100_000)
    pair.dialer.connection.send(SYNC, payload, 0.0)
    pair.dialer.connection.data_to_send()
    for now in range(100, 1000, 100):
        assert pair.dialer.connection.advance(float(now)) == []
        pair.dialer.connection.receive(memoryview(frame(window_update(0, 1, 10))), float(now))
        pair.dialer.connection.data_to_send()
