"""These tests need another program; without it they are not collected (`make interop` says how to give it). Those of
keystores need ckb-cli alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.kit_chain import COUNTS, Mirror, mirror_of
from tests.support.nodes.reference import CELLS, REFERENCE, Pair, pair_of_nodes, spec_text

KEYSTORES = "test_keystores.py"
ALL = [path.name for path in Path(__file__).parent.glob("test_*.py")]
collect_ignore = [
    name for name in ALL if not (REFERENCE and CELLS) and not (os.environ.get("CKB_CLI") and name == KEYSTORES)
]
DIRECTIONS = ("reference", "ours")


@pytest.fixture(params=DIRECTIONS)
def direction(request: pytest.FixtureRequest) -> str:
    """Who makes the blocks."""
    name: str = request.param
    return name


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Both nodes on the dev chain."""
    with pair_of_nodes(tmp_path, spec_text(Path(CELLS))) as nodes:
        yield nodes


@pytest.fixture
def mirror(pair: Pair, direction: str) -> Mirror:
    return mirror_of(pair, direction)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        told = ", ".join(f"{count} {what}" for what, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"both programs agreed about {told}")
