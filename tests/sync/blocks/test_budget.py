"""How much a peer may be asked for: the classes of the reference at least, and what it is seen to give."""

from __future__ import annotations

from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.budget import PeerBudget, TimeClasses


def test_classes_of_speed_are_those_of_the_reference() -> None:
    classes = TimeClasses()
    assert [classes.step(ms) for ms in (0, 1000, 1001, 1250, 1251, 1500, 1501, 9999)] == [2, 2, 1, 1, -1, -1, -2, -2]
    classes = TimeClasses()
    for sample in range(512):
        classes.step(float(sample))
    assert (classes.fast, classes.normal, classes.low) == ((1000 + 170) / 2, (1250 + 409) / 2, (1500 + 460) / 2)


def test_budget_rises_and_falls_by_classes_within_bounds() -> None:
    budget = PeerBudget()
    assert budget.limit(1000.0) == 32
    for _ in range(100):
        budget.step(2, may_fall=True)
    assert budget.limit(1000.0) == 128
    budget.step(-2, may_fall=False)
    assert budget.limit(1000.0) == 128
    for _ in range(100):
        budget.step(-2, may_fall=True)
    assert budget.limit(1000.0) == limits.MIN_BUDGET


def received(budget: PeerBudget, blocks: int, seconds: float, now: float) -> float:
    """Blocks come at an even pace."""
    for _ in range(blocks):
        now += seconds / blocks
        budget.received(now)
    return now


def test_a_fast_peer_is_asked_for_what_it_gives_in_a_second_and_a_round_trip() -> None:
    budget = PeerBudget()
    budget.asked(10.0)
    now = received(budget, 1, 0.5, 10.0)
    assert budget.round_trip == 0.5
    received(budget, 4000, 10.0, now)
    assert 380 < budget.rate < 420
    assert 580 < budget.limit(1000.0) < 620
    assert budget.limit(100_000.0) == limits.MAX_PEER_BYTES // 100_000
    assert budget.limit(100_000_000.0) == limits.MIN_BUDGET
    received(budget, 400_000, 10.0, 1000.0)
    assert budget.limit(1000.0) == limits.MAX_BUDGET
    assert abs(budget.seconds_for(400) - 0.5 - 400 / budget.rate) < 1e-9


def test_who_was_late_is_asked_for_less() -> None:
    budget = PeerBudget()
    budget.asked(0.0)
    received(budget, 4000, 10.0, 0.0)
    before = budget.limit(1000.0)
    budget.halve()
    assert budget.limit(1000.0) <= before // 2 + 1
    for _ in range(20):
        budget.halve()
    assert budget.limit(1000.0) == limits.MIN_BUDGET


def test_round_trip_follows_slowly_upwards_and_at_once_downwards() -> None:
    budget = PeerBudget()
    for seconds, expected in [(0.4, 0.4), (0.1, 0.1), (0.9, 0.2), (0.05, 0.05)]:
        budget.asked(0.0)
        budget.received(seconds)
        assert abs(budget.round_trip - expected) < 1e-9
