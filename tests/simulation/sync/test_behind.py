"""Outbound peers whose chain stays behind: after twelve minutes each is told where the node is, two minutes later it
makes room for another (the reference's chain-sync eviction)."""

from __future__ import annotations

import pytest

from ckb_node.sync.headers.behind import ANSWER_SECONDS, CATCH_UP_SECONDS
from network.messages.protocols import GetHeaders
from network.traffic import Cause
from tests.simulation.sync.blocks import sim_consensus
from tests.simulation.sync.checks import bans_of, check_sound
from tests.simulation.sync.forge import Forge, history
from tests.simulation.sync.impostor import Impostor
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.world import LIARS_FROM, SyncWorld
from tests.simulation.wires import Cable

HEIGHT = 40
PROTECTED = 4
"""The first outbound peers never make room."""
START = 10.0


def a_world() -> tuple[SyncWorld, SyncNode, Impostor]:
    """A node that has dialled a miner, three others, which are protected with it, and one whose chain ends ten blocks
    below."""
    chain = history(sim_consensus(), HEIGHT, age=60.0)
    world = SyncWorld(3, Cable(latency=0.02), chain.consensus)
    world.add_graph([[], [0], [0], [0]], chain.store)
    node = world.add([*range(PROTECTED), LIARS_FROM], store=chain.store)
    for each in world.nodes:
        each.start()
    assert world.run_until(lambda: len(node.switch.peers()) == PROTECTED, START) is not None
    laggard = Impostor(world.clock, chain.fork(10))
    world.add_liar(laggard)
    world.run(START)
    assert len(node.switch.peers()) == PROTECTED + 1
    return world, node, laggard


def left_at(world: SyncWorld, node: SyncNode) -> list[float]:
    """When the node sent a laggard away."""
    return [
        each.at
        for each in world.traffic.departures
        if each.node == node.name
        and each.peer_ip == world.liars[0].ip
        and (each.cause, each.reason) == (Cause.DISCONNECTED, "sync timeout eviction: its chain stays behind")
    ]


def mine_for(world: SyncWorld, seconds: float) -> None:
    for _ in range(int(seconds // 60)):
        world.mine(world.nodes[0])
        world.run(60.0)


def test_who_stays_behind_is_told_and_makes_room_and_is_left_alone() -> None:
    world, node, laggard = a_world()
    mine_for(world, CATCH_UP_SECONDS - 60.0)
    assert left_at(world, node) == []
    before = laggard.count(GetHeaders)
    mine_for(world, ANSWER_SECONDS + 60.0)
    assert laggard.count(GetHeaders) > before, "it was told where the node is"
    mine_for(world, 180.0)
    (at,) = left_at(world, node)
    assert CATCH_UP_SECONDS + ANSWER_SECONDS <= at <= CATCH_UP_SECONDS + ANSWER_SECONDS + 2 * START + 5.0
    assert not bans_of(node)
    assert len(node.outbound) == PROTECTED, "it is not dialled again at once"
    assert node.tip == world.nodes[0].tip
    check_sound(world)


@pytest.mark.slow
def test_who_catches_up_when_it_is_told_stays() -> None:
    world, node, laggard = a_world()
    mine_for(world, CATCH_UP_SECONDS - 60.0)
    laggard.forge = Forge(world.consensus, world.nodes[0].store.copied())
    laggard.follow_forge()
    mine_for(world, 3 * ANSWER_SECONDS)
    assert left_at(world, node) == []
    assert len(node.outbound) == PROTECTED + 1
