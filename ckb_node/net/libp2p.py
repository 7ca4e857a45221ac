"""libp2p as the configuration wants it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ckb_node.net import addresses
from ckb_node.net.assembly import NodeProtocols
from ckb_node.net.settings import NetworkSection
from ckb_node.runtime.metrics import Metrics
from ckb_node.sync.relay.gossip import NodeGossip
from ckb_node.sync.relay.pool import RelayPool
from consensus.params import Consensus
from network.identity import Identity
from network.libp2p.exchange import DiscoveryOfWires
from network.libp2p.messages import Stats
from network.libp2p.service import INSTALL, Libp2pService, Libp2pSettings, is_installed
from network.limits import DISCOVERY, MIB, ProtocolSpec
from network.peer_layer import PeerLayer

__all__ = ["libp2p_service", "measure_libp2p", "serve_exchange", "start_gossip"]

log = structlog.get_logger("network")


def libp2p_service(
    section: NetworkSection, identity: Identity, network_name: str, version: str, spoken: frozenset[ProtocolSpec]
) -> Libp2pService | None:
    """Not started yet. None when it is off, or its library is not there, which is told. Raises ConfigError."""
    wanted = section.libp2p
    if not wanted.enabled:
        return None
    if not is_installed():
        log.warning("network.libp2p is off: its library is not installed", install=INSTALL)
        return None
    settings = Libp2pSettings(
        network_name=network_name,
        client_version=version,
        spoken=spoken,
        listen=[str(address) for address in addresses.libp2p_listen(section)],
        bootnodes=addresses.libp2p_bootnodes(section),
        max_connections=section.max_peers,
        max_of_ip=wanted.max_peers_per_ip,
        memory=wanted.memory_mib * MIB,
    )
    return Libp2pService(identity, settings)


def serve_exchange(libp2p: Libp2pService, layer: PeerLayer) -> None:
    """Discovery speaks of each wire on that wire, where it is on; to be called for each layer."""
    ckb = layer.switch.handler_of(DISCOVERY)
    if ckb is not None:
        exchange = libp2p.exchange(layer, allow_local=layer.settings.discovery_local_address)
        layer.switch.register(DiscoveryOfWires(ckb, exchange, lambda session_id: session_id in libp2p.ids))


def start_gossip(
    libp2p: Libp2pService, protocols: NodeProtocols, pool: RelayPool, consensus: Consensus
) -> Callable[[], None]:
    """Judge and publish what is gossiped, while the network runs; the result, called once, ends that."""
    if protocols.sync is None:
        raise ValueError("sync does not run")
    gossip = NodeGossip(protocols.sync.relay, pool, consensus.max_block_cycles, libp2p.publish)
    libp2p.topics = gossip.topics
    return gossip.stop


def measure_libp2p(metrics: Metrics, libp2p: Libp2pService) -> None:
    """The libp2p process; all is read when somebody scrapes, 0 while it does not run."""

    def of(read: Callable[[Stats], int]) -> Callable[[], float]:
        def value() -> float:
            stats = None if libp2p.state is None else libp2p.state.stats
            return 0.0 if stats is None else read(stats)

        return value

    metrics.gauge("ckb_libp2p_starts", "How often the libp2p process was started", lambda: libp2p.starts)
    metrics.gauge("ckb_libp2p_memory_bytes", "Memory of the libp2p process", of(lambda stats: stats.memory))
    metrics.gauge("ckb_libp2p_connections", "Connections of the libp2p process", of(lambda stats: stats.connections))
    metrics.gauge("ckb_libp2p_handshakes", "Its handshakes under way", of(lambda stats: stats.handshakes))
    metrics.gauge("ckb_libp2p_dropped", "What its guards have ended", of(lambda stats: stats.dropped))
