"""How it goes with finding peers, in words: "connecting" for ever, with no reason shown, helps nobody."""

from __future__ import annotations

from typing import Final

from ckb_node.runtime.log_text import shown
from network.limits import SYNC
from network.peer import SessionKind
from network.peer_layer import PeerLayer
from network.service import NetworkService

MAX_REASON: Final = 200


def connecting_text(network: NetworkService) -> str:
    """One line, without addresses: others may read it. The reason comes first: a terminal cuts the end off."""
    layer = network.layer
    if layer is None:
        return "the network has not started"
    if not layer.switch.is_active:
        return "the network is switched off (set_network_active)"
    return "; ".join([*_failed(layer), *_under_way(layer), *_known(network)])


def _known(network: NetworkService) -> list[str]:
    known, outbound = len(network.tables.store), network.settings.peers.outbound
    configured = len({*outbound.bootnodes, *outbound.whitelist})
    if not known and not configured:
        return ["no address of a peer is known: name some in network.bootnodes, or call add_node"]
    return [f"known addresses: {known}, configured: {configured}"]


def _under_way(layer: PeerLayer) -> list[str]:
    dialling = layer.switch.dialling(SessionKind.FULL)
    silent = sum(peer.version_of(SYNC) is None for peer in layer.switch.peers())
    texts = [f"being dialled: {dialling}"] if dialling else []
    return [*texts, f"connected and not speaking Sync yet: {silent}"] if silent else texts


def _failed(layer: PeerLayer) -> list[str]:
    dials = layer.switch.dials
    if not dials.failed:
        return []
    return [f"failed dials: {dials.failed}, the last: {shown(dials.last_failure[:MAX_REASON])}"]
