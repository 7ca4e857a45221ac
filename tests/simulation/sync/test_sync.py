"""Nodes that sync, in calm: every block is asked for once, announced within a second, and one tip is the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random

import pytest

from tests.simulation.sync.blocks import free_cell, output_of, sim_consensus, spending
from tests.simulation.sync.checks import check_asked_once, check_followed, check_one_tip, check_sound
from tests.simulation.sync.forge import Forge, history
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.world import SyncWorld, line, mesh, random_graph, ring, star
from tests.simulation.wires import Cable

DAY = 86_400.0


@cache
def old_chain(count: int = 300) -> Forge:
    """Three days of blocks: who has none of them is in its initial download."""
    return history(sim_consensus(3 * DAY), count)


def a_download(seed: int, servers: int, cable: Cable | None = None, count: int = 300) -> tuple[SyncWorld, SyncNode]:
    """Nodes that have the old chain, and one that dials them all and has nothing."""
    forge = old_chain(count)
    world = SyncWorld(seed, cable, forge.consensus)
    world.add_graph([[]] * servers, forge.store)
    fresh = world.add(list(range(servers)))
    world.start(within=0.1)
    world.run(0.1)
    return world, fresh


def assert_caught_up(world: SyncWorld) -> None:
    check_sound(world)
    check_one_tip(world)


@pytest.mark.parametrize("servers", [1, 3])
def test_a_fresh_node_gets_the_chain_and_asks_for_nothing_twice(servers: int) -> None:
    world, _ = a_download(1, servers)
    assert world.settle(60.0) is not None
    assert_caught_up(world)
    check_asked_once(world)


def test_several_peers_share_the_work() -> None:
    world, _ = a_download(2, 4, Cable(latency=0.05, bandwidth=20_000.0), count=600)
    assert world.settle(120.0) is not None
    given = {node.name: node.switch.traffic.bytes_out for node in world.nodes[:4]}
    assert min(given.values()) > max(given.values()) / 10, given


def test_a_server_that_vanishes_is_no_loss() -> None:
    world, fresh = a_download(3, 3, Cable(latency=0.05, bandwidth=100_000.0))
    world.run_until(lambda: fresh.height > 20, 60.0, 0.05)
    world.nodes[0].unplug()
    assert world.run_until(lambda: fresh.height == 300, 120.0) is not None
    check_sound(world)


GRAPHS: Sequence[Callable[[int], Sequence[Sequence[int]]]] = (line, ring, star, mesh)


@pytest.mark.parametrize("graph", GRAPHS)
def test_blocks_are_everywhere_within_a_second(graph: Callable[[int], Sequence[Sequence[int]]]) -> None:
    world = SyncWorld(4, Cable(latency=0.02, jitter=0.01))
    world.add_graph(graph(6))
    world.start()
    world.run(10.0)
    world.mine_every(5.0)
    world.run(120.0)
    world.stop_mining()
    world.run(3.0)
    assert_caught_up(world)
    check_followed(world, since=0.0)


@pytest.mark.parametrize("seed", range(3))
def test_random_networks_have_one_tip(seed: int) -> None:
    rng = Random(seed)
    world = SyncWorld(seed, Cable(latency=rng.choice((0.005, 0.1, 0.4)), jitter=0.1, loss=0.02))
    world.add_graph(random_graph(rng, 8))
    world.start(within=20.0)
    world.mine_every(3.0)
    world.run(120.0)
    world.stop_mining()
    world.run(5.0)
    world.mine(world.running[0])
    assert world.settle(60.0) is not None
    assert_caught_up(world)


@pytest.mark.parametrize(("one", "other"), [(3, 5), (40, 45), pytest.param(500, 510, marks=pytest.mark.slow)])
def test_both_sides_of_a_partition_mine_and_the_longer_branch_wins(one: int, other: int) -> None:
    world = SyncWorld(5, Cable(latency=0.02))
    nodes = world.add_graph(mesh(4))
    world.start()
    world.run(5.0)
    world.wires.part([[nodes[0].ip, nodes[1].ip], [nodes[2].ip, nodes[3].ip]])
    world.mine(nodes[0], count=one)
    world.mine(nodes[2], count=other)
    world.run(5.0 + max(one, other) * 0.01)
    assert [node.height for node in nodes] == [one, one, other, other]
    world.wires.mend()
    assert world.settle(90.0) is not None
    assert_caught_up(world)
    assert nodes[0].reorgs[-1] == one


@pytest.mark.parametrize("seed", range(6))
def test_a_node_that_is_killed_at_any_moment_goes_on_where_it_was(seed: int) -> None:
    world, fresh = a_download(seed, 2, Cable(latency=0.03, bandwidth=400_000.0))
    rng = Random(seed)
    for _ in range(6):
        world.run(rng.uniform(0.2, 3.0))
        fresh.kill()
        world.run(rng.uniform(0.1, 2.0))
        fresh = world.reborn(fresh)
        fresh.start()
    assert world.settle(90.0) is not None
    assert_caught_up(world)
    headers = world.traffic.got_headers
    assert sum(headers.values()) <= len(headers) + 6 * 300
    assert max(fresh.chain.service.given.values(), default=0) <= 1


def test_a_full_disk_ends_the_node_and_harms_no_peer() -> None:
    world, fresh = a_download(7, 2, Cable(latency=0.03, bandwidth=400_000.0))
    world.run_until(lambda: fresh.height > 10, 60.0, 0.05)
    fresh.store.disk.is_full = True
    assert world.run_until(lambda: not fresh.is_running, 30.0) is not None
    fresh.store.disk.is_full = False
    world.reborn(fresh).start()
    assert world.settle(60.0) is not None
    assert_caught_up(world)


def test_a_node_that_cannot_run_scripts_blames_nobody_and_goes_on_when_it_can() -> None:
    world = SyncWorld(8, Cable(latency=0.02))
    first, second = world.add_graph(line(2))
    world.start()
    world.run(3.0)
    second.chain.scripts.breaks = True
    world.send(first, spending(world.consensus, free_cell(world.consensus, 0)))
    for _ in range(6):
        world.run(2.0)
        world.mine(first)
    world.run(20.0)
    assert second.height < first.height
    second.chain.scripts.breaks = False
    assert world.settle(60.0) is not None
    assert_caught_up(world)


def test_transactions_reach_all_pools_and_blocks_are_rebuilt_without_asking() -> None:
    world = SyncWorld(9, Cable(latency=0.02))
    world.add_graph(ring(5))
    world.start()
    world.run(5.0)
    consensus = world.consensus
    sent = []
    cell = free_cell(consensus, 0)
    for number in range(10):
        transaction = spending(consensus, cell, capacity=10_000 * 10**8 - number * 1_000_000)
        world.send(world.nodes[number % 5], transaction)
        sent.append(transaction)
        cell = output_of(transaction)
        world.run(3.0)
    assert all(node.pool.pool.graph.by_hash(each.hash) is not None for node in world.nodes for each in sent)
    for number in range(5):
        world.mine(world.nodes[number])
        world.run(3.0)
    assert_caught_up(world)
    with world.nodes[0].chain.view() as view:
        assert all(view.transaction_info(each.hash) is not None for each in sent)
    assert not world.traffic.asked_block_transactions
    assert max(world.traffic.asked_transactions.values()) == 1
