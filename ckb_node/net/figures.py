"""The network's figures: for Prometheus, and as a line of the log now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from ckb_node.runtime.metrics import Metrics
from network.peer import Direction
from network.peer_layer import PeerLayer
from network.service import NetworkService
from network.traffic import ProtocolTraffic, Traffic

log = structlog.get_logger("network")

LINE_SECONDS: Final = 300.0
"""Between two lines of the log."""

KIB: Final = 1024


def measure_network(metrics: Metrics, network: NetworkService) -> None:
    """Peers, bytes and messages by protocol, who was turned away and why, bans. All is read when somebody scrapes."""
    metrics.gauges(
        "ckb_network_peers",
        "Connected peers by who dialled",
        "direction",
        {direction.value: partial(_peers, network, direction) for direction in Direction},
    )
    metrics.gauge("ckb_network_connections", "Connections of all kinds", lambda: _connections(network))
    metrics.gauge("ckb_network_known_addresses", "Known addresses of peers", lambda: len(network.tables.store))
    metrics.gauge("ckb_network_banned", "Banned networks", lambda: len(network.tables.bans))
    _measure_wire(metrics, network)
    _measure_protocols(metrics, network)


def _measure_wire(metrics: Metrics, network: NetworkService) -> None:
    """`counts`: of the traffic of this run, by the value of a label."""

    def totals(name: str, text: str, label: str, counts: Callable[[Traffic], Mapping[str, int]]) -> None:
        def read() -> Mapping[str, int]:
            return {} if network.layer is None else counts(network.layer.switch.traffic)

        metrics.totals(f"ckb_network_{name}", text, label, read)

    totals("wire_bytes", "Bytes on the wire", "direction", lambda it: {"in": it.bytes_in, "out": it.bytes_out})
    totals(
        "sessions", "Peers that connected and left", "event", lambda it: {"connected": it.sessions, "banned": it.bans}
    )
    totals("left", "Peers that left", "cause", lambda it: {cause.value: n for cause, n in it.left.items()})
    totals("turned_away", "Connections that got no handshake", "reason", lambda it: it.turned_away)
    totals("refused", "Peers for whom there was no place", "reason", lambda it: it.refused)
    totals("failed_handshakes", "Handshakes that failed", "reason", lambda it: it.failed_handshakes)
    totals("faults", "Faults of this node while it served peers", "kind", lambda it: {"handler": it.faults})


def _measure_protocols(metrics: Metrics, network: NetworkService) -> None:
    def totals(name: str, text: str, count: Callable[[ProtocolTraffic], int]) -> None:
        def read() -> Mapping[str, int]:
            traffic = {} if network.layer is None else network.layer.switch.traffic.by_protocol
            return {protocol.config_name: count(each) for protocol, each in traffic.items()}

        metrics.totals(f"ckb_network_{name}", text, "protocol", read)

    totals("received_messages", "Messages of peers", lambda it: it.messages_in)
    totals("sent_messages", "Messages to peers", lambda it: it.messages_out)
    totals("received_bytes", "Bytes of messages of peers, uncompressed", lambda it: it.bytes_in)
    totals("sent_bytes", "Bytes of messages to peers, uncompressed", lambda it: it.bytes_out)


def _peers(network: NetworkService, direction: Direction) -> int:
    return 0 if network.layer is None else sum(peer.direction is direction for peer in network.layer.switch.peers())


def _connections(network: NetworkService) -> int:
    return 0 if network.layer is None else network.layer.switch.connections


async def tell_figures(network: NetworkService, layer: PeerLayer) -> None:
    """A line every five minutes in which anything has changed, until cancelled."""
    before = None
    while True:
        await asyncio.sleep(LINE_SECONDS)
        fields = line_of(network, layer)
        if fields != before:
            log.info("peers", **fields)
        before = fields


def line_of(network: NetworkService, layer: PeerLayer) -> dict[str, int]:
    """What the line says: peers now, and of this run messages, kibibytes on the wire, handshakes that failed."""
    traffic = layer.switch.traffic
    return {
        "inbound": _peers(network, Direction.INBOUND),
        "outbound": _peers(network, Direction.OUTBOUND),
        "known_addresses": len(network.tables.store),
        "banned": len(network.tables.bans),
        "messages_in": sum(each.messages_in for each in traffic.by_protocol.values()),
        "messages_out": sum(each.messages_out for each in traffic.by_protocol.values()),
        "kib_in": traffic.bytes_in // KIB,
        "kib_out": traffic.bytes_out // KIB,
        "failed_handshakes": sum(traffic.failed_handshakes.values()),
    }
