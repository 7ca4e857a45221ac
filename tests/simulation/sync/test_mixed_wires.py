"""Networks of both wires: nodes that have only one of them, and a few that have both."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.simulation.sync.blocks import free_cell, sim_consensus, spending
from tests.simulation.sync.checks import check_followed, check_one_tip, check_sound
from tests.simulation.sync.forge import history
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.world import SyncWorld
from tests.simulation.wires import Cable

LOSS = 0.2
"""The share of gossip that never arrives."""
DAY = 86_400.0


def mixed(
    seed: int, loss: float = LOSS
) -> tuple[SyncWorld, Sequence[SyncNode], Sequence[SyncNode], Sequence[SyncNode]]:
    """Five nodes that have only the CKB wire, two that have both, four that have only libp2p. The two are all that is
    between the others."""
    world = SyncWorld(seed, Cable(latency=0.02, jitter=0.01))
    ckb = [world.add(list(range(max(0, number - 2), number))) for number in range(5)]
    both = [world.add([number, 4], libp2p=range(5, 5 + number), gossip_loss=loss) for number in range(2)]
    libp2p = [world.add([], libp2p=range(5, 7 + number), gossip_loss=loss) for number in range(4)]
    return world, ckb, both, libp2p


def started(world: SyncWorld) -> None:
    world.start()
    world.run(15.0)
    assert all(node.switch.peers() for node in world.nodes)


def quiet(world: SyncWorld, since: float) -> None:
    """Mining has ended; everybody has followed all of it."""
    world.stop_mining()
    world.run(5.0)
    check_sound(world)
    check_one_tip(world)
    check_followed(world, since, within=3.0)


@pytest.mark.parametrize("loss", [LOSS, 1.0])
def test_one_tip_on_both_wires_whatever_gossip_loses(loss: float) -> None:
    world, ckb, _, libp2p = mixed(1, loss)
    started(world)
    since = world.clock.now()
    world.mine_every(5.0)
    world.run(90.0)
    for number, node in enumerate((ckb[0], libp2p[3], ckb[3], libp2p[0])):
        world.send(node, spending(world.consensus, free_cell(world.consensus, number), capacity=9_000 * 10**8))
        world.run(10.0)
    world.run(60.0)
    quiet(world, since)
    with world.nodes[0].chain.view() as view:
        for number in range(4):
            spent = spending(world.consensus, free_cell(world.consensus, number), capacity=9_000 * 10**8)
            assert view.transaction_info(spent.hash) is not None
    passed_on = [node.libp2p.passed_on for node in libp2p if node.libp2p is not None]
    assert all(passed_on) if loss < 1.0 else not any(passed_on)


def test_a_fresh_node_of_either_wire_gets_the_chain() -> None:
    forge = history(sim_consensus(3 * DAY), 300)
    world = SyncWorld(2, Cable(latency=0.02), forge.consensus)
    world.add(store=forge.store)
    world.add([0], store=forge.store, libp2p=[])
    fresh = [world.add([], libp2p=[1]), world.add([0])]
    world.start(within=0.1)
    assert world.run_until(lambda: all(node.height == 300 for node in fresh), 60.0) is not None
    check_sound(world)


@pytest.mark.parametrize("seed", range(2))
def test_both_worlds_mine_while_what_joins_them_is_gone_and_the_longer_branch_wins(seed: int) -> None:
    world, ckb, both, libp2p = mixed(seed)
    started(world)
    world.mine_every(5.0)
    world.run(30.0)
    world.stop_mining()
    world.run(10.0)
    check_one_tip(world)
    height = ckb[0].height
    world.wires.part([[node.ip for node in ckb], [node.ip for node in both], [node.ip for node in libp2p]])
    world.mine(ckb[seed], count=6)
    world.mine(libp2p[seed], count=9)
    world.run(20.0)
    assert {node.height for node in ckb} == {height + 6}
    assert {node.height for node in libp2p} == {height + 9}
    world.wires.mend()
    assert world.settle(180.0) is not None
    check_sound(world)
    check_one_tip(world)
    assert ckb[0].reorgs[-1] == 6


@pytest.mark.parametrize("seed", range(2))
def test_processes_that_end_at_any_moment_cost_no_block(seed: int) -> None:
    world, _, _, libp2p = mixed(seed)
    started(world)
    since = world.clock.now()
    world.mine_every(4.0)
    for _ in range(20):
        world.run(world.rng.uniform(1.0, 8.0))
        victim = world.rng.choice([node for node in world.nodes if node.libp2p is not None])
        assert victim.libp2p is not None
        victim.libp2p.crash()
    world.stop_mining()
    world.run(10.0)
    world.mine(world.nodes[0])
    assert world.settle(60.0) is not None
    check_sound(world)
    check_one_tip(world)
    assert since > 0
    assert sum(node.libp2p.starts for node in (*libp2p,) if node.libp2p is not None) > len(libp2p)


def test_nodes_of_libp2p_find_each_other_by_one_that_all_know_and_do_without_it_then() -> None:
    world = SyncWorld(3, Cable(latency=0.02, jitter=0.01))
    nodes = [world.add([], libp2p=[0] if number else [], finds_libp2p=True) for number in range(10)]
    world.start()
    assert world.run_until(lambda: all(len(node.switch.peers()) >= 3 for node in nodes), 900.0) is not None
    nodes[0].kill()
    world.run(60.0)
    since = world.clock.now()
    world.mine_every(5.0)
    world.run(60.0)
    quiet(world, since)
