"""One call at a time."""

from __future__ import annotations

from network.one_timer import OneTimer
from tests.support.network.clock import FakeScheduler


def test_what_is_set_last_replaces_what_was_set_before() -> None:
    clock, calls = FakeScheduler(), list[str]()
    timer = OneTimer(clock)
    timer.set(1.0, lambda: calls.append("first"))
    timer.set(2.0, lambda: calls.append("second"))
    clock.advance(5.0)
    assert calls == ["second"]
    timer.set(1.0, lambda: calls.append("third"))
    timer.stop()
    timer.stop()
    clock.advance(5.0)
    assert calls == ["second"]


def test_a_deadline_waits_for_the_timer_that_is_there_if_that_is_earlier() -> None:
    clock, calls = FakeScheduler(), list[float]()
    timer = OneTimer(clock)
    timer.set_by(1003.0, lambda: calls.append(clock.now()))
    timer.set_by(1008.0, lambda: calls.append(-1.0))
    timer.set_by(None, lambda: calls.append(-1.0))
    clock.advance(5.0)
    assert calls == [1003.0]
    timer.set_by(1008.0, lambda: calls.append(-1.0))
    timer.set_by(1007.0, lambda: calls.append(clock.now()))
    clock.advance(5.0)
    assert calls == [1003.0, 1007.0]


def test_a_deadline_that_is_past_is_not_put_off_by_setting_it_again() -> None:
    clock, calls = FakeScheduler(), list[float]()
    timer = OneTimer(clock)
    for _ in range(20):
        timer.set_by(999.0, lambda: calls.append(clock.now()))
        clock.advance(0.0005)
        if calls:
            break
    assert len(calls) == 1
