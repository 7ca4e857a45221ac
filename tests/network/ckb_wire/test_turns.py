"""Small messages by the hundred thousand: they come in turns, in order, and widen no window before they are read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from network.ckb_wire.events import Ended, EndReason, Event, ProtocolClosed, Received
from network.ckb_wire.protocol_streams import MAX_DELIVERED, MAX_EVENTS
from network.ckb_wire.yamux.frames import DATA, HEADER, HEADER_SIZE, MAX_WINDOW, GoAwayCode, go_away
from network.ckb_wire.yamux.session import MAX_FRAMES
from network.framing import frame
from network.limits import PING, SYNC
from tests.support.wire import DIALER_KEY, Pair

COUNT = 20_000


def turns(pair: Pair, data: bytes) -> Iterator[list[Event]]:
    """What the accepter gives of the data, call by call."""
    connection = pair.accepter.connection
    yield connection.receive(memoryview(data), 0.0)
    while connection.is_behind:
        yield connection.proceed(0.0)


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(3, "big") for number in range(count)]


def sent(pair: Pair, payloads: list[bytes]) -> bytes:
    for payload in payloads:
        pair.dialer.connection.send(SYNC, payload, 0.0)
    return pair.dialer.sent()


def payloads_of(events: list[Event]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, Received)]


@pytest.mark.parametrize("step", [None, 7, 1000, 65_536])
def test_many_messages_come_in_turns_and_in_order(step: int | None) -> None:
    pair = Pair()
    pair.open(SYNC)
    payloads = numbered(COUNT)
    data = sent(pair, payloads)
    got: list[bytes] = []
    for at in range(0, len(data), step or len(data)):
        for events in turns(pair, data[at : at + (step or len(data))]):
            assert len(events) <= MAX_EVENTS
            got += payloads_of(events)
    assert got == payloads


def test_bytes_may_come_before_the_turns_are_over() -> None:
    pair = Pair()
    pair.open(SYNC)
    payloads = numbered(COUNT)
    data = sent(pair, payloads)
    connection = pair.accepter.connection
    got = []
    for at in range(0, len(data), 10_000):
        events = connection.receive(memoryview(data[at : at + 10_000]), 0.0)
        assert len(events) <= MAX_EVENTS
        got += payloads_of(events)
    assert len(got) < COUNT
    while connection.is_behind:
        got += payloads_of(connection.proceed(0.0))
    assert got == payloads


def test_what_waits_widens_no_window() -> None:
    pair = Pair()
    pair.open(SYNC)
    payloads = numbered(MAX_WINDOW // 4)
    data = sent(pair, payloads)
    connection = pair.accepter.connection
    got = payloads_of(connection.receive(memoryview(data), 0.0))
    assert connection.held_bytes > 900_000
    assert pair.accepter.sent() == b""
    while pair.dialer.connection.queued_bytes or connection.is_behind:
        while connection.is_behind:
            got += payloads_of(connection.proceed(0.0))
        pair.carry(pair.accepter, pair.dialer)
        got += payloads_of(connection.receive(memoryview(pair.dialer.sent()), 0.0))
    assert got == payloads
    assert connection.held_bytes < 16


def test_a_hold_and_what_waits() -> None:
    pair = Pair()
    pair.open(SYNC, PING)
    payloads = numbered(2000)
    data = sent(pair, payloads)
    connection = pair.accepter.connection
    got = payloads_of(connection.receive(memoryview(data), 0.0))
    connection.hold(SYNC)
    assert connection.proceed(0.0) == []
    pair.dialer.connection.send(PING, b"ping", 0.0)
    assert connection.receive(memoryview(pair.dialer.sent()), 0.0) == [Received(PING, b"ping")]
    assert not connection.is_behind
    got += payloads_of(connection.release(SYNC, 0.0))
    assert len(got) == 2 * MAX_EVENTS
    got += [payload for events in turns(pair, b"") for payload in payloads_of(events)]
    assert got == payloads


def test_the_end_of_a_protocol_comes_after_what_waits() -> None:
    pair = Pair()
    pair.open(SYNC)
    payloads = numbered(2000)
    data = sent(pair, payloads)
    pair.dialer.connection.close_protocol(SYNC, 0.0)
    everything = [event for events in turns(pair, data + pair.dialer.sent()) for event in events]
    assert payloads_of(everything) == payloads
    assert everything[-1] == ProtocolClosed(SYNC, None)


@pytest.mark.parametrize("step", [None, 1000])
def test_goodbye_comes_after_what_waits(step: int | None) -> None:
    """A peer that answers with thousands of messages and leaves has said them all."""
    pair = Pair()
    pair.open(SYNC)
    payloads = numbered(COUNT)
    data = sent(pair, payloads)
    pair.dialer.connection.close(0.0)
    data += pair.dialer.sent()
    everything = [
        event
        for at in range(0, len(data), step or len(data))
        for events in turns(pair, data[at : at + (step or len(data))])
        for event in events
    ]
    assert payloads_of(everything) == payloads
    assert everything[-1] == Ended(EndReason.PEER_CLOSED, "with code 0")
    assert pair.accepter.sent().endswith(go_away(GoAwayCode.NORMAL))


def test_a_protocol_that_is_closed_meanwhile_gives_nothing_more() -> None:
    pair = Pair()
    pair.open(SYNC)
    connection = pair.accepter.connection
    connection.receive(memoryview(sent(pair, numbered(2000))), 0.0)
    connection.close_protocol(SYNC, 0.0)
    assert connection.proceed(0.0) == []
    assert not connection.is_behind


@pytest.mark.parametrize("stream_id", [1, 99], ids=["an open stream", "a stream that is not there"])
@pytest.mark.parametrize("step", [None, 65_536])
def test_many_small_frames_in_one_record_are_read_in_turns(stream_id: int, step: int | None) -> None:
    """One sealed frame has room for 350,000 frames of yamux, which are a second's work."""
    pair = Pair()
    pair.open(SYNC, PING)
    connection = pair.accepter.connection
    before, _ = connection.work_done
    count, body = 40_000, b"\0\0\0\x08" + b"\0message"
    last = HEADER.pack(DATA, 0, 3, 8) + b"\0\0\0\x04ping"
    data = frame(count * (HEADER.pack(DATA, 0, stream_id, len(body)) + body) + last)
    got, calls = [], 0
    for at in range(0, len(data), step or len(data)):
        for events in turns(pair, data[at : at + (step or len(data))]):
            frames, _ = connection.work_done
            assert frames - before <= MAX_FRAMES
            before, calls = frames, calls + 1
            got += payloads_of(events)
    assert got.count(b"message") == (count if stream_id == 1 else 0)
    assert got.count(b"ping") == 1
    assert calls >= count // MAX_FRAMES


def test_a_violation_in_a_later_turn_ends_the_connection() -> None:
    pair = Pair()
    body = bytes(12)
    data = frame(5000 * (HEADER.pack(DATA, 0, 99, len(body)) + body) + b"\x07" * HEADER_SIZE)
    pair.dialer.sent()
    events = [event for events in turns(pair, DIALER_KEY + data) for event in events]
    assert [event.reason for event in events if isinstance(event, Ended)] == [EndReason.VIOLATION]
    assert pair.accepter.sent().endswith(go_away(GoAwayCode.PROTOCOL_ERROR))


def test_bombs_are_unpacked_in_turns() -> None:
    """A megabyte of compressed messages is 22 when it is unpacked."""
    pair = Pair()
    pair.open(SYNC)
    size, count = 1 << 20, 10
    for _ in range(count):
        pair.dialer.connection.send(SYNC, bytes(size), 0.0)
    data = pair.dialer.sent()
    assert len(data) < size
    got = [len(payloads_of(events)) for events in turns(pair, data)]
    assert sum(got) == count
    assert max(got) * size <= 2 * MAX_DELIVERED
    assert pair.accepter.connection.work_done[1] == count * size


def test_fewer_at_once_when_the_owner_says_so() -> None:
    pair = Pair()
    pair.open(SYNC)
    payloads = numbered(100)
    data = sent(pair, payloads)
    pair.accepter.connection.limit_events(7)
    got = [payloads_of(events) for events in turns(pair, data)]
    assert max(map(len, got)) == 7
    assert [payload for some in got for payload in some] == payloads
