"""What RPC shows of this node and of its peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from network.limits import VERSION
from network.peer import Direction
from network.peer_info import LocalNode, LocalProtocol, NodeAddress, PeerSyncState, RemoteNode
from network.peer_layer import PeerLayer
from network.session import Session

__all__ = ["local_node", "remote_nodes"]

MAX_ADDRESSES = 50
SCORE_OWN = 1
SCORE_KNOWN = 100
"""The reference scores addresses of its store with this and never changes it; others count 1."""


def local_node(layer: PeerLayer, other: Sequence[str] = ()) -> LocalNode:
    """This node: its addresses are those that it listens on and those that are public, and `other` ones, not of the CKB
    wire."""
    switch, own = layer.switch, layer.own
    addresses = [*map(str, dict.fromkeys([*own.public(), *own.listening])), *other]
    return LocalNode(
        version=layer.settings.local.client_version,
        node_id=switch.peer_id,
        active=switch.is_active,
        addresses=[NodeAddress(address, SCORE_OWN) for address in addresses[:MAX_ADDRESSES]],
        protocols=[LocalProtocol(protocol.id, protocol.name, [VERSION]) for protocol in switch.protocols],
        connections=len(layer.registry),
    )


def remote_nodes(layer: PeerLayer, sync_state: Callable[[int], PeerSyncState | None]) -> Sequence[RemoteNode]:
    """The connected peers, without feelers. `sync_state` of a session id."""
    return [_remote_node(layer, peer, sync_state(peer.session_id)) for peer in layer.switch.peers()]


def _remote_node(layer: PeerLayer, peer: Session, sync_state: PeerSyncState | None) -> RemoteNode:
    entry, identity = layer.registry.get(peer.session_id), peer.identity
    listening = () if identity is None else identity.listening
    addresses = dict.fromkeys([peer.address, *listening])
    store = layer.tables.store
    return RemoteNode(
        version="unknown" if identity is None else identity.client_version,
        node_id=peer.peer_id,
        addresses=[
            NodeAddress(str(address), SCORE_OWN if store.get(address) is None else SCORE_KNOWN) for address in addresses
        ],
        is_outbound=peer.direction is Direction.OUTBOUND,
        connected_duration=int((layer.scheduler.now() - peer.connected_at) * 1000),
        last_ping_duration=None if entry is None else entry.ping_ms,
        sync_state=sync_state,
        protocols=[(protocol.id, version) for protocol, version in peer.versions.items()],
        session_id=peer.session_id,
        wire=peer.wire.value,
    )
