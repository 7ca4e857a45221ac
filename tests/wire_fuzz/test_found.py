"""A little of `make fuzz-wire` in the suite, and the inputs that it once found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzz import examples
from tests.wire_fuzz.targets import STARTS, TARGETS

FOUND: list[tuple[str, str]] = [
    ("multiaddress", "06ffff" * 60),  # an address of few bytes whose text was too long to be read again
]
"""Target and bytes in hex; what was wrong stands behind each."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_each_target_begins_with(name: str) -> None:
    for start in STARTS[name]:
        for size in range(len(start) + 1) if len(start) < 300 else (len(start),):
            TARGETS[name](start[:size])


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found(name: str, data: str) -> None:
    TARGETS[name](bytes.fromhex(data))


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    @settings(max_examples=examples(60), deadline=None)
    @given(st.binary(max_size=300))
    def attempt(data: bytes) -> None:
        TARGETS[name](data)

    attempt()
