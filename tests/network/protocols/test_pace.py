"""Who sends too fast is read more slowly."""

from __future__ import annotations

from network.limits import PING
from network.protocols.pace import MessagePace
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer


def test_the_protocol_is_held_until_one_more_is_allowed() -> None:
    scheduler = FakeScheduler()
    pace = MessagePace(scheduler, PING, rate=2, burst=4)
    quick, slow = FakePeer(1), FakePeer(2)
    for _ in range(3):
        pace.spend(quick)
    assert not quick.held
    pace.spend(quick)
    pace.spend(slow)
    assert quick.held == {PING}
    assert not slow.held
    scheduler.advance(0.49)
    assert quick.held
    scheduler.advance(0.02)
    assert not quick.held


def test_what_came_before_the_hold_took_effect_counts() -> None:
    scheduler = FakeScheduler()
    pace = MessagePace(scheduler, PING, rate=1, burst=1)
    peer = FakePeer(1)
    for _ in range(6):
        pace.spend(peer)
    assert scheduler.waiting == 1
    scheduler.advance(1.1)
    assert not peer.held
    pace.spend(peer)
    assert peer.held == {PING}
    scheduler.advance(4)
    assert peer.held == {PING}


def test_a_closed_session_is_forgotten() -> None:
    scheduler = FakeScheduler()
    pace = MessagePace(scheduler, PING, rate=1, burst=1)
    peer = FakePeer(1)
    pace.spend(peer)
    pace.forget(peer)
    pace.forget(peer)
    assert len(pace) == 0
    assert scheduler.waiting == 0
