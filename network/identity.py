"""The node's own key and the peer id that follows from it (multihash of the public key, base58)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from coincurve import PrivateKey

SECRET_SIZE = 32
SHA256_MULTIHASH_PREFIX = b"\x12\x20"
PEER_ID_SIZE = 46
"""Characters of the base58 text of those 34 bytes."""
BASE58_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class IdentityError(Exception):
    """The key file cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The node's secp256k1 key, 32 bytes."""

    secret: bytes

    @property
    def public_key(self) -> bytes:
        """Compressed, 33 bytes."""
        return PrivateKey(self.secret).public_key.format(compressed=True)

    @property
    def peer_id(self) -> str:
        """How peers name this node: `Qm…`."""
        return peer_id_of(self.public_key)


def peer_id_of(public_key: bytes) -> str:
    """Base58 of the SHA-256 multihash of a compressed public key."""
    return base58(SHA256_MULTIHASH_PREFIX + sha256(public_key).digest())


def base58(data: bytes) -> str:
    """Base58 with Bitcoin's alphabet; leading zero bytes become `1`."""
    number = int.from_bytes(data, "big")
    digits = ""
    while number:
        number, rest = divmod(number, 58)
        digits = BASE58_ALPHABET[rest] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def is_peer_id(text: str) -> bool:
    """Whether a text is base58 of a SHA-256 multihash."""
    if len(text) != PEER_ID_SIZE:
        return False
    number = 0
    for digit in text:
        value = BASE58_ALPHABET.find(digit)
        if value < 0:
            return False
        number = number * 58 + value
    return number >> 256 == int.from_bytes(SHA256_MULTIHASH_PREFIX, "big")


def load_or_create_identity(path: Path) -> Identity:
    """Read the key file (32 raw bytes), or make one that only this user can read. Raises IdentityError."""
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return _create(path)
    except OSError as error:
        raise IdentityError(f"cannot read the node key {path}: {error.strerror}") from error
    if not _is_key(secret):
        raise IdentityError(f"the node key {path} is not a 32-byte secp256k1 key")
    return Identity(secret)


def _is_key(secret: bytes) -> bool:
    if len(secret) != SECRET_SIZE:  # the library would fill it up
        return False
    try:
        PrivateKey(secret)
    except ValueError:
        return False
    return True


def _create(path: Path) -> Identity:
    secret: bytes = PrivateKey().secret
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(handle, "wb") as file:
            file.write(secret)
    except OSError as error:
        raise IdentityError(f"cannot write the node key {path}: {error.strerror}") from error
    return Identity(secret)
