"""The node's own key and the peer id that follows from it (multihash of the public key, base58)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from coincurve import PrivateKey

SECRET_SIZE = 32
SHA256_MULTIHASH_PREFIX = b"\x12\x20"
PEER_ID_BYTES = 34
PEER_ID_SIZE = 46
"""Characters of the base58 text of those 34 bytes."""
BASE58_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_NO_DIGIT = 255
_VALUES = bytes(BASE58_ALPHABET.index(chr(byte)) if chr(byte) in BASE58_ALPHABET else _NO_DIGIT for byte in range(256))
_PAIRS = [first + second for first in BASE58_ALPHABET for second in BASE58_ALPHABET]
_CHUNK_PAIRS = 5
_CHUNK = 58 ** (2 * _CHUNK_PAIRS)
"""So much is split off a large number at once; the rest is arithmetic of one machine word."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The node's secp256k1 key, 32 bytes. ValueError when they are none."""

    secret: bytes = field(repr=False)
    private_key: PrivateKey = field(init=False, repr=False, compare=False)
    """Ready to sign; made once, since that costs as much as a signature."""
    public_key: bytes = field(init=False)
    """Compressed, 33 bytes."""

    def __post_init__(self) -> None:
        private_key = PrivateKey(self.secret)
        object.__setattr__(self, "private_key", private_key)  # the class is frozen for others
        object.__setattr__(self, "public_key", private_key.public_key.format(compressed=True))

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
    digits = list[str]()
    while number:
        number, chunk = divmod(number, _CHUNK)
        for _ in range(_CHUNK_PAIRS):
            chunk, pair = divmod(chunk, len(_PAIRS))
            digits.append(_PAIRS[pair])
    text = "".join(reversed(digits)).lstrip(BASE58_ALPHABET[0])
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def is_peer_id(text: str) -> bool:
    """Whether a text is base58 of a SHA-256 multihash."""
    try:
        peer_id_to_bytes(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def peer_id_to_bytes(text: str) -> bytes:
    """The multihash that a peer id is the base58 of, 34 bytes. Raises ValueError."""
    if len(text) != PEER_ID_SIZE or not text.isascii():
        raise ValueError("invalid peer id")
    number = 0
    for value in text.encode().translate(_VALUES):
        if value == _NO_DIGIT:
            raise ValueError("invalid peer id")
        number = number * 58 + value
    if number >> 256 != int.from_bytes(SHA256_MULTIHASH_PREFIX, "big"):
        raise ValueError("invalid peer id")
    return number.to_bytes(PEER_ID_BYTES, "big")


@lru_cache(maxsize=1024)  # one message names the same peer many times
def peer_id_from_bytes(data: bytes) -> str:
    """The peer id of a SHA-256 multihash. Raises ValueError."""
    if len(data) != PEER_ID_BYTES or not data.startswith(SHA256_MULTIHASH_PREFIX):
        raise ValueError("invalid peer id")
    return base58(data)


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
