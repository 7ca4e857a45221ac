"""A few points of the matrix. In a process of its own: it forks, and threads of WebAssembly do not survive that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
POINTS = {
    "log of the chain database, late bit flip": 4,
    "chain database, older directory, start": 4,
    "archive segment, zeros": 4,
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of each point: the directory that they all damage copies of is made once."""
    report = tmp_path_factory.mktemp("bitrot") / "report.txt"
    command = [sys.executable, "-m", "tests.bitrot", "--report", str(report)]
    for points in POINTS:
        command += ["--only", points]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{sum(POINTS.values())} points, 0 failed" in run.stdout
    lines = (line.rpartition(": ") for line in report.read_text().splitlines())
    return {point: verdict for point, _, verdict in lines if point}


@pytest.mark.parametrize("points", POINTS)
def test_points(points: str, verdicts: dict[str, str]) -> None:
    found = [verdict for point, verdict in verdicts.items() if points in point]
    assert len(found) == POINTS[points]
    assert "FAILED" not in found
