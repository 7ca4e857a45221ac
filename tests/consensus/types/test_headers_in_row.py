"""Headers that are unpacked together are the same as one by one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types.blockchain import Header


@given(st.lists(st.binary(min_size=208, max_size=208), max_size=5))
def test_the_same_as_one_by_one(raws: list[bytes]) -> None:
    made = Header.in_row(b"".join(raws))
    plain = [Header.parse(raw) for raw in raws]
    assert made == plain
    for one, other in zip(made, plain, strict=True):
        assert one.hash == other.hash
        assert one.pow_hash == other.pow_hash
        assert one.raw == other.raw
        for field in ("version", "compact_target", "timestamp", "number", "epoch", "parent_hash", "dao", "nonce"):
            assert getattr(one, field) == getattr(other, field)
        assert one.with_fields(number=7) == other.with_fields(number=7)


def test_a_header_apart_is_the_same() -> None:
    within = Header.view(bytes(range(256)), 8, 216)
    apart = within.apart()
    assert apart == within
    assert (apart.hash, apart.number, apart.nonce) == (within.hash, within.number, within.nonce)
    assert apart.apart() is apart


def test_half_a_header_is_none() -> None:
    with pytest.raises(struct.error):
        Header.in_row(bytes(209))
