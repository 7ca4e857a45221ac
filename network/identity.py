"""The node's own key and the peer id that follows from it (multihash of the public key, base58)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from coincurve import PrivateKey

SECRET_SIZE = 32
SHA256_MULTIHASH_PREFIX = b"\x12\x20"
PEER_ID_SIZE = 46
"""Characters of the base58 text of those 34 bytes."""
BASE58_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


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


def new_identity() -> Identity:
    """A new one."""
    return Identity(PrivateKey().secret)


def is_secret_key(secret: bytes) -> bool:
    """Whether these bytes are a secp256k1 key."""
    if len(secret) != SECRET_SIZE:  # the library would fill it up
        return False
    try:
        PrivateKey(secret)
    except ValueError:
        return False
    return True
