"""Ping (protocol 0), row by row of its rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec.molecule import pack_parts
from network.limits import PING
from network.messages.peers import Ping, PingMessage, Pong
from network.protocols.ping import INTERVAL, MESSAGES_AT_ONCE, TIMEOUT, PingProtocol
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer

PING_0 = bytes.fromhex("1800000008000000000000000c0000000800000000000000")
PONG_7 = bytes.fromhex("1800000008000000010000000c0000000800000007000000")


class Records:
    """Satisfies PingRecords."""

    def __init__(self) -> None:
        self.received: list[tuple[int, int]] = []
        self.answered: list[tuple[int, int, int]] = []

    def ping_received(self, session_id: int, now_ms: int) -> None:
        self.received.append((session_id, now_ms))

    def ping_answered(self, session_id: int, round_trip_ms: int, now_ms: int) -> None:
        self.answered.append((session_id, round_trip_ms, now_ms))


class Case:
    """A handler and a peer that has the protocol open."""

    def __init__(self) -> None:
        self.scheduler, self.records = FakeScheduler(), Records()
        self.handler = PingProtocol(self.scheduler, self.records)
        self.peer = FakePeer(1).connect(self.handler)

    def receive(self, payload: bytes, peer: FakePeer | None = None) -> None:
        self.handler.received(peer or self.peer, payload)

    def pings(self, peer: FakePeer | None = None) -> list[int]:
        """Nonces of the pings sent since the last look."""
        found = []
        for payload in (peer or self.peer).take(PING):
            message = PingMessage.parse(payload).payload
            assert isinstance(message, Ping)
            found.append(message.nonce)
        return found


def pong(nonce: int) -> bytes:
    return PingMessage(payload=Pong(nonce=nonce)).raw


def test_a_ping_is_answered_at_once_with_its_number() -> None:
    case = Case()
    case.receive(PingMessage(payload=Ping(nonce=7)).raw)
    assert case.peer.take(PING) == [PONG_7]
    assert case.records.received == [(case.peer.session_id, 1_000_000)]


def test_the_first_ping_is_these_bytes_when_it_is_sent_at_the_start() -> None:
    case = Case()
    case.handler.ping_all()
    assert case.peer.take(PING) == [PING_0]


def test_every_two_minutes_a_ping_with_the_seconds_since_the_start() -> None:
    case = Case()
    case.scheduler.advance(INTERVAL - 0.1)
    assert case.pings() == []
    case.scheduler.advance(0.1)
    assert case.pings() == [120]
    case.receive(pong(120))
    case.scheduler.advance(INTERVAL)
    assert case.pings() == [240]


def test_the_round_trip_is_noted() -> None:
    case = Case()
    case.handler.ping_all()
    case.scheduler.advance(0.25)
    case.receive(pong(0))
    assert case.records.answered == [(case.peer.session_id, 250, 1_000_250)]
    assert not case.peer.has_ended


def test_who_owes_an_answer_gets_no_second_ping() -> None:
    case = Case()
    other = FakePeer(2).connect(case.handler)
    case.handler.ping_all()
    case.receive(pong(0), other)
    case.scheduler.advance(INTERVAL)
    case.handler.ping_all()
    assert case.pings() == [0]
    assert case.pings(other) == [0, 120]


@pytest.mark.parametrize("nonce", [1, 0xFFFF_FFFF])
def test_a_wrong_number_ends_the_session(nonce: int) -> None:
    case = Case()
    case.handler.ping_all()
    case.receive(pong(nonce))
    assert case.peer.disconnected == "ping failed"
    assert case.records.answered == []


def test_an_answer_that_was_not_asked_for_ends_the_session() -> None:
    case = Case()
    case.receive(pong(0))
    assert case.peer.disconnected == "ping failed"
    assert case.peer.banned is None


def test_a_second_answer_ends_the_session() -> None:
    case = Case()
    case.handler.ping_all()
    case.receive(pong(0))
    case.receive(pong(0))
    assert case.peer.disconnected == "ping failed"


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", bytes(24), PING_0[:-1], PING_0 + b"\0", PING_0[:8] + b"\2" + PING_0[9:], bytes([255]) * 1024],
)
def test_what_is_no_message_ends_the_session(payload: bytes) -> None:
    case = Case()
    case.receive(payload)
    assert case.peer.disconnected == "ping failed"
    assert case.peer.banned is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_end_the_session(payload: bytes) -> None:
    case = Case()
    case.receive(payload)
    assert case.peer.has_ended or case.peer.sent


def test_a_message_with_fields_of_the_future_is_read() -> None:
    case = Case()
    case.receive(pack_parts([PING_0[8:], b"more"]))
    assert case.peer.take(PING)
    assert not case.peer.has_ended


def test_silence_for_20_minutes_ends_the_session_at_the_next_tick() -> None:
    case = Case()
    case.handler.ping_all()
    case.scheduler.advance(TIMEOUT - 0.1)
    assert not case.peer.has_ended
    case.scheduler.advance(INTERVAL)
    assert case.peer.disconnected == "ping timeout"


def test_a_flood_is_read_slowly_and_all_of_it_is_answered() -> None:
    case = Case()
    for _ in range(int(MESSAGES_AT_ONCE) + 10):
        case.receive(PING_0)
    assert PING in case.peer.held
    assert len(case.peer.take(PING)) == int(MESSAGES_AT_ONCE) + 10
    case.scheduler.advance(10)
    assert PING not in case.peer.held
    assert not case.peer.has_ended


def test_nothing_is_left_of_a_closed_session() -> None:
    case = Case()
    for _ in range(int(MESSAGES_AT_ONCE) + 1):
        case.receive(PING_0)
    assert case.scheduler.waiting == 2
    case.handler.closed(case.peer)
    assert case.scheduler.waiting == 0
    assert not case.handler._sessions
    assert not len(case.handler._pace)
    case.receive(pong(0))
    assert not case.peer.has_ended
