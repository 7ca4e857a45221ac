"""Each rule of Sync, Relay, LightClient and Filter broken once: the liar pays what the table says, and the honest tip
goes on. `rules.py` has which scene breaks which rule."""

from __future__ import annotations

from functools import cache

import pytest

from ckb_node.sync.suspects import LOOKS
from consensus.types.blockchain import UncleBlock
from network.messages.protocols import GetBlocks, GetBlockTransactions, GetHeaders, GetRelayTransactions, SendHeaders
from network.peer import Peer
from tests.simulation.sync.attack import Attack, Strike
from tests.simulation.sync.attacks import ATTACKS
from tests.simulation.sync.attacks_blocks import collide
from tests.simulation.sync.attacks_sync import spoil_dao
from tests.simulation.sync.attacks_transactions import withhold
from tests.simulation.sync.blocks import CYCLES, free_cell, sim_consensus, spending
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
    world.add([1], store=known_chain().store, with_filters=True)
    world.add_graph([[], [0]], known_chain().store)
    for at in (1, 0, 2):
        world.nodes[at].start()
    world.run(3.0)
    assert all(len(node.switch.peers()) >= 1 for node in world.nodes)
    return world


def strike(world: SyncWorld, attack: Attack) -> Impostor:
    """The liar on the victim's chain, connected."""
    impostor = Impostor(world.clock, known_chain().fork(miner="liar"), attack.strike, attack.protocols)
    world.add_liar(impostor, world.nodes[0])
    assert world.run_until(lambda: impostor.has_struck, 10.0) is not None
    return impostor


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
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
    """One liar shows the bad block, an honest miner, who had its rival first, embeds it."""
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
    assert bans_of(victim).get(world.liars[1].ip) is None
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


def tells_headers(evil: Impostor, peer: Peer) -> None:
    evil.say(peer, SendHeaders(headers=[block.header for block in evil.main[HEIGHT:]]))


def tells_the_last(evil: Impostor, peer: Peer) -> None:
    evil.announce(peer, evil.main[-1])


def tells_the_bad_one(evil: Impostor, peer: Peer) -> None:
    evil.announce(peer, evil.main[HEIGHT])


@pytest.mark.parametrize(
    ("lie", "is_silent", "reason"),
    [
        (tells_headers, False, "415"),
        (tells_the_last, False, "415"),
        (tells_the_bad_one, False, "415"),
        (tells_the_last, True, "401"),
        (tells_the_bad_one, True, ""),  # of no more work than the victim's tip: an honest node may say so
    ],
)
def test_what_stands_on_a_bad_block_is_bad(lie: Strike, is_silent: bool, reason: str) -> None:
    """One liar shows the bad block; another one, who comes later, tells of it or of what stands on it. Asked for its
    main chain it says what it is, or nothing."""
    world = a_world(3)
    victim = world.nodes[0]
    bad = known_chain().fork(1, "bad")
    bad.take_bad(spoil_dao(bad))
    bad.take_bad(bad.make(after=1.0))
    bad.take_bad(bad.make(after=1.0))
    world.add_liar(Impostor(world.clock, bad, tells_headers), victim)
    assert world.run_until(lambda: len(bans_of(victim)) == 1, 40.0) is not None
    second = Impostor(world.clock, bad, lie)
    if is_silent:
        second.on(GetHeaders, lambda _peer, _message: None)
    world.add_liar(second, victim)
    world.run(LOOKS + 5.0)
    ban = bans_of(victim).get(world.liars[1].ip)
    assert (ban is not None) == bool(reason)
    assert ban is None or ban.reason.startswith(reason), ban.reason
    check_sound(world)


def test_a_transaction_that_is_withheld_comes_from_the_next_who_has_it() -> None:
    world = a_world(4)
    victim, miner, _ = world.nodes
    transaction = spending(world.consensus, free_cell(world.consensus, 7))
    impostor = Impostor(world.clock, known_chain().fork(miner="liar"), withhold(transaction))
    world.add_liar(impostor, victim)
    assert world.run_until(lambda: impostor.count(GetRelayTransactions) == 1, 10.0) is not None
    world.send(miner, transaction)
    took = world.run_until(lambda: victim.pool.pool.graph.by_hash(transaction.hash) is not None, 60.0)
    assert took is not None
    assert took <= 35.0
    assert not bans_of(victim)
    check_sound(world)


def test_a_block_whose_transaction_has_another_witness_than_the_pools_is_taken() -> None:
    """Both have one short id; the block's is asked for."""
    world = a_world(5)
    victim = world.nodes[0]
    forge = known_chain().fork(miner="other")
    other = Impostor(world.clock, forge, collide(is_lie=False))
    world.add_liar(other, victim)
    assert world.run_until(lambda: victim.height == HEIGHT + 3, 20.0) is not None
    assert other.count(GetBlockTransactions) == 1
    assert other.count(GetBlocks) == 0
    assert not bans_of(victim)
