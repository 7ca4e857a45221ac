"""Nodes behind routers that nobody can dial meet with the help of others."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from network.limits import ALL_PROTOCOLS, HOLE_PUNCHING, ProtocolSpec
from network.multiaddr import Multiaddr
from network.outbound import OutboundSettings
from network.peer import Direction
from network.peer_layer import PeerLayerSettings
from network.protocols.identify import LocalIdentity
from tests.simulation.clock import Clock
from tests.simulation.nat import NatWires
from tests.simulation.node import FULL_NODE, NETWORK, SimNode

ROUND = 300.0
"""Seconds between two requests of a node."""


class Net:
    """Hosts, some of them behind routers. Nodes dial their bootnodes at the start and nobody else."""

    def __init__(self, seed: int, enabled: frozenset[ProtocolSpec] = frozenset(ALL_PROTOCOLS)) -> None:
        self.seed, self.enabled, self.clock = seed, enabled, Clock()
        self.wires = NatWires(self.clock, Random(seed))
        self.nodes: list[SimNode] = []

    def add(self, *bootnodes: SimNode, is_hidden: bool = False) -> SimNode:
        name, ip = f"node {len(self.nodes)}", f"{60 + len(self.nodes)}.1.1.1"
        settings = PeerLayerSettings(
            local=LocalIdentity(network_name=NETWORK, client_version=name, flags=FULL_NODE),
            enabled=self.enabled,
            outbound=OutboundSettings(interval=0, with_feelers=False),
        )
        addresses: Sequence[Multiaddr] = [node.address for node in bootnodes]
        node = SimNode(self.wires, name, ip, seed=self.seed, bootnodes=addresses, settings=settings)
        if is_hidden:
            self.wires.put_behind_router(ip)
        self.nodes.append(node)
        node.start()
        self.clock.run_for(5)
        return node

    def are_connected(self, one: SimNode, other: SimNode) -> bool:
        """Both sides agree on it, and one of them is the dialler; Sync is open."""
        there, here = one.switch.peer_of(other.identity.peer_id), other.switch.peer_of(one.identity.peer_id)
        if there is None or here is None:
            return False
        assert {there.direction, here.direction} == set(Direction)
        return one.identity.peer_id in other.beats.last_heard and other.identity.peer_id in one.beats.last_heard

    def assert_peaceful(self) -> None:
        now = self.clock.wall_ms()
        for node in self.nodes:
            assert node.switch.traffic.faults == 0
            assert list(node.tables.bans.current(now)) == []


@pytest.mark.parametrize("seed", range(5))
def test_two_hidden_nodes_that_share_one_peer_meet(seed: int) -> None:
    net = Net(seed)
    relay = net.add()
    one, other = net.add(relay, is_hidden=True), net.add(relay, is_hidden=True)
    net.clock.run_for(3 * ROUND)
    assert net.are_connected(one, other)
    net.assert_peaceful()


def test_without_hole_punching_they_do_not() -> None:
    net = Net(1, frozenset(ALL_PROTOCOLS) - {HOLE_PUNCHING})
    relay = net.add()
    one, other = net.add(relay, is_hidden=True), net.add(relay, is_hidden=True)
    net.clock.run_for(3 * ROUND)
    assert not net.are_connected(one, other)


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_hidden_and_a_public_node_meet_whoever_asks(hidden: int) -> None:
    net = Net(7)
    relay = net.add()
    one, other = net.add(relay, is_hidden=hidden == 0), net.add(relay, is_hidden=hidden == 1)
    net.clock.run_for(3 * ROUND)
    assert net.are_connected(one, other)
    net.assert_peaceful()


def test_over_two_relays() -> None:
    net = Net(8)
    first = net.add()
    second = net.add(first)
    one, other = net.add(first, is_hidden=True), net.add(second, is_hidden=True)
    net.clock.run_for(5 * ROUND)
    assert net.are_connected(one, other)
    net.assert_peaceful()
