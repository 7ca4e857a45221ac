"""Small messages by the hundred thousand: they come in turns, in order, and widen no window before they are read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from network.ckb_wire.events import Event, ProtocolClosed, Received
from network.ckb_wire.protocol_streams import MAX_EVENTS
from network.ckb_wire.yamux.frames import MAX_WINDOW
from network.limits import PING, SYNC
from tests.support.wire import Pair

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


def test_a_protocol_that_is_closed_meanwhile_gives_nothing_more() -> None:
    pair = Pair()
    pair.open(SYNC)
    connection = pair.accepter.connection
    connection.receive(memoryview(sent(pair, numbered(2000))), 0.0)
    connection.close_protocol(SYNC, 0.0)
    assert connection.proceed(0.0) == []
    assert not connection.is_behind
