"""Peer ids and addresses of libp2p, and how the node's tables call the same peer.

A peer id of libp2p holds the public key (an identity multihash of its protobuf). A node has one key for both wires, so
the id that it has on the CKB wire follows from it, and a peer is the same whichever way it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from network.identity import BASE58_ALPHABET, base58, peer_id_of
from network.multiaddr import Multiaddr, MultiaddrError

__all__ = [
    "Libp2pAddress",
    "address_bytes",
    "is_libp2p_address",
    "key_of",
    "libp2p_id",
    "libp2p_id_text",
    "parse_address",
    "parse_address_bytes",
]

_IDENTITY: Final = 0
_SECP256K1: Final = b"\x08\x02\x12\x21"
_ED25519: Final = b"\x08\x01\x12\x20"
_SIZES: Final = {_SECP256K1: 37, _ED25519: 36}
"""Bytes of the whole protobuf."""
_ID_SIZES: Final = [2 + size for size in _SIZES.values()]
"""Bytes of a binary peer id."""
MAX_ID_TEXT: Final = 64
_PEER: Final = "/p2p/"
_PEER_CODE: Final = b"\xa5\x03"
"""Of a peer id in the binary form."""


def libp2p_id(public_key: bytes) -> bytes:
    """The binary peer id of a compressed secp256k1 key, 33 bytes."""
    proto = _SECP256K1 + public_key
    return bytes([_IDENTITY, len(proto)]) + proto


def libp2p_id_text(public_key: bytes) -> str:
    """`16Uiu2HA…`"""
    return base58(libp2p_id(public_key))


def key_of(peer_id: bytes) -> bytes:
    """What the node's tables hash instead of a key: of secp256k1 the compressed key itself, as on the CKB wire, of
    Ed25519 its protobuf. Raises ValueError for ids that do not hold their key (RSA, ECDSA)."""
    proto = peer_id[2:]
    if len(peer_id) < 2 or peer_id[0] != _IDENTITY or peer_id[1] != len(proto):
        raise ValueError("a peer id that does not hold its key")
    if _SIZES.get(proto[:4]) != len(proto):
        raise ValueError("a key that is neither secp256k1 nor Ed25519")
    return proto[4:] if proto.startswith(_SECP256K1) else proto


@dataclass(frozen=True, slots=True)
class Libp2pAddress:
    """Where a peer listens. `text` is what libp2p dials; `address` how the node's tables call it."""

    text: str
    address: Multiaddr


def is_libp2p_address(text: str) -> bool:
    """Whether `parse_address` reads it."""
    try:
        parse_address(text)
    except MultiaddrError:
        return False
    return True


def parse_address(text: str) -> Libp2pAddress:
    """Of `/ip4/192.0.2.8/tcp/8117/p2p/16Uiu2HA…`. Raises MultiaddrError."""
    place, found, name = text.partition(_PEER)
    if not found or "/" in name:
        raise MultiaddrError("expected /p2p/<peer id> at the end")
    try:
        key = key_of(_unbase58(name))
    except ValueError as error:
        raise MultiaddrError(f"{name}: {error}") from None
    address = Multiaddr.parse(place)
    if [part.name for part in address.parts][1:] != ["tcp"]:
        raise MultiaddrError("expected a host and a TCP port")
    return Libp2pAddress(text, address.with_peer_id(peer_id_of(key)))


def address_bytes(address: Libp2pAddress) -> bytes:
    """The binary form, as other libraries have it too."""
    place, _, name = address.text.partition(_PEER)
    peer_id = _unbase58(name)
    return Multiaddr.parse(place).to_bytes() + _PEER_CODE + bytes([len(peer_id)]) + peer_id


def parse_address_bytes(raw: bytes) -> Libp2pAddress:
    """Raises MultiaddrError."""
    for size in _ID_SIZES:
        place, end = raw[: -size - 3], raw[-size - 3 :]
        if end[:3] == _PEER_CODE + bytes([size]):
            return parse_address(f"{Multiaddr.from_bytes(place)}{_PEER}{base58(end[3:])}")
    raise MultiaddrError("expected a peer id that holds its key at the end")


def _unbase58(text: str) -> bytes:
    """Raises ValueError."""
    if not 0 < len(text) <= MAX_ID_TEXT:
        raise ValueError("invalid peer id")
    number = 0
    for letter in text:
        digit = BASE58_ALPHABET.find(letter)
        if digit < 0:
            raise ValueError("invalid peer id")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(BASE58_ALPHABET[0]))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
