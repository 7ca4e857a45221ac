"""Allowances: nobody gets more than the rate and the burst allow, whenever they ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.budget import Allowance, Allowances


def test_a_burst_then_the_rate() -> None:
    allowance = Allowance(2.0, 10.0, now=100.0)
    allowance.spend(10.0, 100.0)
    assert allowance.left(100.0) == 0.0
    assert allowance.wait(100.0) == pytest.approx(0.5)
    assert allowance.left(101.0) == 2.0
    assert allowance.left(1000.0) == 10.0


def test_what_is_overdrawn_is_paid_back_first() -> None:
    allowance = Allowance(2.0, 10.0, now=0.0)
    allowance.spend(30.0, 0.0)
    assert allowance.left(5.0) == -10.0
    assert allowance.wait(5.0) == pytest.approx(5.5)
    assert allowance.wait(11.0) == 0.0


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    allowance = Allowance(1000.0, 1.0, now=10.0)
    allowance.spend(1.0, 10.0)
    assert allowance.left(10.0) == 0.0
    assert allowance.left(9.0) == 0.0


@given(
    st.lists(st.tuples(st.floats(min_value=0.0, max_value=10.0), st.floats(min_value=0.0, max_value=50.0)), max_size=50)
)
def test_never_more_than_burst_and_rate(turns: list[tuple[float, float]]) -> None:
    allowance, now, spent = Allowance(3.0, 20.0, now=0.0), 0.0, 0.0
    for pause, wish in turns:
        now += pause
        units = min(wish, max(0.0, allowance.left(now)))
        allowance.spend(units, now)
        spent += units
    assert spent <= 20.0 + 3.0 * now + 1e-6


def test_each_key_has_its_own() -> None:
    allowances = Allowances[str](1.0, 5.0, max_keys=10)
    allowances.spend("a", 5.0, 0.0)
    assert allowances.left("a", 0.0) == 0.0
    assert allowances.left("b", 0.0) == 5.0


def test_as_many_keys_as_are_worth_a_memory() -> None:
    allowances = Allowances[int](1.0, 5.0, max_keys=10)
    for key in range(100):
        allowances.spend(key, 5.0, 0.0)
        allowances.spend(0, 0.0, 0.0)
    assert len(allowances) == 10
    assert allowances.left(0, 0.0) == 0.0, "what is in use stays"
    assert allowances.left(50, 0.0) == 5.0, "what is not is forgotten"
