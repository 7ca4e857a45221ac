"""Peer ids: the reference's text of a known key, and both ways between text and bytes."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.identity import Identity, base58, is_peer_id, peer_id_from_bytes, peer_id_of, peer_id_to_bytes


def test_base58_of_the_draft_that_defines_it() -> None:
    assert base58(b"Hello World!") == "2NEpo7TZRRrLZSi2U"
    assert base58(bytes.fromhex("0000287fb4cd")) == "11233QC4"
    assert base58(b"") == ""
    assert base58(bytes(3)) == "111"


def test_a_peer_id_is_the_multihash_of_the_compressed_key() -> None:
    identity = Identity((1).to_bytes(32, "big"))
    raw = peer_id_to_bytes(identity.peer_id)
    assert raw == b"\x12\x20" + sha256(identity.public_key).digest()
    assert identity.peer_id.startswith("Qm")
    assert identity.peer_id == peer_id_of(identity.public_key)


@given(st.binary(min_size=32, max_size=32))
def test_text_and_bytes_are_two_forms_of_one(digest: bytes) -> None:
    raw = b"\x12\x20" + digest
    text = peer_id_from_bytes(raw)
    assert is_peer_id(text)
    assert peer_id_to_bytes(text) == raw


@given(st.binary(max_size=40))
def test_bytes_of_another_kind_are_refused(raw: bytes) -> None:
    if len(raw) != 34 or raw[:2] != b"\x12\x20":
        with pytest.raises(ValueError, match="invalid peer id"):
            peer_id_from_bytes(raw)


@pytest.mark.parametrize(
    "text", ["", "Qm", "Q" * 46, "z" * 46, "1" * 46, "QmNQ4jky6uVqLDrPU7snqxARuNGWNLgSrTnssbRuy3ij2é"]
)
def test_texts_of_another_kind_are_refused(text: str) -> None:
    assert not is_peer_id(text)


def test_the_secret_does_not_show() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    identity = Identity(secret)
    assert "0123456789" not in repr(identity)
    assert identity == Identity(secret)
    assert hash(identity) == hash(Identity(secret))
    assert identity != Identity(secret[::-1])


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, b"\1" * 33])
def test_what_is_no_key_makes_no_identity(secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"[Ss]ecret"):
        Identity(secret)
