"""Dialling through two routers: when attempts begin and end, and what becomes of the first that stands."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from network.multiaddr import Multiaddr
from network.peer import Direction
from network.protocols.hole_punching import HolePuncher
from network.protocols.hole_punching.traversal import (
    ACCEPTER_DELAY,
    ATTEMPT,
    JITTER,
    LIMIT,
    MAX_AT_ONCE,
    MAX_DELAY,
    PAUSE,
)
from network.transport import Dialling, Link
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import address


class FakeLink:
    """Satisfies network.transport.Link; nothing is sent on it."""

    buffered_bytes = 0

    def write(self, data: Sequence[bytes | bytearray]) -> None:
        raise AssertionError(data)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class FakeReceiver:
    """Satisfies network.transport.Receiver."""

    def receive(self, data: memoryview) -> None: ...

    def end_of_stream(self) -> None: ...

    def lost(self, reason: str) -> None: ...


class FakeDial:
    """Satisfies network.transport.Dial."""

    def __init__(self, at: float, target: Multiaddr, dialling: Dialling) -> None:
        self.at, self.target, self.dialling = at, target, dialling
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeTransport:
    """Satisfies network.transport.Transport; tests decide what comes of a dial."""

    def __init__(self, scheduler: FakeScheduler) -> None:
        self._scheduler = scheduler
        self.dials: list[FakeDial] = []

    def dial(self, address: Multiaddr, dialling: Dialling) -> FakeDial:
        dial = FakeDial(self._scheduler.now(), address, dialling)
        self.dials.append(dial)
        return dial

    @property
    def live(self) -> list[FakeDial]:
        return [dial for dial in self.dials if not dial.is_cancelled]


class Case:
    """A puncher with all that it uses."""

    def __init__(self) -> None:
        self.scheduler = FakeScheduler()
        self.transport = FakeTransport(self.scheduler)
        self.adopted: list[tuple[Multiaddr, Direction]] = []
        self.receiver = FakeReceiver()
        self.puncher = HolePuncher(self.transport, self.scheduler, Random(3), self._adopt)

    def _adopt(self, link: Link, at: Multiaddr, direction: Direction) -> FakeReceiver:
        assert isinstance(link, FakeLink)
        self.adopted.append((at, direction))
        return self.receiver


def test_attempts_of_a_fifth_of_a_second_with_pauses_for_half_a_minute() -> None:
    case = Case()
    case.puncher.punch([address(1)], Direction.OUTBOUND, 0)
    case.scheduler.advance(LIMIT + 1)
    steps = [
        later.at - earlier.at for earlier, later in zip(case.transport.dials, case.transport.dials[1:], strict=False)
    ]
    assert all(ATTEMPT + PAUSE - JITTER - 1e-6 <= step <= ATTEMPT + PAUSE + JITTER + 1e-6 for step in steps)
    assert len(set(steps)) > 10
    assert 60 < len(case.transport.dials) < 90
    assert case.transport.live == []
    assert len(case.puncher) == 0
    assert case.scheduler.waiting == 0


def test_a_refusal_is_tried_again_after_a_pause() -> None:
    case = Case()
    case.puncher.punch([address(1)], Direction.OUTBOUND, 0)
    case.scheduler.advance(0.05)
    case.transport.dials[0].dialling.failed("refused")
    case.scheduler.advance(PAUSE - JITTER - 0.01)
    assert len(case.transport.dials) == 1
    case.scheduler.advance(2 * JITTER + 0.02)
    assert len(case.transport.dials) == 2


@pytest.mark.parametrize("direction", list(Direction))
def test_the_first_that_stands_wins_and_all_others_end(direction: Direction) -> None:
    case = Case()
    case.puncher.punch([address(1), address(2), address(3)], direction, 0)
    case.scheduler.advance(ATTEMPT / 2)
    winner = next(dial for dial in reversed(case.transport.live) if dial.target == address(2))
    assert winner.dialling.connected(FakeLink()) is case.receiver
    assert case.adopted == [(address(2), direction)]
    assert case.transport.live == [winner]
    assert len(case.puncher) == 0
    assert case.scheduler.waiting == 0


def test_few_peers_at_once() -> None:
    case = Case()
    for seed in range(10):
        case.puncher.punch([address(seed)], Direction.INBOUND)
    case.scheduler.advance(ACCEPTER_DELAY)
    assert len(case.transport.dials) == len(case.puncher) == MAX_AT_ONCE
    case.scheduler.advance(LIMIT)
    case.puncher.punch([address(11)], Direction.INBOUND)
    assert len(case.puncher) == 1


def test_nowhere_to_dial_is_no_meeting() -> None:
    case = Case()
    case.puncher.punch([], Direction.OUTBOUND)
    assert len(case.puncher) == 0
    assert case.scheduler.waiting == 0


@pytest.mark.parametrize(("delay", "begins"), [(0.0, 0.0), (0.7, 0.7), (100.0, MAX_DELAY)])
def test_dialling_begins_after_a_delay(delay: float, begins: float) -> None:
    case = Case()
    start = case.scheduler.now()
    case.puncher.punch([address(1)], Direction.OUTBOUND, delay)
    case.scheduler.advance(begins)
    assert [dial.at for dial in case.transport.dials] == [start + begins]


def test_a_connection_that_comes_from_the_other_side_is_the_diallers() -> None:
    case = Case()
    case.puncher.punch([address(1), address(2)], Direction.OUTBOUND, 1)
    assert case.puncher.accepted(FakeLink(), address(2, with_id=False)) is case.receiver
    assert case.adopted == [(address(2), Direction.OUTBOUND)]
    assert len(case.puncher) == 0
    assert case.scheduler.waiting == 0


def test_the_accepter_accepts_it_as_usual_and_stops_to_dial() -> None:
    case = Case()
    case.puncher.punch([address(1)], Direction.INBOUND)
    assert case.puncher.accepted(FakeLink(), address(1, with_id=False)) is None
    assert case.adopted == []
    assert case.scheduler.waiting == 0


@pytest.mark.parametrize("other", [address(2, with_id=False), address(1, port=8116, with_id=False)])
def test_strangers_are_strangers(other: Multiaddr) -> None:
    case = Case()
    case.puncher.punch([address(1)], Direction.OUTBOUND)
    assert case.puncher.accepted(FakeLink(), other) is None
    assert len(case.puncher) == 1


def test_closing_gives_up() -> None:
    case = Case()
    case.puncher.punch([address(1), address(2)], Direction.OUTBOUND)
    case.puncher.close()
    assert case.transport.live == []
    assert case.scheduler.waiting == 0
