"""NervosDAO from deposit to withdrawal, 180 epochs and more, with epochs of two blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.kit_chain import Mirror
from tests.interop.kit_dao import SHORT_EPOCHS, deposit_withdraw_and_claim
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    text = spec_text(Path(CELLS), **SHORT_EPOCHS)
    with pair_of_nodes(tmp_path, text) as nodes:
        yield nodes


def test_deposit_withdraw_and_claim(mirror: Mirror) -> None:
    deposit_withdraw_and_claim(mirror)
