"""Time (protocol 102)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.limits import TIME
from network.messages.protocols import Time
from network.peer import Direction
from network.protocols.net_time import MAX_SAMPLES, MESSAGES_AT_ONCE, MIN_SAMPLES, TOLERANCE_MS, TimeProtocol
from tests.support.network.clock import WALL_MS, FakeScheduler
from tests.support.network.peers import FakePeer

TIME_1700000000000 = bytes.fromhex("10000000080000000068e5cf8b010000")
HOUR_MS = 3_600_000


class Case:
    """A handler, and what it warned of."""

    def __init__(self) -> None:
        self.scheduler, self.warned = FakeScheduler(), list[int | None]()
        self.handler = TimeProtocol(self.scheduler, self.warned.append)

    def hear(self, ahead_ms: int, direction: Direction = Direction.OUTBOUND, times: int = 1) -> FakePeer:
        """A new peer tells a time, by which this clock is ahead."""
        peer = FakePeer(1, direction=direction).connect(self.handler)
        for _ in range(times):
            self.handler.received(peer, Time(timestamp=self.scheduler.wall_ms() - ahead_ms).raw)
        assert not peer.has_ended
        return peer


def test_the_accepter_tells_its_time_once() -> None:
    case = Case()
    assert FakePeer(1).connect(case.handler).take(TIME) == [TIME_1700000000000]
    assert FakePeer(1, direction=Direction.OUTBOUND).connect(case.handler).take(TIME) == []


def test_too_few_say_nothing() -> None:
    case = Case()
    for _ in range(MIN_SAMPLES - 1):
        case.hear(5 * HOUR_MS)
    assert case.handler.offset_ms is None
    assert case.warned == []


def test_the_median_of_the_last_eleven_warns_once_and_tells_when_it_is_good_again() -> None:
    case = Case()
    for _ in range(MAX_SAMPLES):
        case.hear(TOLERANCE_MS + 1)
    assert case.handler.offset_ms == TOLERANCE_MS + 1
    assert case.warned == [TOLERANCE_MS + 1]
    for _ in range(6):
        case.hear(0)
    assert case.handler.offset_ms == 0
    assert case.warned == [TOLERANCE_MS + 1, None]


@pytest.mark.parametrize(
    ("offset", "is_told"), [(TOLERANCE_MS, False), (-TOLERANCE_MS, False), (-TOLERANCE_MS - 1, True)]
)
def test_two_hours_either_way_are_good(offset: int, is_told: bool) -> None:
    case = Case()
    for _ in range(MIN_SAMPLES):
        case.hear(offset)
    assert bool(case.warned) is is_told


def test_of_an_even_number_the_mean_of_the_middle_two() -> None:
    case = Case()
    for offset in (1, 2, 30, 41, 500, 600):
        case.hear(offset)
    assert case.handler.offset_ms == 35


def test_one_session_counts_once_however_much_it_says() -> None:
    case = Case()
    case.hear(9 * HOUR_MS, times=50)
    assert case.handler.offset_ms is None


def test_a_flood_is_read_slowly() -> None:
    case = Case()
    assert case.hear(0, Direction.INBOUND, times=int(MESSAGES_AT_ONCE)).held == {TIME}


def test_who_dialled_us_is_not_asked() -> None:
    case = Case()
    for _ in range(20):
        case.hear(9 * HOUR_MS, Direction.INBOUND)
    assert case.handler.offset_ms is None
    assert case.warned == []


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("payload", [b"", bytes(16), TIME_1700000000000 + b"\0", TIME_1700000000000[:-1]])
def test_what_is_no_message_is_banned_for_5_minutes(payload: bytes, direction: Direction) -> None:
    case = Case()
    peer = FakePeer(1, direction=direction).connect(case.handler)
    case.handler.received(peer, payload)
    assert peer.banned is not None
    assert peer.banned[0] == 300


def test_a_message_with_a_field_too_many_is_none() -> None:
    case = Case()
    peer = FakePeer(1, direction=Direction.OUTBOUND).connect(case.handler)
    case.handler.received(peer, bytes.fromhex("180000000c00000014000000") + bytes(12))
    assert peer.banned is not None


@given(st.integers(0, (1 << 64) - 1))
def test_any_time_is_taken(timestamp: int) -> None:
    case = Case()
    for _ in range(MIN_SAMPLES):
        peer = FakePeer(1, direction=Direction.OUTBOUND).connect(case.handler)
        case.handler.received(peer, Time(timestamp=timestamp).raw)
    assert case.handler.offset_ms == WALL_MS - timestamp


def test_nothing_is_left_of_a_closed_session_but_its_sample() -> None:
    case = Case()
    peer = case.hear(1)
    case.handler.closed(peer)
    assert not case.handler._counted
    assert not len(case.handler._pace)
    assert len(case.handler._offsets) == 1
