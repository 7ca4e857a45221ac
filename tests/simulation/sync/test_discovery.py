"""Nodes that find their peers by discovery alone: networks that grow, are parted, lose those they began with, and are
one again."""

from __future__ import annotations

import pytest

from tests.simulation.sync.blocks import sim_consensus
from tests.simulation.sync.checks import check_followed, check_one_tip, check_sound
from tests.simulation.sync.world import SyncWorld
from tests.simulation.wires import Cable

FOUND = 600.0
"""Seconds in which a network must find together."""


def found_network(seed: int, count: int, max_outbound: int) -> SyncWorld:
    """Nodes that know one bootnode each, after each has found all the peers that it wants."""
    world = SyncWorld(seed, Cable(latency=0.03, jitter=0.01))
    world.add_finding(count, max_outbound)
    world.start(within=5.0)
    wanted = min(max_outbound, count - 1) // 2

    def is_found() -> bool:
        return all(len(node.outbound) >= wanted for node in world.nodes[1:])

    world.run(6.0)
    assert world.run_until(is_found, FOUND, look=5.0) is not None
    world.run(120.0)
    return world


def test_nodes_find_each_other_and_follow_the_tip() -> None:
    world = found_network(1, 10, 4)
    since = world.clock.now()
    world.mine_every(5.0)
    world.run(60.0)
    world.stop_mining()
    world.run(3.0)
    check_sound(world)
    check_one_tip(world)
    check_followed(world, since)


@pytest.mark.slow
def test_a_parted_network_is_one_again_though_each_side_has_peers_enough() -> None:
    """Nobody misses a session, so nobody dials for want of one; only who looks around now and then (network.lookout)
    hears of the other side. Without that it stays two networks for ever."""
    world = found_network(2, 16, 2)
    world.run(900.0)
    one, other = world.nodes[::2], world.nodes[1::2]
    world.wires.part([[node.ip for node in one], [node.ip for node in other]])
    world.run(400.0)
    names = {node.name for node in other}
    assert all(len(node.outbound) >= 2 and not names & set(node.peer_names) for node in one)
    world.mine(one[0], count=8)
    world.mine(other[0], count=12)
    world.run(10.0)
    assert {node.height for node in one} == {8}
    assert {node.height for node in other} == {12}
    world.wires.mend()
    assert world.settle(1800.0) is not None, [(node.name, node.height) for node in world.nodes]
    check_sound(world)
    check_one_tip(world)
    assert {node.height for node in world.nodes} == {12}
    for node in world.nodes:
        assert node.layer.registry.counts().block_relay_only <= 2


def test_the_bootnodes_are_lost_and_the_network_lives_on() -> None:
    world = found_network(5, 10, 4)
    for node in world.nodes[:3]:
        node.kill()
    left = world.running
    world.run(300.0)
    world.mine(left[0], count=3)
    assert world.run_until(lambda: all(node.height == 3 for node in left), 60.0) is not None
    for node in world.nodes[3:5]:  # they come back with what they knew, and their bootnodes are gone
        node.kill()
        world.run(30.0)
        world.reborn(node).start()
    world.run(60.0)
    world.mine(left[-1], count=2)
    assert world.run_until(lambda: all(node.height == 5 for node in world.running), 120.0) is not None
    check_sound(world)
    check_one_tip(world)


def test_a_node_in_its_initial_download_finds_a_server_by_discovery() -> None:
    """Its bootnode downloads, too."""
    day = 24 * 3600.0
    world = SyncWorld(6, Cable(latency=0.03), sim_consensus(3 * day))
    world.add_finding(6, 4)
    world.start(within=5.0)
    world.run(30.0)
    world.mine(world.nodes[0], count=20)
    world.run(FOUND)
    fresh = world.add(None, bootnodes=[5])
    fresh.start()
    assert world.run_until(lambda: fresh.height == 20, FOUND) is not None
    check_sound(world)
