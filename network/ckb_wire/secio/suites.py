"""Which key exchanges, ciphers and hashes there are, what a side offers, and how two sides agree on one of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from network.ckb_wire.secio.ephemeral import EphemeralKey, NistKey, X25519Key
from network.ckb_wire.secio.errors import HandshakeError, HandshakeFault

__all__ = ["CIPHERS", "DEFAULT_OFFERS", "EXCHANGES", "HASHES", "Aead", "Cipher", "Entropy", "Offers", "Suite", "choose"]

T = TypeVar("T")
Entropy = Callable[[int], bytes]
"""Gives so many random bytes."""
Aead = AESGCM | ChaCha20Poly1305


@dataclass(frozen=True, slots=True)
class Cipher:
    """An AEAD cipher with a nonce of 12 bytes and a tag of 16; `key_size` in bytes."""

    key_size: int
    make: Callable[[bytes], Aead]


EXCHANGES: Final[Mapping[str, Callable[[Entropy], EphemeralKey]]] = {
    "P-256": NistKey.p256,
    "P-384": NistKey.p384,
    "X25519": X25519Key,
}
CIPHERS: Final[Mapping[str, Cipher]] = {
    "AES-128-GCM": Cipher(16, AESGCM),
    "AES-256-GCM": Cipher(32, AESGCM),
    "CHACHA20_POLY1305": Cipher(32, ChaCha20Poly1305),
}
HASHES: Final[Mapping[str, str]] = {"SHA256": "sha256", "SHA512": "sha512"}
"""By name on the wire, how hashlib names them. They stretch the keys; all else is hashed by SHA-256."""


@dataclass(frozen=True, slots=True)
class Offers:
    """Names in the order of preference. A peer's may be unknown here; such names are skipped."""

    exchanges: Sequence[str] = tuple(EXCHANGES)
    ciphers: Sequence[str] = tuple(CIPHERS)
    hashes: Sequence[str] = tuple(HASHES)


DEFAULT_OFFERS: Final = Offers()
"""All of them, in the reference's order."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What two sides agreed on, by name."""

    exchange: str
    cipher: str
    hash: str


def choose(preferred: Offers, other: Offers) -> Suite:
    """The first name of each list that the other side has too. HandshakeError NO_COMMON_SUITE if there is none."""
    return Suite(
        _first_common("key exchange", preferred.exchanges, other.exchanges, EXCHANGES),
        _first_common("cipher", preferred.ciphers, other.ciphers, CIPHERS),
        _first_common("hash", preferred.hashes, other.hashes, HASHES),
    )


def _first_common(kind: str, preferred: Sequence[str], other: Sequence[str], known: Mapping[str, object]) -> str:
    for name in preferred:
        if name in known and name in other:
            return name
    raise HandshakeError(HandshakeFault.NO_COMMON_SUITE, f"no common {kind}")
