"""A few points of the matrix. In a process of its own: it forks, and threads of WebAssembly do not survive that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("points", "count"),
    [
        ("log of the chain database, late bit flip", 4),
        ("chain database, older directory, start", 4),
        ("archive segment, zeros", 4),
    ],
)
def test_points(points: str, count: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bitrot", "--only", points, "--report", str(tmp_path / "report.txt")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{count} points, 0 failed" in run.stdout
