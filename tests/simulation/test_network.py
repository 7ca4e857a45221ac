"""Networks that find themselves, mend themselves, and are the same for the same seed."""

from __future__ import annotations

import pytest

from network.peer import SessionKind
from tests.simulation.node import SimNode
from tests.simulation.wires import Cable
from tests.simulation.world import World


def assert_sound(world: World) -> None:
    """No node's own code has failed, and tables agree with each other."""
    for node in world.running:
        switch, registry = node.switch, node.layer.registry
        assert switch.traffic.faults == 0, node.name
        assert {peer.session_id for peer in switch.peers()} == {entry.session_id for entry in registry}
        assert registry.counts().outbound <= node.layer.settings.registry.max_outbound
        assert len({peer.peer_id for peer in switch.peers()}) == len(switch.peers())


def have_peers(nodes: list[SimNode], count: int) -> bool:
    return all(node.syncing >= count for node in nodes)


def found_network(seed: int, cable: Cable | None = None) -> World:
    """Twenty nodes that know one bootnode each, after they have found each other."""
    world = World(seed, cable)
    world.start(world.add_many(20))
    world.run(6.0)
    assert world.run_until(lambda: have_peers(world.nodes, 8), limit=600) is not None
    return world


def test_twenty_nodes_find_eight_peers_by_discovery() -> None:
    """As they do, with other seeds, before all that follows here."""
    world = found_network(1)
    world.run(120)
    assert have_peers(world.nodes, 8)
    assert_sound(world)


@pytest.mark.slow
def test_slow_and_broken_cables_only_take_longer() -> None:
    cable = Cable(latency=0.3, jitter=0.3, bandwidth=20_000, loss=0.05, cut=0.3, cut_within=300, refuse=0.2)
    world = found_network(4, cable)
    assert_sound(world)


def test_the_rest_mends_after_half_is_killed() -> None:
    world = found_network(5)
    dead = world.rng.sample(world.nodes, 10)
    for node in dead:
        node.kill()
    left = world.running
    assert len(left) == 10
    assert world.run_until(lambda: have_peers(left, 8), limit=300) is not None
    assert_sound(world)


def test_hosts_that_vanish_without_a_word_are_noticed() -> None:
    world = found_network(6)
    dead = world.rng.sample(world.nodes, 10)
    for node in dead:
        world.wires.unplug(node.ip)
        node.is_running = False
    left = world.running
    names = {node.name for node in dead}

    def nobody_waits_for_the_dead() -> bool:
        return not any(names & set(node.peer_names) for node in left)

    assert world.run_until(nobody_waits_for_the_dead, limit=120) is not None
    assert world.run_until(lambda: have_peers(left, 8), limit=300) is not None
    assert_sound(world)


@pytest.mark.slow
def test_a_parted_network_is_whole_again() -> None:
    world = found_network(7)
    one, other = world.nodes[::2], world.nodes[1::2]
    world.wires.part([[node.ip for node in one], [node.ip for node in other]])
    world.run(300)
    names = {node.name for node in other}
    assert not any(names & set(node.peer_names) for node in one)
    assert have_peers(world.nodes, 5)
    world.wires.mend()
    for node in one:  # all their outbound sessions stay on their side; what grows are the others
        node.kill()
    for node in one[:5]:
        world.reborn(node).start()
    assert world.run_until(lambda: have_peers(world.running, 8), limit=600) is not None
    assert_sound(world)


@pytest.mark.slow
def test_a_network_lives_with_churn() -> None:
    world = found_network(8)
    world.churn(every=15.0, until=world.clock.now() + 600)
    world.run(600)
    assert world.run_until(lambda: have_peers(world.running, 8), limit=300) is not None
    assert_sound(world)


def test_the_same_seed_gives_the_same_run() -> None:
    def trace() -> tuple[int, list[list[str]], list[int]]:
        world = World(9)
        world.start(world.add_many(8))
        world.run(120)
        traffic = [node.switch.traffic.bytes_out for node in world.nodes]
        return world.clock.calls, [node.peer_names for node in world.nodes], traffic

    assert trace() == trace()


@pytest.mark.slow
def test_feelers_are_no_peers_and_do_not_stay() -> None:
    world = found_network(10)
    world.run(300)
    for node in world.nodes:
        assert not [peer for peer in node.switch.peers() if peer.kind is SessionKind.FEELER]
        assert node.tables.store.tried_count >= 8
    assert_sound(world)
