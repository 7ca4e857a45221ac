"""A client that dials nodes and speaks protocols of the chain, without a chain of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from network.identity import Identity
from network.limits import DISCONNECT_MESSAGE, FILTER, IDENTIFY, LIGHT_CLIENT, PING, SYNC, Flags, ProtocolSpec
from network.multiaddr import Multiaddr
from network.outbound import OutboundSettings
from network.peer_layer import PeerLayerSettings
from network.peers.store_files import StoreFiles
from network.protocols.identify import LocalIdentity
from network.service import NetworkService, ServiceSettings
from storage.files import set_aside, write_whole
from tests.support.nodes.process import RpcClient

PROTOCOLS = frozenset({IDENTIFY, DISCONNECT_MESSAGE, PING, SYNC, LIGHT_CLIENT, FILTER})


def asker_service(
    network_name: str,
    directory: Path,
    seed: object,
    *,
    more: frozenset[ProtocolSpec] = frozenset(),
    listen: Sequence[Multiaddr] = (),
) -> NetworkService:
    """Its network: it dials who it is told to, and nobody else. The seed makes its key. `more` protocols than
    PROTOCOLS; from where it `listen`s it dials."""
    local = LocalIdentity(network_name=network_name, client_version="asker", flags=Flags.COMPATIBILITY)
    outbound = OutboundSettings(interval=0, with_feelers=False)
    settings = ServiceSettings(
        listen=listen,
        has_web_socket=False,
        peers=PeerLayerSettings(local=local, enabled=PROTOCOLS | more, outbound=outbound),
    )
    files = StoreFiles(directory, write_whole=write_whole, set_aside=set_aside)
    secret = Random(str(seed)).randbytes(32)
    return NetworkService(Identity(secret), files, settings, lambda: time.time_ns() // 1_000_000)


def tcp_address(rpc: RpcClient) -> Multiaddr:
    """Where a node listens, with its peer id."""
    info = rpc.call("local_node_info")
    return Multiaddr.parse(f"{_plain(each['address'] for each in info['addresses'])}/p2p/{info['node_id']}")


def _plain(addresses: Iterable[str]) -> str:
    bare = (address.partition("/p2p/")[0] for address in addresses)
    return next(address for address in bare if not address.endswith("/ws"))
