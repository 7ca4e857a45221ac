"""Keystore files: a key under a password, as ckb-cli writes and reads them (Web3 Secret Storage, version 3).

scrypt makes 32 bytes of the password: the first half is the key of AES-128-CTR over secret and chain code, the second
one authenticates the ciphertext by keccak-256. A file from elsewhere is hostile: what it asks of scrypt is bounded.

The primitives are imported when they are used: they take long to load, and most commands open no keystore.
"""

from __future__ import annotations

import hmac
import json
import secrets
import uuid
from typing import Any, Final, NamedTuple

from ckb_node.accounts.errors import BadKeystoreError, WrongPasswordError
from ckb_node.accounts.keys import CHAIN_CODE_SIZE, LOCK_ARG_SIZE, ROOT_PATH, SECRET_SIZE, AccountKey, public_root

__all__ = [
    "MAX_KEYSTORE_BYTES",
    "MAX_NAME_CHARS",
    "STRONG",
    "Scrypt",
    "is_name",
    "lock_arg_in",
    "name_in",
    "open_keystore",
    "parse",
    "seal",
]

VERSION: Final = 3
ORIGIN: Final = "ckb-cli"
"""ckb-cli writes and expects its own name."""
CIPHER, KDF = "aes-128-ctr", "scrypt"
KEY_SIZE: Final = SECRET_SIZE + CHAIN_CODE_SIZE
DERIVED_SIZE: Final = 32
SALT_SIZE, IV_SIZE, MAC_SIZE = 32, 16, 32

MAX_KEYSTORE_BYTES: Final = 1 << 16
MAX_PASSWORD_BYTES: Final = 1 << 12
MAX_NAME_CHARS: Final = 64
MAX_SCRYPT_BYTES: Final = 1 << 30
"""Memory of scrypt: 128·N·r. ckb-cli's own files need a quarter of it."""
MAX_SCRYPT_WORK: Final = 1 << 24
"""N·r·p, eight times what ckb-cli's files take: about ten seconds."""


class Scrypt(NamedTuple):
    """Its cost."""

    n: int
    r: int
    p: int


STRONG: Final = Scrypt(1 << 18, 8, 1)
"""As ckb-cli: a quarter of a gigabyte, a second."""


def parse(raw: bytes) -> dict[str, Any]:
    """The document of a keystore file. Raises BadKeystoreError."""
    if len(raw) > MAX_KEYSTORE_BYTES:
        raise BadKeystoreError(f"more than {MAX_KEYSTORE_BYTES} bytes")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadKeystoreError("no JSON document") from error
    if not isinstance(document, dict):
        raise BadKeystoreError("no JSON object")
    return document


def name_in(document: dict[str, Any]) -> str | None:
    """The name that an account was given here; ckb-cli has none. What may be no name is left out: it would be shown."""
    name = document.get("name")
    return name if isinstance(name, str) and is_name(name) else None


def is_name(text: str) -> bool:
    """Short, printable, and not blank."""
    return bool(text.strip()) and len(text) <= MAX_NAME_CHARS and text.isprintable()


def lock_arg_in(document: dict[str, Any]) -> bytes:
    """Whose key the document says that it holds. Raises BadKeystoreError."""
    return _bytes(document, "hash160", LOCK_ARG_SIZE)


def seal(key: AccountKey, password: bytes, cost: Scrypt = STRONG, name: str | None = None) -> bytes:
    """A keystore file with the key. Raises BadKeyError."""
    salt, iv = secrets.token_bytes(SALT_SIZE), secrets.token_bytes(IV_SIZE)
    derived = _derive(password, salt, cost)
    ciphertext = _cipher(derived, iv).encrypt(key.secret + key.chain_code)
    root = public_root(key)
    document = {
        "origin": ORIGIN,
        "id": str(uuid.uuid4()),
        "version": VERSION,
        "hash160": key.lock_arg.hex(),
        "crypto": {
            "cipher": CIPHER,
            "ciphertext": ciphertext.hex(),
            "cipherparams": {"iv": iv.hex()},
            "kdf": KDF,
            "kdfparams": {"salt": salt.hex(), "n": cost.n, "r": cost.r, "p": cost.p, "dklen": DERIVED_SIZE},
            "mac": _mac(derived, ciphertext).hex(),
        },
        "ckb_root": {"path": ROOT_PATH, "pubkey": root.public.hex(), "chain_code": root.chain_code.hex()},
    }
    if name is not None:
        document["name"] = name
    return json.dumps(document, indent=2).encode() + b"\n"


def open_keystore(document: dict[str, Any], password: bytes) -> AccountKey:
    """The key in a document. Raises BadKeystoreError, WrongPasswordError, BadKeyError."""
    if document.get("version") != VERSION:
        raise BadKeystoreError(f"only version {VERSION} is supported")
    crypto = _object(document, "crypto")
    _require(crypto, "cipher", CIPHER)
    _require(crypto, "kdf", KDF)
    ciphertext, mac = _bytes(crypto, "ciphertext", KEY_SIZE), _bytes(crypto, "mac", MAC_SIZE)
    iv = _bytes(_object(crypto, "cipherparams"), "iv", IV_SIZE)
    params = _object(crypto, "kdfparams")
    derived = _derive(password, _bytes(params, "salt", SALT_SIZE), _cost(params))
    if not hmac.compare_digest(_mac(derived, ciphertext), mac):
        raise WrongPasswordError
    plain = _cipher(derived, iv).decrypt(ciphertext)
    key = AccountKey(plain[:SECRET_SIZE], plain[SECRET_SIZE:])
    if "hash160" in document and lock_arg_in(document) != key.lock_arg:
        raise BadKeystoreError("it holds another account's key than it says")
    return key


def _cost(params: dict[str, Any]) -> Scrypt:
    cost = Scrypt(*(_number(params, name) for name in ("n", "r", "p")))
    if _number(params, "dklen") != DERIVED_SIZE:
        raise BadKeystoreError(f"kdfparams.dklen: only {DERIVED_SIZE} is supported")
    if cost.n < 2 or cost.n & (cost.n - 1):
        raise BadKeystoreError("kdfparams.n: not a power of two above 1")
    if 128 * cost.n * cost.r > MAX_SCRYPT_BYTES or cost.n * cost.r * cost.p > MAX_SCRYPT_WORK:
        raise BadKeystoreError("kdfparams: scrypt would take too much memory or time")
    return cost


def _derive(password: bytes, salt: bytes, cost: Scrypt) -> bytes:
    from Crypto.Protocol.KDF import scrypt

    derived: Any = scrypt(password, salt, DERIVED_SIZE, cost.n, cost.r, cost.p)
    return bytes(derived)


def _cipher(derived: bytes, iv: bytes) -> Any:
    from Crypto.Cipher import AES

    return AES.new(derived[:16], AES.MODE_CTR, nonce=b"", initial_value=iv)


def _mac(derived: bytes, ciphertext: bytes) -> bytes:
    from Crypto.Hash import keccak

    digest: bytes = keccak.new(digest_bits=256, data=derived[16:] + ciphertext).digest()
    return digest


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    found = parent.get(name)
    if not isinstance(found, dict):
        raise BadKeystoreError(f"{name}: missing, or no object")
    return found


def _require(parent: dict[str, Any], name: str, value: str) -> None:
    if parent.get(name) != value:
        raise BadKeystoreError(f"{name}: only {value} is supported")


def _bytes(parent: dict[str, Any], name: str, size: int) -> bytes:
    text = parent.get(name)
    try:
        found = bytes.fromhex(text) if isinstance(text, str) and len(text) == 2 * size else b""
    except ValueError:
        found = b""
    if len(found) != size:
        raise BadKeystoreError(f"{name}: not {size} bytes in hexadecimal digits")
    return found


def _number(parent: dict[str, Any], name: str) -> int:
    found = parent.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 < found < 1 << 32:
        raise BadKeystoreError(f"kdfparams.{name}: not a positive number below 2³²")
    return found
