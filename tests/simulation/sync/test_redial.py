"""Networks in which nobody can help anybody: nodes look for others, and do not dial the same ones again and again."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from network.traffic import Cause
from tests.simulation.sync.blocks import sim_consensus
from tests.simulation.sync.world import SyncWorld, mesh

HALF_HOUR = 1800.0
DAY = 24 * 3600.0


def sessions(world: SyncWorld) -> int:
    """That were established."""
    return sum(node.switch.traffic.sessions for node in world.nodes) // 2


def all_download(count: int) -> SyncWorld:
    """Nodes that know each other's addresses; all have the genesis block alone, which is old."""
    world = SyncWorld(11, consensus=sim_consensus(3 * DAY))
    world.add_graph(mesh(count))
    world.start()
    return world


def test_nodes_that_all_download_dial_each_other_seldom() -> None:
    world = all_download(6)
    world.run(300.0)
    assert any(each.reason == "outbound in ibd" for each in world.traffic.departures)
    assert sessions(world) <= 15 * 4  # 15 pairs; every five seconds each, it would be 900
    before = sessions(world)
    world.run(HALF_HOUR)
    assert sessions(world) - before <= 15 * 12


def test_a_lonely_node_asks_again_after_growing_pauses_and_syncs_when_it_can() -> None:
    world = all_download(2)
    fresh = world.nodes[1]
    world.run(HALF_HOUR)
    begun = [
        each.at for each in world.traffic.departures if each.node == fresh.name and each.cause is Cause.DISCONNECTED
    ]
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert gaps[0] < 15.0
    assert all(later >= earlier - 6.0 for earlier, later in pairwise(gaps)), gaps
    assert max(gaps) < 130.0, "it does not give up"
    world.mine(world.nodes[0], count=3)
    assert world.run_until(lambda: fresh.height == 3, 130.0) is not None


def test_peers_of_no_use_are_left_alone_while_others_are_there() -> None:
    """One node has the chain, five download; a sixth one dials all of them."""
    world = SyncWorld(12, consensus=sim_consensus(3 * DAY))
    world.add_graph([[], [], [], []])
    world.add(list(range(4)))
    world.start()
    world.run(2.0)
    world.mine(world.nodes[0], count=3)
    world.run(1200.0)
    left = Counter(each.peer_ip for each in world.traffic.departures if each.node == world.nodes[4].name)
    assert world.nodes[4].height == 3
    assert all(times <= 4 for times in left.values()), left
