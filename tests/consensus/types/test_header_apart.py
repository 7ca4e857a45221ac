"""A header that lies in a block, and its copy."""

from __future__ import annotations

from consensus.types.blockchain import Header


def test_a_header_apart_is_the_same() -> None:
    within = Header.view(bytes(range(256)), 8, 216)
    apart = within.apart()
    assert apart == within
    assert (apart.hash, apart.number, apart.nonce) == (within.hash, within.number, within.nonce)
    assert apart.apart() is apart
