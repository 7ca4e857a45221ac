"""Slices of work: in turn, and not all at once."""

from __future__ import annotations

import pytest

from ckb_node.sync.relay.rounds import ROUND, Rounds
from tests.support.network.clock import FakeScheduler


class SlowClock(FakeScheduler):
    """Time goes on by a part of a round whenever somebody looks."""

    def now(self) -> float:
        self.looks = getattr(self, "looks", 0) + 1
        return super().now() + self.looks * ROUND / 4


def test_slices_come_in_turn() -> None:
    clock, done = FakeScheduler(), list[int]()
    rounds = Rounds(clock)
    for number in range(5):
        rounds.later(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == []
    clock.advance(0.0)
    assert done == list(range(5))
    assert clock.waiting == 0


def test_what_does_not_fit_a_round_waits_for_the_next() -> None:
    clock, done = SlowClock(), list[int]()
    rounds = Rounds(clock)
    for number in range(10):
        rounds.later(lambda number=number: done.append(number))  # type: ignore[misc]
    rounds._go()
    assert 0 < len(done) < 10
    assert rounds._timer is not None
    clock.advance(0.1)
    assert done == list(range(10))


def test_a_slice_that_fails_does_not_keep_the_others() -> None:
    clock, done = FakeScheduler(), list[int]()
    rounds = Rounds(clock)
    rounds.later(lambda: done[7])  # type: ignore[arg-type]
    rounds.later(lambda: done.append(1))
    with pytest.raises(IndexError):
        rounds._go()
    clock.advance(0.1)
    assert done == [1]
