"""From the shared secret to one cipher key for each direction."""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

__all__ = ["DirectionKeys", "direction_keys", "stretch"]

SEED: Final = b"key expansion"
UNUSED_BEFORE: Final = 12
UNUSED_BEHIND: Final = 20
"""Room for an initial vector and a MAC key, which AEAD ciphers with counted nonces do not need; skipped, as all do."""


class DirectionKeys(NamedTuple):
    """Cipher keys of what we send and of what we receive."""

    local: bytes
    remote: bytes


def stretch(secret: bytes, hash_name: str, size: int) -> bytes:
    """`size` bytes of keys: the P_hash of TLS 1.2 (RFC 5246, 5) with a seed of its own."""
    link = hmac.digest(secret, SEED, hash_name)
    keys = b""
    while len(keys) < size:
        keys += hmac.digest(secret, link + SEED, hash_name)
        link = hmac.digest(secret, link, hash_name)
    return keys[:size]


def direction_keys(secret: bytes, hash_name: str, key_size: int, *, local_first: bool) -> DirectionKeys:
    """The keys of both directions, each out of one half of the stretched secret."""
    half = UNUSED_BEFORE + key_size + UNUSED_BEHIND
    stretched = stretch(secret, hash_name, 2 * half)
    first, second = (stretched[at + UNUSED_BEFORE :][:key_size] for at in (0, half))
    return DirectionKeys(first, second) if local_first else DirectionKeys(second, first)
