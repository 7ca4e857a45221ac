"""A network that does not run: for tests of what needs one and asks it nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ckb_node.chain.service import ChainService
from ckb_node.net.assembly import network_service
from ckb_node.net.settings import NetworkSection
from ckb_node.net.view import AlertDesk, NetView
from network.identity import Identity


def idle_net(
    chain: ChainService, secret: bytes, version: str, now_ms: Callable[[], int], alerts: AlertDesk | None = None
) -> NetView:
    """What RPC sees of a node without peers; nothing is read or written."""
    name = chain.consensus.network_name
    network = network_service(NetworkSection(), Identity(secret), name, version, Path("no such directory"), now_ms)
    return NetView(chain, network, version, now_ms, alerts=alerts)
