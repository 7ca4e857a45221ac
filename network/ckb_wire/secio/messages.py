"""The two messages of the handshake in clear (`handshake.mol`). Strings are bytes here, checked by who reads them."""

from __future__ import annotations

from typing import Final

from consensus.codec.molecule import BYTES, Field, Table, field
from consensus.errors import MoleculeError

__all__ = ["Exchange", "Propose", "pack_static_key", "parse_static_key"]

_SECP256K1_ITEM: Final = bytes(4)
"""The id of the only item of the union PublicKey."""


class Propose(Table):
    """What a side offers: `rand` is 16 random bytes, each list is one text of names with commas between."""

    rand: Field[bytes] = field(BYTES)
    pubkey: Field[bytes] = field(BYTES)
    exchanges: Field[bytes] = field(BYTES)
    ciphers: Field[bytes] = field(BYTES)
    hashes: Field[bytes] = field(BYTES)


class Exchange(Table):
    """The ephemeral key, and the static key's DER signature of it and of both Proposes."""

    epubkey: Field[bytes] = field(BYTES)
    signature: Field[bytes] = field(BYTES)


def pack_static_key(public_key: bytes) -> bytes:
    """The `pubkey` of a Propose."""
    return _SECP256K1_ITEM + BYTES.pack(public_key)


def parse_static_key(data: bytes) -> bytes:
    """The key in the `pubkey` of a Propose; MoleculeError."""
    if data[:4] != _SECP256K1_ITEM:
        raise MoleculeError("PublicKey", "not a secp256k1 key")
    return BYTES.parse(data[4:])
