"""Messages that peers exchange about peers: ping, discovery, identify and hole punching (`protocols.mol`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consensus.codec.molecule import (
    BOOL,
    BYTE,
    BYTES,
    UINT16,
    UINT32,
    UINT64,
    Composite,
    Field,
    Table,
    UnionKind,
    at_most,
    field,
    kind,
    optional,
    trailing,
    vector,
)

MAX_NODES: Final = 1000
"""Nodes in one message."""
MAX_NODE_ADDRESSES: Final = 3
"""Addresses of one node."""
MAX_ROUTE: Final = 6
"""Peers that pass a hole punching request on."""
MAX_ADDRESSES: Final = 24
"""Where an end of hole punching may be reached."""

# --- ping ---


class Ping(Table):
    """Asks for the same number back."""

    nonce: Field[int] = field(UINT32)


class Pong(Table):
    """Answers a ping."""

    nonce: Field[int] = field(UINT32)


PING_PAYLOAD = UnionKind("PingPayload", {0: Ping, 1: Pong})


class PingMessage(Table):
    """The frame of the ping protocol."""

    payload: Field[Composite] = field(PING_PAYLOAD)


# --- discovery ---


class GetNodes(Table):
    """Asks for addresses of other nodes; with `required_flags` it is the schema's `GetNodes2`."""

    version: Field[int] = field(UINT32)
    count: Field[int] = field(UINT32)
    listen_port: Field[int | None] = field(optional(UINT16))
    required_flags: Field[int | None] = trailing(UINT64, default=None)


class Node(Table):
    """A node by its multiaddresses; with `flags` it is the schema's `Node2`."""

    addresses: Field[Sequence[bytes]] = field(at_most(MAX_NODE_ADDRESSES, BYTES))
    flags: Field[int | None] = trailing(UINT64, default=None)


class Nodes(Table):
    """Addresses of nodes; `announce` 1: unasked."""

    announce: Field[bytes] = field(BOOL)
    items: Field[Sequence[Node]] = field(at_most(MAX_NODES, kind(Node)))


DISCOVERY_PAYLOAD = UnionKind("DiscoveryPayload", {0: GetNodes, 1: Nodes})


class DiscoveryMessage(Table):
    """The frame of the discovery protocol."""

    payload: Field[Composite] = field(DISCOVERY_PAYLOAD)


# --- identify ---


class Address(Table):
    """A multiaddress: `data` is the schema's field `bytes`."""

    data: Field[bytes] = field(BYTES)


ADDRESS_VEC = vector(kind(Address))


class IdentifyMessage(Table):
    """Where the peer listens, how it sees us, and what it is: an `Identify` in bytes."""

    listen_addrs: Field[Sequence[Address]] = field(ADDRESS_VEC)
    observed_addr: Field[Address] = field(kind(Address))
    identify: Field[bytes] = field(BYTES)


class Identify(Table):
    """What a peer is: what it serves (bits), which chain (`Consensus.network_name`), which software."""

    flag: Field[int] = field(UINT64)
    name: Field[bytes] = field(BYTES)
    client_version: Field[bytes] = field(BYTES)


# --- hole punching ---

ROUTE = at_most(MAX_ROUTE, BYTES)
FEW_ADDRESSES = at_most(MAX_ADDRESSES, kind(Address))


class ConnectionRequest(Table):
    """A node behind a NAT asks another one, over a path of peers, to connect."""

    from_: Field[bytes] = field(BYTES)
    to: Field[bytes] = field(BYTES)
    max_hops: Field[int] = field(BYTE)
    route: Field[Sequence[bytes]] = field(ROUTE)
    listen_addrs: Field[Sequence[Address]] = field(FEW_ADDRESSES)


class ConnectionRequestDelivered(Table):
    """The request arrived; travels back along its route."""

    from_: Field[bytes] = field(BYTES)
    to: Field[bytes] = field(BYTES)
    route: Field[Sequence[bytes]] = field(ROUTE)
    sync_route: Field[Sequence[bytes]] = field(ROUTE)
    listen_addrs: Field[Sequence[Address]] = field(FEW_ADDRESSES)


class ConnectionSync(Table):
    """Both ends are to connect now."""

    from_: Field[bytes] = field(BYTES)
    to: Field[bytes] = field(BYTES)
    route: Field[Sequence[bytes]] = field(ROUTE)


HOLE_PUNCHING_MESSAGE = UnionKind(
    "HolePunchingMessage", {0: ConnectionRequest, 1: ConnectionRequestDelivered, 2: ConnectionSync}
)
