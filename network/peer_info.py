"""What is shown of this node and of its peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A multiaddress and how much it is trusted."""

    address: str
    score: int


@dataclass(frozen=True, slots=True)
class LocalProtocol:
    """A protocol that this node speaks."""

    id: int
    name: str
    versions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """This node as others see it."""

    version: str
    node_id: str
    active: bool
    addresses: Sequence[NodeAddress] = ()
    protocols: Sequence[LocalProtocol] = ()
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSyncState:
    """How far the exchange of headers and blocks with a peer is."""

    best_known_header_hash: bytes | None = None
    best_known_header_number: int | None = None
    last_common_header_hash: bytes | None = None
    last_common_header_number: int | None = None
    unknown_header_list_size: int = 0
    inflight_count: int = 0
    can_fetch_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNode:
    """A connected peer. Durations in milliseconds; `protocols` are pairs of id and version; `wire`: `ckb` or
    `libp2p`."""

    version: str
    node_id: str
    addresses: Sequence[NodeAddress]
    is_outbound: bool
    connected_duration: int
    last_ping_duration: int | None
    sync_state: PeerSyncState | None
    protocols: Sequence[tuple[int, str]]
    session_id: int = 0
    wire: str = "ckb"


@dataclass(frozen=True, slots=True)
class BannedAddress:
    """An IP address or network (`192.0.2.0/24`) that may not connect until `ban_until`."""

    address: str
    ban_until: int
    reason: str
    created_at: int


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """A signed notice of the developers that has not expired."""

    id: int
    priority: int
    notice_until: int
    message: str
