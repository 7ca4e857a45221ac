"""A few seeds of chaos; `python -m tests.simulation` tries as many as one likes."""

from __future__ import annotations

import pytest

from tests.simulation.chaos import Chaos


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_after_chaos_the_network_is_whole_and_nothing_is_left_over(seed: int) -> None:
    Chaos(seed).run()
