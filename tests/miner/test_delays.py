"""Samples of the distributions: their bounds, and their means over many."""

from __future__ import annotations

import statistics
from random import Random

import pytest

from ckb_node.miner.delays import Delay, constant, normal, poisson, uniform

SAMPLES = 4000


def samples(delay: Delay) -> list[float]:
    return [delay() for _ in range(SAMPLES)]


def test_constant() -> None:
    assert set(samples(constant(7))) == {7}


def test_uniform_has_the_lower_bound_and_not_the_upper() -> None:
    assert set(samples(uniform(Random(1), 3, 6))) == {3, 4, 5}


def test_normal_is_never_negative() -> None:
    drawn = samples(normal(Random(2), 100, 200))
    assert min(drawn) == 0
    assert statistics.fmean(samples(normal(Random(3), 5000, 300))) == pytest.approx(5000, rel=0.02)
    assert statistics.stdev(samples(normal(Random(4), 5000, 300))) == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("mean", [0.5, 20, 999, 1000, 1e6])
def test_poisson_has_its_mean_as_variance(mean: float) -> None:
    drawn = samples(poisson(Random(5), mean))
    assert all(value >= 0 and value == int(value) for value in drawn)
    assert statistics.fmean(drawn) == pytest.approx(mean, rel=0.1)
    assert statistics.variance(drawn) == pytest.approx(mean, rel=0.15)
