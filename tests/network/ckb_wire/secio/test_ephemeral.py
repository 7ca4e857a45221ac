"""Ephemeral keys: both sides share a secret, and points that give none are refused."""

from __future__ import annotations

import pytest

from network.ckb_wire.secio import HandshakeError, HandshakeFault
from network.ckb_wire.secio.ephemeral import EXTRA, NistKey
from network.ckb_wire.secio.suites import EXCHANGES
from tests.support.secio import seeded_entropy

P = 2**255 - 19
SMALL_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]
"""u coordinates on Curve25519 and its twist whose multiples by a secret key are all zero."""
TOP_BIT = 1 << 255
"""Ignored in a u coordinate (RFC 7748, 5)."""


@pytest.mark.parametrize("name", list(EXCHANGES))
@pytest.mark.parametrize("seed", range(5))
def test_both_sides_come_to_the_same_secret(name: str, seed: int) -> None:
    a, b = EXCHANGES[name](seeded_entropy(seed)), EXCHANGES[name](seeded_entropy(100 + seed))
    secret = a.agree(b.public_bytes)
    assert secret == b.agree(a.public_bytes)
    assert len(secret) == {"P-256": 32, "P-384": 48, "X25519": 32}[name]
    assert len(a.public_bytes) == {"P-256": 65, "P-384": 97, "X25519": 32}[name]
    assert a.public_bytes != b.public_bytes


def test_p256_agrees_as_in_rfc_5903() -> None:
    secret = bytes.fromhex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433")
    # The secret key is the entropy's number plus one.
    key = NistKey.p256(lambda _: bytes(EXTRA) + (int.from_bytes(secret, "big") - 1).to_bytes(32, "big"))
    assert key.public_bytes.hex() == (
        "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
        "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"
    )
    remote = bytes.fromhex(
        "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
        "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab"
    )
    assert key.agree(remote).hex() == "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"


@pytest.mark.parametrize("name", ["P-256", "P-384"])
@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_extreme_entropy_still_gives_a_key(name: str, byte: int) -> None:
    key = EXCHANGES[name](lambda size: bytes([byte]) * size)
    assert key.agree(key.public_bytes)


@pytest.mark.parametrize("u", SMALL_ORDER)
@pytest.mark.parametrize("top_bit", [0, TOP_BIT])
def test_x25519_points_of_small_order_are_refused(u: int, top_bit: int) -> None:
    _expect_refusal("X25519", (u | top_bit).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 1, 31, 33, 65])
def test_x25519_keys_have_32_bytes(size: int) -> None:
    _expect_refusal("X25519", b"\x09" * size)


@pytest.mark.parametrize("name", ["P-256", "P-384"])
def test_points_off_the_curve_are_refused(name: str) -> None:
    good = EXCHANGES[name](seeded_entropy(1)).public_bytes
    half = len(good) // 2
    x, y = good[1 : half + 1], good[half + 1 :]
    changed = x[:-1] + bytes([x[-1] ^ 1])
    for point in (
        b"\x04" + changed + y,
        b"\x04" + y + x,
        b"\x04" + bytes(2 * half),
        b"\x04" + b"\xff" * 2 * half,
        b"\x04" + x,
        b"\x04" + x + y + b"\0",
        bytes([2 + y[-1] % 2]) + x,  # compressed
        bytes([6 + y[-1] % 2]) + x + y,  # hybrid
        b"\x05" + x + y,
        b"\0",  # the point at infinity
        b"",
    ):
        _expect_refusal(name, point)


def test_a_point_of_another_curve_is_refused() -> None:
    keys = {name: make(seeded_entropy(2)).public_bytes for name, make in EXCHANGES.items()}
    for name in EXCHANGES:
        for other, public in keys.items():
            if other != name:
                _expect_refusal(name, public)


def _expect_refusal(name: str, remote: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        EXCHANGES[name](seeded_entropy(0)).agree(remote)
    assert caught.value.fault is HandshakeFault.BAD_EPHEMERAL_KEY
