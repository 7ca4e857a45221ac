"""Keystore files: what is sealed opens, ckb-cli's opens, and what is wrong or hostile is refused in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ckb_node.accounts.errors import BadKeystoreError, WrongPasswordError
from ckb_node.accounts.keys import AccountKey, public_root
from ckb_node.accounts.keystore import (
    MAX_KEYSTORE_BYTES,
    MAX_SCRYPT_BYTES,
    Scrypt,
    lock_arg_in,
    name_in,
    open_keystore,
    parse,
    seal,
)

CHEAP = Scrypt(2, 8, 1)
KEY = AccountKey(b"\x12" * 32, b"\x34" * 32)
MADE_BY_CKB_CLI = Path(__file__).parent / "data" / "made-by-ckb-cli.json"
"""By `ckb-cli account new` with the password `other`; its key is of no worth."""


def sealed(**changes: Any) -> dict[str, Any]:
    """A document, with some members of `crypto` or of the whole replaced."""
    document = parse(seal(KEY, b"secret", CHEAP))
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = document
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[name]
        else:
            place[name] = value
    return document


def test_what_is_sealed_opens() -> None:
    document = parse(seal(KEY, "pässword".encode(), CHEAP, "miner"))
    assert open_keystore(document, "pässword".encode()) == KEY
    assert (name_in(document), lock_arg_in(document)) == ("miner", KEY.lock_arg)


def test_each_file_has_its_own_salt() -> None:
    first, second = (json.loads(seal(KEY, b"x", CHEAP))["crypto"] for _ in range(2))
    assert first["kdfparams"]["salt"] != second["kdfparams"]["salt"]
    assert first["ciphertext"] != second["ciphertext"]


def test_the_file_of_ckb_cli_opens_and_says_the_same_of_its_key() -> None:
    document = parse(MADE_BY_CKB_CLI.read_bytes())
    key = open_keystore(document, b"other")
    root = public_root(key)
    assert key.lock_arg == lock_arg_in(document)
    assert (root.public.hex(), root.chain_code.hex()) == (
        document["ckb_root"]["pubkey"],
        document["ckb_root"]["chain_code"],
    )
    assert name_in(document) is None
    assert sorted(json.loads(seal(key, b"x", CHEAP))) == sorted(document)


def test_another_password_is_refused() -> None:
    with pytest.raises(WrongPasswordError):
        open_keystore(sealed(), b"Secret")


@pytest.mark.parametrize("member", ["ciphertext", "mac"])
def test_a_changed_ciphertext_is_refused(member: str) -> None:
    document = sealed()
    text = document["crypto"][member]
    document["crypto"][member] = ("1" if text[0] != "1" else "2") + text[1:]
    with pytest.raises(WrongPasswordError):
        open_keystore(document, b"secret")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"version": None},
        {"crypto": None},
        {"crypto": []},
        {"crypto__cipher": "aes-256-ctr"},
        {"crypto__kdf": "pbkdf2"},
        {"crypto__ciphertext": "00" * 32},
        {"crypto__ciphertext": 7},
        {"crypto__mac": "zz" * 32},
        {"crypto__cipherparams__iv": "00"},
        {"crypto__cipherparams": None},
        {"crypto__kdfparams__salt": None},
        {"crypto__kdfparams__dklen": 64},
        {"crypto__kdfparams__n": 3},
        {"crypto__kdfparams__n": 1},
        {"crypto__kdfparams__n": True},
        {"crypto__kdfparams__n": 2.0},
        {"crypto__kdfparams__p": 0},
        {"crypto__kdfparams__r": -1},
        {"crypto__kdfparams__n": 1 << 200},
        {"hash160": "11" * 20},
    ],
)
def test_a_damaged_document_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadKeystoreError):
        open_keystore(sealed(**changes), b"secret")


@pytest.mark.parametrize(
    "cost",
    [
        Scrypt(MAX_SCRYPT_BYTES // 128 // 8 * 2, 8, 1),
        Scrypt(2, 1 << 31, 1),
        Scrypt(1 << 18, 8, 64),
        Scrypt(2, 8, 1 << 31),
    ],
)
def test_what_scrypt_may_take_is_bounded(cost: Scrypt) -> None:
    """It is refused before anything is derived: else this test would take hours, or the memory."""
    changes = {f"crypto__kdfparams__{name}": value for name, value in cost._asdict().items()}
    with pytest.raises(BadKeystoreError, match="too much memory or time"):
        open_keystore(sealed(**changes), b"secret")


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 60_000, b" " * MAX_KEYSTORE_BYTES + b"{}", b"9" * 60_000]
)
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(BadKeystoreError):
        parse(raw)
