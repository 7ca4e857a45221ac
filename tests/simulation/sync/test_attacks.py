"""Each rule of Sync and Relay broken once: the liar pays what the table says, and the honest tip goes on."""

from __future__ import annotations

from functools import cache

import pytest

from consensus.types.blockchain import UncleBlock
from tests.simulation.sync.attack import Attack
from tests.simulation.sync.attacks_relay import ATTACKS as RELAY_ATTACKS
from tests.simulation.sync.attacks_relay import CYCLES
from tests.simulation.sync.attacks_sync import ATTACKS as SYNC_ATTACKS
from tests.simulation.sync.attacks_sync import spoil_dao
from tests.simulation.sync.blocks import free_cell, sim_consensus, spending
from tests.simulation.sync.checks import bans_of, check_followed, check_one_tip, check_sound
from tests.simulation.sync.forge import Forge, history
from tests.simulation.sync.impostor import Impostor
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.world import SyncWorld
from tests.simulation.wires import Cable

HEIGHT = 60


@cache
def known_chain() -> Forge:
    """What all have when an attack begins."""
    return history(sim_consensus(), HEIGHT, age=10.0)


def a_world(seed: int) -> SyncWorld:
    """The victim, one that mines, and one behind the victim; all on the same height."""
    world = SyncWorld(seed, Cable(latency=0.02, jitter=0.01))
    world.add_graph([[1], [], [0]], known_chain().store)
    for at in (1, 0, 2):
        world.nodes[at].start()
    world.run(3.0)
    assert all(len(node.switch.peers()) >= 1 for node in world.nodes)
    return world


def strike(world: SyncWorld, attack: Attack) -> Impostor:
    """The liar on the victim's chain, connected."""
    impostor = Impostor(world.clock, known_chain().fork(miner="liar"), attack.strike)
    world.add_liar(impostor, world.nodes[0])
    assert world.run_until(lambda: impostor.has_struck, 10.0) is not None
    return impostor


@pytest.mark.parametrize("attack", [*SYNC_ATTACKS, *RELAY_ATTACKS], ids=str)
def test_the_liar_pays_and_the_honest_tip_goes_on(attack: Attack) -> None:
    world = a_world(1)
    victim, miner, _ = world.nodes
    since = world.clock.now()
    strike(world, attack)
    for _ in range(int(attack.patience // 2)):
        world.run(1.0)
        world.mine(miner)
        world.run(1.0)
    check_sound(world)
    check_one_tip(world)
    check_followed(world, since)
    assert_paid(world, victim, attack)


def test_an_uncle_that_is_known_to_be_invalid() -> None:
    """408. One liar shows the bad block, another embeds it."""
    world = a_world(2)
    victim = world.nodes[0]
    bad = known_chain().fork(1, "bad")
    spoilt = bad.take_bad(spoil_dao(bad))
    bad.take_bad(bad.make(after=1.0))
    shows = Impostor(world.clock, bad)
    world.add_liar(shows, victim)
    assert world.run_until(lambda: len(bans_of(victim)) == 1, 40.0) is not None
    forge = known_chain().fork(miner="liar")
    block = forge.make(uncles=[UncleBlock(header=spoilt.header, proposals=spoilt.proposals)], after=1.0)
    world.add_liar(Impostor(world.clock, forge, lambda evil, peer: evil.announce(peer, block)), victim)
    world.run(5.0)
    ban = bans_of(victim).get(world.liars[1].ip)
    assert ban is not None
    assert ban.reason.startswith("408")
    check_sound(world)


def assert_paid(world: SyncWorld, victim: SyncNode, attack: Attack) -> None:
    """The victim, and nobody else, has banned the liar, as long as the table says."""
    liar_ip = world.liars[0].ip
    ban = bans_of(victim).get(liar_ip)
    if attack.ban == 0:
        assert ban is None, ban
        return
    assert ban is not None, [each.reason for each in world.traffic.departures if each.peer_ip == liar_ip]
    assert ban.reason.startswith(attack.reason), ban.reason
    assert ban.until - ban.created == attack.ban * 1000
    assert all(liar_ip not in bans_of(other) for other in world.nodes[1:])


def test_the_free_lock_takes_the_cycles_that_liars_declare() -> None:
    world = SyncWorld(1)
    node = world.add()
    transaction = spending(world.consensus, free_cell(world.consensus, 1))
    node.pool.submit(transaction, CYCLES, 1)
    world.run(1.0)
    assert node.pool.pool.graph.by_hash(transaction.hash) is not None
