"""A few rounds of `tests/soak/kill.py`: a killed node comes back with everything that it acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.kill import run

pytestmark = pytest.mark.slow


def test_a_killed_node_loses_nothing(tmp_path: Path) -> None:
    seen = run(tmp_path / "node", rounds=4, seed=23, check_every=4, deadline_s=100)
    assert seen.main
    assert seen.committed
