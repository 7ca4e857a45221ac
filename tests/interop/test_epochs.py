"""Epochs that grow and shrink: fast and slow blocks, with and without uncles, difficulty up and down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.kit_chain import Mirror
from tests.interop.kit_epochs import MOVING_EPOCHS, epochs_follow_time_and_uncles
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    text = spec_text(Path(CELLS), **MOVING_EPOCHS)
    with pair_of_nodes(tmp_path, text) as nodes:
        yield nodes


def test_epochs_follow_time_and_uncles(mirror: Mirror) -> None:
    epochs_follow_time_and_uncles(mirror)
