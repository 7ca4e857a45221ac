"""Hours of simulated time; `python -m tests.simulation hours` runs a day and more."""

from __future__ import annotations

import pytest

from tests.simulation.sync.long_run import LongRun


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tables_and_timers_stay_flat() -> None:
    LongRun(24, hours=2).run()
