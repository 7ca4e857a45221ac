"""The filter of what a peer probably knows."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from network.protocols.known_addresses import CELLS, FULL, KnownAddresses


def test_what_was_added_last_is_known_and_nothing_else_at_first() -> None:
    known = KnownAddresses(Random(1))
    assert b"a" not in known
    known.add(b"a")
    assert b"a" in known
    assert b"b" not in known


@given(st.sets(st.binary(min_size=1, max_size=60), max_size=40), st.integers(0, 1 << 32))
def test_the_last_few_are_always_known(keys: set[bytes], seed: int) -> None:
    """A cell is full for six more insertions at least."""
    known = KnownAddresses(Random(seed))
    known.update(sorted(keys))
    for key in sorted(keys)[-FULL + 1 :]:
        assert key in known


def test_after_very_many_few_strangers_seem_known() -> None:
    known = KnownAddresses(Random(2))
    known.update(number.to_bytes(4, "big") for number in range(20_000))
    strangers = [number.to_bytes(4, "big") for number in range(1_000_000, 1_002_000)]
    assert sum(stranger in known for stranger in strangers) < 0.06 * len(strangers)
    recent = [number.to_bytes(4, "big") for number in range(19_900, 20_000)]
    assert sum(key in known for key in recent) > 60


def test_its_size_is_fixed_and_its_choice_is_the_seeds() -> None:
    first, second = KnownAddresses(Random(3)), KnownAddresses(Random(3))
    for filled in (first, second):
        filled.update(bytes([number]) for number in range(200))
    assert first._cells == second._cells
    assert len(first._cells) == CELLS
