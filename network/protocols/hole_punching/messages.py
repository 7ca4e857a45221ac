"""Messages of hole punching, checked. Whatever passes here passes the reference's checks, too: others ban a node for
what it forwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consensus.errors import MoleculeError, TooManyParts
from network.identity import PEER_ID_BYTES, SHA256_MULTIHASH_PREFIX, peer_id_from_bytes
from network.messages.peers import (
    HOLE_PUNCHING_MESSAGE,
    MAX_ADDRESSES,
    MAX_ROUTE,
    Address,
    ConnectionRequest,
    ConnectionRequestDelivered,
    ConnectionSync,
)
from network.multiaddr import Multiaddr, MultiaddrError
from network.peers.penalties import Misbehaviour

__all__ = [
    "MAX_ADDRESSES",
    "MAX_HOPS",
    "BadPunching",
    "PunchingMessage",
    "decode",
    "encode",
    "read_addresses",
    "verify",
    "wire_addresses",
]

MAX_HOPS: Final = MAX_ROUTE

PunchingMessage = ConnectionRequest | ConnectionRequestDelivered | ConnectionSync


class BadPunching(Exception):  # noqa: N818 - the condition is its name
    """A message for which its sender is banned."""

    def __init__(self, misbehaviour: Misbehaviour) -> None:
        super().__init__(misbehaviour.name)
        self.misbehaviour = misbehaviour


def decode(payload: bytes) -> PunchingMessage:
    """Raises BadPunching for what is no message, and for routes and lists of addresses that are too long, of which
    half a megabyte would take a fifth of a second; else what it says is not looked at."""
    try:
        message = HOLE_PUNCHING_MESSAGE.parse(payload)
    except TooManyParts as error:
        raise BadPunching(_TOO_MANY.get(error.type_name, Misbehaviour.PUNCHING_UNDECODABLE)) from None
    except MoleculeError:
        raise BadPunching(Misbehaviour.PUNCHING_UNDECODABLE) from None
    if not isinstance(message, ConnectionRequest | ConnectionRequestDelivered | ConnectionSync):
        raise BadPunching(Misbehaviour.PUNCHING_UNDECODABLE)
    return message


_TOO_MANY: Final = {
    "BytesVec": Misbehaviour.PUNCHING_413_BAD_ROUTE,
    "AddressVec": Misbehaviour.PUNCHING_414_BAD_ADDRESSES,
}
"""By the vector that is too long."""


def encode(message: PunchingMessage) -> bytes:
    return HOLE_PUNCHING_MESSAGE.pack(message)


def verify(message: PunchingMessage) -> None:
    """Everything but what its addresses say. Raises BadPunching."""
    if not _is_peer_id(message.from_):
        raise BadPunching(Misbehaviour.PUNCHING_411_BAD_FROM)
    if not _is_peer_id(message.to):
        raise BadPunching(Misbehaviour.PUNCHING_412_BAD_TO)
    if not isinstance(message, ConnectionSync) and not message.listen_addrs:
        raise BadPunching(Misbehaviour.PUNCHING_414_BAD_ADDRESSES)
    if isinstance(message, ConnectionRequest) and message.max_hops > MAX_HOPS:
        raise BadPunching(Misbehaviour.PUNCHING_410_TOO_MANY_HOPS)
    _verify_route(message.route)
    if isinstance(message, ConnectionRequestDelivered):
        _verify_route(message.sync_route)


def read_addresses(message: ConnectionRequest | ConnectionRequestDelivered) -> Sequence[Multiaddr]:
    """Of the originator of a request, or of the target that answers it; with its peer id. Raises BadPunching for what
    is no address, or another peer's."""
    owner = peer_id_from_bytes(message.from_ if isinstance(message, ConnectionRequest) else message.to)
    found = []
    for item in message.listen_addrs:
        try:
            address = Multiaddr.from_bytes(item.data)
        except MultiaddrError:
            raise BadPunching(Misbehaviour.PUNCHING_414_BAD_ADDRESSES) from None
        if address.peer_id not in (None, owner):
            raise BadPunching(Misbehaviour.PUNCHING_414_BAD_ADDRESSES)
        found.append(address if address.peer_id else address.with_peer_id(owner))
    return found


def wire_addresses(addresses: Sequence[Multiaddr]) -> Sequence[Address]:
    return [Address(data=address.to_bytes()) for address in addresses]


def _verify_route(route: Sequence[bytes]) -> None:
    if not all(map(_is_peer_id, route)):
        raise BadPunching(Misbehaviour.PUNCHING_413_BAD_ROUTE)


def _is_peer_id(data: bytes) -> bool:
    return len(data) == PEER_ID_BYTES and data.startswith(SHA256_MULTIHASH_PREFIX)
