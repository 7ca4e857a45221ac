"""A quarter of a minute of `tests/soak/mining_day.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.mining_day import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_no_acknowledged_block_is_lost(tmp_path: Path) -> None:
    day = run(tmp_path, seconds=15, seed=7)
    assert len(day.miner.acknowledged) > 10
    assert day.payer.paid > 0
