"""A whole connection, both ends in memory: opening, messages, closing, time."""

from __future__ import annotations

import random

import pytest

from network.ckb_wire.connection import WireLimits
from network.ckb_wire.events import (
    Ended,
    EndReason,
    Established,
    Event,
    Opened,
    ProtocolClosed,
    ProtocolFault,
    Received,
    Refusal,
    Refused,
)
from network.limits import (
    ALL_PROTOCOLS,
    DISCOVERY,
    FILTER,
    IDENTIFY,
    PING,
    RELAY,
    SYNC,
    TIME,
    VERSION,
)
from network.peer import Direction, MessageTooLarge
from tests.support.wire import ACCEPTER_KEY, DIALER_KEY, End, Pair

NOISE = random.Random(5).randbytes(500_000)
LONG = [NOISE, b"transaction " * 100_000, NOISE[:70_000], b"short"]


def ended(events: list[Event]) -> EndReason:
    """The last event is the end, and the only one."""
    assert [type(event) for event in events].count(Ended) == 1
    last = events[-1]
    assert isinstance(last, Ended)
    return last.reason


# --- opening ---


@pytest.mark.parametrize("step", [None, 1])
def test_keys_are_told_and_protocols_open(step: int | None) -> None:
    pair = Pair(step=step)
    pair.exchange()
    assert pair.dialer.take() == [Established(ACCEPTER_KEY)]
    assert pair.accepter.take() == [Established(DIALER_KEY)]
    pair.dialer.connection.open(IDENTIFY, 0.0)
    pair.dialer.connection.open(SYNC, 0.0)
    pair.exchange()
    assert pair.dialer.take() == pair.accepter.take() == [Opened(IDENTIFY, "3"), Opened(SYNC, "3")]
    assert pair.accepter.connection.version_of(SYNC) == VERSION
    assert pair.accepter.connection.version_of(PING) is None


def test_all_protocols_open_at_once() -> None:
    pair = Pair()
    pair.open(*ALL_PROTOCOLS)
    assert all(pair.accepter.connection.version_of(protocol) for protocol in ALL_PROTOCOLS)
    assert all(pair.dialer.connection.version_of(protocol) for protocol in ALL_PROTOCOLS)


def test_the_bytes_of_an_opening_are_those_of_the_reference() -> None:
    dialer = End(Direction.OUTBOUND)
    assert dialer.sent() == DIALER_KEY
    dialer.receive(ACCEPTER_KEY)
    dialer.connection.open(IDENTIFY, 0.0)
    select = "0000002a2a0000000c0000001d0000000d0000002f636b622f6964656e746966790d000000080000000100000033"
    opening = "0001000100000001000c0000" + "00000000000000010000002e" + select
    assert dialer.sent().hex() == f"{len(opening) // 2:08x}" + opening


def test_a_protocol_that_the_peer_does_not_know_is_refused() -> None:
    pair = Pair(protocols=[IDENTIFY])
    pair.open(IDENTIFY)
    pair.dialer.connection.open(FILTER, 0.0)
    pair.exchange()
    assert pair.dialer.take() == [Refused(FILTER, Refusal.UNSUPPORTED)]
    assert pair.accepter.take() == []
    assert pair.dialer.connection.version_of(IDENTIFY) == VERSION


def test_asking_twice_is_asking_once() -> None:
    pair = Pair()
    pair.exchange()
    for _ in range(3):
        pair.dialer.connection.open(PING, 0.0)
    pair.exchange()
    pair.dialer.connection.open(PING, 0.0)
    pair.exchange()
    assert pair.dialer.take()[1:] == [Opened(PING, VERSION)]


def test_the_accepter_may_open_too() -> None:
    pair = Pair()
    pair.open()
    pair.accepter.connection.open(PING, 0.0)
    pair.exchange()
    assert pair.dialer.take() == pair.accepter.take() == [Opened(PING, VERSION)]


def test_before_the_handshake_nothing_opens() -> None:
    dialer = End(Direction.OUTBOUND)
    dialer.connection.open(PING, 0.0)
    assert not dialer.connection.send(PING, b"ping", 0.0)
    assert dialer.sent() == DIALER_KEY
    assert dialer.connection.queued_bytes == dialer.connection.held_bytes == 0


# --- messages ---


@pytest.mark.parametrize("step", [None, 1000, 65536])
def test_messages_arrive_both_ways(step: int | None) -> None:
    pair = Pair(step=step)
    pair.open(SYNC, RELAY)
    for payload in LONG:
        assert pair.dialer.connection.send(SYNC, payload, 0.0)
        assert pair.accepter.connection.send(RELAY, payload, 0.0)
    pair.exchange()
    assert pair.accepter.take() == [Received(SYNC, payload) for payload in LONG]
    assert pair.dialer.take() == [Received(RELAY, payload) for payload in LONG]
    assert pair.dialer.connection.queued_bytes == pair.dialer.connection.held_bytes == 0


def test_short_messages_go_out_in_one_sealed_frame() -> None:
    pair = Pair()
    pair.open(PING, DISCOVERY)
    for number in range(50):
        pair.dialer.connection.send(PING, b"ping %d" % number, 0.0)
        pair.dialer.connection.send(DISCOVERY, b"nodes %d" % number, 0.0)
    (record,) = pair.dialer.connection.data_to_send()
    assert len(record) < 50 * 25
    events = pair.accepter.receive(bytes(record))
    assert [event for event in events if isinstance(event, Received) and event.protocol is PING] == [
        Received(PING, b"ping %d" % number) for number in range(50)
    ]
    assert len(events) == 100


def test_a_message_may_follow_the_answer_at_once() -> None:
    pair = Pair()
    pair.exchange()
    pair.dialer.connection.open(TIME, 0.0)
    pair.carry(pair.dialer, pair.accepter)
    pair.accepter.connection.send(TIME, b"time", 0.0)
    pair.carry(pair.accepter, pair.dialer)
    assert pair.dialer.take()[1:] == [Opened(TIME, VERSION), Received(TIME, b"time")]


def test_what_is_not_open_is_not_sent() -> None:
    pair = Pair()
    pair.open(PING)
    assert not pair.dialer.connection.send(SYNC, b"sync", 0.0)


def test_a_message_that_is_too_large_changes_nothing() -> None:
    pair = Pair()
    pair.open(PING)
    with pytest.raises(MessageTooLarge):
        pair.dialer.connection.send(PING, bytes(1025), 0.0)
    pair.dialer.connection.send(PING, bytes(1024), 0.0)
    pair.exchange()
    assert pair.accepter.take() == [Received(PING, bytes(1024))]


def test_a_protocol_on_hold_waits_and_the_others_do_not() -> None:
    pair = Pair()
    pair.open(SYNC, PING)
    pair.accepter.connection.hold(SYNC)
    payloads = [NOISE[number:] for number in range(12)]
    for payload in payloads:
        pair.dialer.connection.send(SYNC, payload, 0.0)
    pair.dialer.connection.send(PING, b"ping", 0.0)
    pair.exchange()
    assert pair.accepter.take() == [Received(PING, b"ping")]
    assert (1 << 20) - 100 < pair.accepter.connection.held_bytes <= 1 << 20, "as much as the window allows"
    assert pair.dialer.connection.queued_bytes > 4 << 20
    released = pair.accepter.connection.release(SYNC, 0.0)
    assert released == [Received(SYNC, payload) for payload in payloads[: len(released)]]
    pair.exchange()
    assert len(released) + len(pair.accepter.take()) == 12
    assert pair.dialer.connection.queued_bytes == pair.accepter.connection.held_bytes == 0


# --- closing protocols ---


def test_closing_a_protocol_leaves_the_others() -> None:
    pair = Pair()
    pair.open(SYNC, PING)
    pair.dialer.connection.send(SYNC, b"last", 0.0)
    pair.dialer.connection.close_protocol(SYNC, 0.0)
    pair.exchange()
    assert pair.accepter.take() == [Received(SYNC, b"last"), ProtocolClosed(SYNC, None)]
    assert pair.dialer.take() == []
    assert not pair.dialer.connection.send(SYNC, b"more", 0.0)
    assert pair.dialer.connection.send(PING, b"ping", 0.0)
    pair.exchange()
    assert pair.accepter.take() == [Received(PING, b"ping")]


def test_a_closed_protocol_may_be_opened_again() -> None:
    pair = Pair()
    pair.open(SYNC, PING)
    pair.dialer.connection.close_protocol(SYNC, 0.0)
    pair.dialer.connection.open(SYNC, 0.0)
    pair.exchange()
    assert pair.accepter.take() == [ProtocolClosed(SYNC, None), Opened(SYNC, VERSION)]
    assert pair.dialer.take() == [Opened(SYNC, VERSION)]


def test_what_was_asked_for_may_be_given_up() -> None:
    pair = Pair()
    pair.open(PING)
    pair.dialer.connection.open(SYNC, 0.0)
    pair.dialer.connection.close_protocol(SYNC, 0.0)
    pair.exchange()
    assert pair.dialer.take() == []
    assert pair.accepter.take() == [Opened(SYNC, VERSION), ProtocolClosed(SYNC, ProtocolFault.RESET)]


# --- the end ---


def test_closing_is_told_and_answered() -> None:
    pair = Pair()
    pair.open(PING)
    pair.dialer.connection.send(PING, b"last words", 0.0)
    pair.dialer.connection.close(1.0)
    pair.exchange()
    assert pair.accepter.take() == [Received(PING, b"last words"), Ended(EndReason.PEER_CLOSED, "with code 0")]
    assert pair.dialer.take() == [Ended(EndReason.CLOSED)]
    assert pair.dialer.connection.next_deadline() is None


def test_closing_does_not_wait_for_ever() -> None:
    pair = Pair()
    pair.open(PING)
    pair.dialer.connection.close(10.0)
    pair.dialer.connection.close(10.5)
    assert pair.dialer.connection.next_deadline() == 11.0
    assert pair.dialer.connection.advance(10.9) == []
    assert pair.dialer.connection.advance(11.0) == [Ended(EndReason.CLOSED)]


def test_no_messages_come_while_closing() -> None:
    pair = Pair()
    pair.open(PING)
    pair.accepter.connection.send(PING, b"ping", 0.0)
    pair.dialer.connection.close(0.0)
    assert not pair.dialer.connection.send(PING, b"ping", 0.0)
    pair.carry(pair.accepter, pair.dialer)
    assert pair.dialer.take() == []
    assert pair.dialer.connection.end_of_stream(0.0) == [Ended(EndReason.CLOSED)]


def test_the_stream_may_just_end() -> None:
    pair = Pair()
    pair.open(PING)
    assert pair.dialer.connection.end_of_stream(0.0) == [Ended(EndReason.END_OF_STREAM)]
    early = End(Direction.INBOUND)
    assert ended(early.connection.end_of_stream(0.0)) is EndReason.END_OF_STREAM


def test_after_the_end_all_calls_do_nothing() -> None:
    pair = Pair()
    pair.open(PING)
    one = pair.dialer.connection
    one.end_of_stream(0.0)
    one.open(SYNC, 0.0)
    one.close_protocol(PING, 0.0)
    one.hold(PING)
    one.close(0.0)
    assert not one.send(PING, b"ping", 0.0)
    assert one.receive(memoryview(b"data"), 0.0) == one.release(PING, 0.0) == one.advance(1e9) == []
    assert one.end_of_stream(0.0) == []
    assert one.data_to_send() == []
    assert (one.next_deadline(), one.version_of(PING), one.queued_bytes, one.held_bytes) == (None, None, 0, 0)


def test_closing_during_the_handshake() -> None:
    dialer = End(Direction.OUTBOUND)
    dialer.connection.close(3.0)
    assert dialer.connection.next_deadline() == 3.0, "the event waits for the next call"
    assert ended(dialer.connection.advance(3.0)) is EndReason.CLOSED


# --- time ---


def test_the_handshake_has_five_seconds() -> None:
    dialer = End(Direction.OUTBOUND, now=100.0)
    assert dialer.connection.next_deadline() == 105.0
    assert dialer.connection.advance(104.9) == []
    assert ended(dialer.connection.advance(105.0)) is EndReason.HANDSHAKE_TIMEOUT
    slow = End(Direction.OUTBOUND, limits=WireLimits(handshake_timeout=120))
    assert slow.connection.next_deadline() == 120.0


def test_without_a_protocol_a_connection_ends() -> None:
    pair = Pair()
    pair.open()
    assert pair.accepter.connection.next_deadline() == 5.0
    assert ended(pair.accepter.connection.advance(5.0)) is EndReason.IDLE
    pair.carry(pair.accepter, pair.dialer)
    assert ended(pair.dialer.take()) is EndReason.PEER_CLOSED


def test_when_the_last_protocol_closes_time_runs_again() -> None:
    pair = Pair()
    pair.open(PING)
    assert pair.accepter.connection.advance(20.0) == []
    pair.now = 21.0
    pair.dialer.connection.close_protocol(PING, 21.0)
    pair.exchange()
    assert pair.accepter.connection.next_deadline() == pair.dialer.connection.next_deadline() == 26.0
    assert ended(pair.accepter.connection.advance(26.0)) is EndReason.IDLE


def test_an_answer_has_five_seconds() -> None:
    pair = Pair()
    pair.open(PING)
    pair.dialer.connection.open(SYNC, 7.0)
    assert pair.dialer.connection.next_deadline() == 12.0
    assert pair.dialer.connection.advance(12.0) == [Refused(SYNC, Refusal.TIMEOUT)]
    pair.now = 12.0
    pair.exchange()
    assert pair.dialer.take() == []
    assert pair.accepter.take() == [Opened(SYNC, VERSION), ProtocolClosed(SYNC, ProtocolFault.RESET)]


def test_idle_connections_live_by_pings() -> None:
    pair = Pair()
    pair.open(PING)
    for minute in range(1, 60):
        pair.now = minute * 30.0
        assert pair.dialer.connection.next_deadline() == pair.now
        for end in (pair.dialer, pair.accepter):
            assert end.connection.advance(pair.now) == []
        pair.exchange()
    assert pair.dialer.take() == pair.accepter.take() == []


def test_a_peer_that_does_not_answer_pings_is_given_up() -> None:
    pair = Pair()
    pair.open(PING)
    for now in (30.0, 60.0):
        assert pair.dialer.connection.advance(now) == []
        assert pair.dialer.sent()
    assert ended(pair.dialer.connection.advance(90.0)) is EndReason.PING_TIMEOUT
