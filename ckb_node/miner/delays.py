"""How long the Dummy worker takes for a block, by the distributions of the reference's configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Final

Delay = Callable[[], float]
"""A sample, in milliseconds, never negative."""

_NEARLY_NORMAL: Final = 1000.0
"""A Poisson distribution with such a mean cannot be told from a normal one by its delays."""


def constant(value: float) -> Delay:
    """Always this."""
    return lambda: value


def uniform(rng: Random, low: int, high: int) -> Delay:
    """Whole milliseconds from `low` to below `high`."""
    return lambda: rng.randrange(low, high)


def normal(rng: Random, mean: float, std_dev: float) -> Delay:
    """What would be negative is none."""
    return lambda: max(0.0, rng.gauss(mean, std_dev))


def poisson(rng: Random, mean: float) -> Delay:
    """Of mean `mean`, above 0."""
    if mean >= _NEARLY_NORMAL:
        return lambda: max(0.0, round(rng.gauss(mean, math.sqrt(mean))))
    return lambda: _arrivals(rng, mean)


def _arrivals(rng: Random, mean: float) -> int:
    """Arrivals in a time of `mean`, when one comes on average in a time of 1."""
    count, time = 0, rng.expovariate(1.0)
    while time < mean:
        count += 1
        time += rng.expovariate(1.0)
    return count
