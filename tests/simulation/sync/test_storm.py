"""A few seeds of misfortune; `python -m tests.simulation sync` tries as many as one likes."""

from __future__ import annotations

import pytest

from tests.simulation.sync.storm import Storm

SEEDS = (1, 2)
FAILED = (52023, 52028, 52037, 54039, 54074, 1796052108050, 1796054737072)
"""Seeds that failed once."""


@pytest.mark.parametrize("seed", [*SEEDS, *FAILED])
def test_after_a_storm_there_is_one_tip(seed: int) -> None:
    Storm(seed).run()
