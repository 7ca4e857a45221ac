"""What Discovery says: `DiscoveryMessage`, written in the longer of its two forms and read in both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.errors import MoleculeError, TooManyParts
from network.limits import DISCOVERY, Flags
from network.messages.peers import MAX_NODES, DiscoveryMessage, GetNodes, Node, Nodes
from network.multiaddr import Multiaddr, MultiaddrError
from network.peers.penalties import Misbehaviour

__all__ = [
    "MAX_ANNOUNCED",
    "MAX_ANSWERED",
    "REUSE_PORT_VERSION",
    "BadDiscovery",
    "FoundNodes",
    "get_nodes",
    "nodes",
    "read_message",
]

FIRST_VERSION: Final = 0
REUSE_PORT_VERSION: Final = 1
"""Who sends this version dials from the port on which it listens."""
MAX_ANSWERED: Final = MAX_NODES
"""Nodes in one answer."""
MAX_ANNOUNCED: Final = 10
"""Nodes in one announcement."""

ROOM: Final = DISCOVERY.max_frame - 1024
"""Bytes of nodes in a message, beside its headers."""
NODE_OVERHEAD: Final = 48
"""Bytes of a node beside its one address, at most."""

ANSWER: Final = b"\0"
ANNOUNCEMENT: Final = b"\1"


class BadDiscovery(Exception):  # noqa: N818 - the condition is its name
    """A message that costs its sender the connection."""

    def __init__(self, misbehaviour: Misbehaviour) -> None:
        super().__init__(misbehaviour.name)
        self.misbehaviour = misbehaviour


@dataclass(frozen=True, slots=True)
class FoundNodes:
    """A `Nodes` message of a good size. Its addresses, up to 3,000, are read one by one, since all at once would hold
    up others."""

    is_announcement: bool
    nodes: Sequence[Node]

    def addresses(self) -> Iterator[tuple[Multiaddr, Flags]]:
        """Raises BadDiscovery at an address that is none."""
        for node in self.nodes:
            flags = Flags.COMPATIBILITY if node.flags is None else Flags.known(node.flags)
            for address in node.addresses:
                try:
                    yield Multiaddr.from_bytes(address), flags
                except MultiaddrError:
                    raise BadDiscovery(Misbehaviour.DISCOVERY_UNDECODABLE) from None


def get_nodes(listen_port: int | None, required: Flags, *, reuses_port: bool = True) -> bytes:
    """Ask for as many nodes as one may."""
    version = REUSE_PORT_VERSION if reuses_port else FIRST_VERSION
    question = GetNodes(version=version, count=MAX_ANSWERED, listen_port=listen_port, required_flags=int(required))
    return DiscoveryMessage(payload=question).raw


def nodes(found: Iterable[tuple[Multiaddr, Flags]], *, is_announcement: bool) -> bytes:
    """Tell nodes, one address each; those that do not fit into a message are left out."""
    items, size = list[Node](), 0
    for address, flags in found:
        size += len(address.to_bytes()) + NODE_OVERHEAD
        if size > ROOM:
            break
        items.append(Node(addresses=[address.to_bytes()], flags=int(flags)))
    message = Nodes(announce=ANNOUNCEMENT if is_announcement else ANSWER, items=items)
    return DiscoveryMessage(payload=message).raw


def read_message(payload: bytes) -> GetNodes | FoundNodes:
    """Raises BadDiscovery. Addresses are read later, and none of too many: half a megabyte of them takes a fifth of a
    second."""
    try:
        message = DiscoveryMessage.parse(payload, compatible=True).payload
        if isinstance(message, GetNodes):
            return message
        if isinstance(message, Nodes):
            return _read_nodes(message)
    except TooManyParts as error:
        raise BadDiscovery(_TOO_MANY.get(error.type_name, Misbehaviour.DISCOVERY_UNDECODABLE)) from None
    except MoleculeError:
        pass
    raise BadDiscovery(Misbehaviour.DISCOVERY_UNDECODABLE)


_TOO_MANY: Final = {
    "NodeVec": Misbehaviour.DISCOVERY_TOO_MANY_NODES,
    "BytesVec": Misbehaviour.DISCOVERY_TOO_MANY_ADDRESSES,
}
"""By the vector that is too long."""


def _read_nodes(message: Nodes) -> FoundNodes:
    if message.announce not in (ANSWER, ANNOUNCEMENT):
        raise BadDiscovery(Misbehaviour.DISCOVERY_UNDECODABLE)
    is_announcement = message.announce == ANNOUNCEMENT
    if is_announcement and len(message.items) > MAX_ANNOUNCED:
        raise BadDiscovery(Misbehaviour.DISCOVERY_TOO_MANY_ANNOUNCED)
    return FoundNodes(is_announcement, message.items)
