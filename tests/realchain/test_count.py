"""How many facts of the public chains there are here, by chain and kind. At least 30 are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.realchain.cycles import CYCLES, OWNER_CYCLES
from tests.realchain.headers import HEADERS
from tests.realchain.kinds import MAINNET, TESTNET, Real
from tests.realchain.transactions import TRANSACTIONS
from tests.realchain.vectors import BLOCKS, all_headers, all_transactions

EVERYTHING: tuple[Real, ...] = (*HEADERS, *BLOCKS, *TRANSACTIONS)


@pytest.mark.parametrize(
    ("kind", "mainnet", "testnet"),
    [
        ("headers", 134, 33),
        ("blocks", 106, 17),
        ("transactions", 63, 19),
        ("transactions with cells and exact cycles", 54, 2),
        ("transactions with owners and exact cycles", 5, 8),
    ],
)
def test_numbers(kind: str, mainnet: int, testnet: int) -> None:
    chains = {
        "headers": [real.network for real in all_headers()],
        "blocks": [real.network for real in BLOCKS],
        "transactions": [real.network for real in all_transactions()],
        "transactions with cells and exact cycles": [r.network for r in all_transactions() if r.hash in CYCLES],
        "transactions with owners and exact cycles": [
            real.network for real in all_transactions() if real.hash in OWNER_CYCLES
        ],
    }
    assert Counter(chains[kind]) == {MAINNET: mainnet, TESTNET: testnet}


def test_none_is_counted_twice() -> None:
    everything: tuple[Sequence[Real], ...] = (all_headers(), BLOCKS, all_transactions())
    for found in everything:
        hashes = [real.hash for real in found]
        assert len(set(hashes)) == len(hashes)
    assert {real.hash for real in all_transactions()} >= {*CYCLES, *OWNER_CYCLES}
    assert not CYCLES.keys() & OWNER_CYCLES.keys()


def test_each_has_a_source() -> None:
    """A repository and a file in it, or an article."""
    assert all(len(real.source.split(" ", 1)) == 2 for real in EVERYTHING)
    assert len({real.source.split(" ")[0] for real in EVERYTHING}) >= 10
