"""Agreement on a suite: the preferred side's order wins, and what is unknown is skipped."""

from __future__ import annotations

import pytest

from network.ckb_wire.secio import DEFAULT_OFFERS, HandshakeError, HandshakeFault, Offers, Suite
from network.ckb_wire.secio.suites import choose


def test_the_defaults_are_the_references() -> None:
    assert ",".join(DEFAULT_OFFERS.exchanges) == "P-256,P-384,X25519"
    assert ",".join(DEFAULT_OFFERS.ciphers) == "AES-128-GCM,AES-256-GCM,CHACHA20_POLY1305"
    assert ",".join(DEFAULT_OFFERS.hashes) == "SHA256,SHA512"


def test_the_first_name_of_the_preferred_side_wins() -> None:
    preferred = Offers(("X25519", "P-256"), ("CHACHA20_POLY1305", "AES-128-GCM"), ("SHA512", "SHA256"))
    assert choose(preferred, DEFAULT_OFFERS) == Suite("X25519", "CHACHA20_POLY1305", "SHA512")
    assert choose(DEFAULT_OFFERS, preferred) == Suite("P-256", "AES-128-GCM", "SHA256")


def test_unknown_names_are_skipped_even_if_both_sides_have_them() -> None:
    odd = Offers(("ROT13", "P-384"), ("", "AES-256-GCM"), ("MD5", "SHA512"))
    assert choose(odd, odd) == Suite("P-384", "AES-256-GCM", "SHA512")


@pytest.mark.parametrize(
    "other",
    [
        Offers(exchanges=(" P-256", "p-384")),
        Offers(ciphers=("AES-128-GCM ", "AES-256-CBC")),
        Offers(hashes=("",)),
    ],
)
def test_without_a_common_name_there_is_no_suite(other: Offers) -> None:
    for pair in ((other, DEFAULT_OFFERS), (DEFAULT_OFFERS, other)):
        with pytest.raises(HandshakeError) as caught:
            choose(*pair)
        assert caught.value.fault is HandshakeFault.NO_COMMON_SUITE
