"""Keys and what is derived of them: the vectors of BIP 32, and a file that ckb-cli made."""

from __future__ import annotations

import pytest

from ckb_node.accounts.errors import BadKeyError
from ckb_node.accounts.keys import AccountKey, hardened_child, is_secret, key_of_secret, new_key, public_root

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_a_hardened_child_is_that_of_bip_32() -> None:
    """Its first test vector, m and m/0'."""
    master = AccountKey(
        bytes.fromhex("e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35"),
        bytes.fromhex("873dff81c02f525623fd1fe5167eac3a55a049de3d314bb42ee227ffed37d508"),
    )
    child = hardened_child(master, 0)
    assert child.secret.hex() == "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"
    assert child.chain_code.hex() == "47fdacbd0f1097043b78c63c20c34ef4ed9a111d980047ad16282c7ae6236141"


@pytest.mark.parametrize(
    ("secret", "is_one"),
    [(0, False), (1, True), (ORDER - 1, True), (ORDER, False), ((1 << 256) - 1, False)],
)
def test_a_secret_is_between_zero_and_the_order(secret: int, is_one: bool) -> None:
    raw = secret.to_bytes(32, "big")
    assert is_secret(raw) == is_one
    if is_one:
        assert key_of_secret(raw).secret == raw
    else:
        with pytest.raises(BadKeyError):
            key_of_secret(raw)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_has_32_bytes(size: int) -> None:
    with pytest.raises(BadKeyError):
        key_of_secret(b"\1" * size)


def test_new_keys_differ() -> None:
    first, second = new_key(), new_key()
    assert first.secret != second.secret
    assert first.chain_code != second.chain_code
    assert first.lock_arg != second.lock_arg
    assert public_root(first).public != public_root(second).public
