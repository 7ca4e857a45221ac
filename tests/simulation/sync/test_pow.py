"""A chain with real proof of work: who sends what has none pays for it, by whatever message."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from consensus.params import PowFunc
from consensus.types.blockchain import Block, UncleBlock
from network.messages.protocols import SendBlock, SendHeaders
from network.peer import Peer
from tests.simulation.sync.blocks import has_work, sim_consensus, with_work
from tests.simulation.sync.checks import bans_of, check_one_tip, check_sound
from tests.simulation.sync.forge import Forge, history
from tests.simulation.sync.impostor import Impostor
from tests.simulation.sync.world import SyncWorld
from tests.simulation.wires import Cable

HEIGHT = 20
FUNCTIONS = (PowFunc.EAGLESONG, PowFunc.EAGLESONG_BLAKE2B)


@cache
def worked_chain(function: PowFunc) -> Forge:
    return history(sim_consensus(600.0, pow_func=function), HEIGHT, age=10.0)


def bad_block(forge: Forge) -> Block:
    return with_work(forge.consensus, forge.make(after=1.0), is_bad=True)


def tells_a_header(evil: Impostor, peer: Peer) -> None:
    evil.say(peer, SendHeaders(headers=[bad_block(evil.forge).header]))


def tells_many_headers(evil: Impostor, peer: Peer) -> None:
    """The last of them has no work."""
    evil.forge.grow(5, 0.5)
    evil.follow_forge()
    good = [block.header for block in evil.main[HEIGHT + 1 :]]
    evil.say(peer, SendHeaders(headers=[*good, bad_block(evil.forge).header]))


def tells_a_compact_block(evil: Impostor, peer: Peer) -> None:
    evil.announce(peer, bad_block(evil.forge))


def embeds_an_uncle(evil: Impostor, peer: Peer) -> None:
    """The block itself has work, its uncle has none."""
    bad = bad_block(evil.forge.fork(1, "uncle"))
    uncle = UncleBlock(header=bad.header, proposals=bad.proposals)
    evil.announce(peer, evil.know(evil.forge.make(uncles=[uncle], after=1.0)))


def sends_a_block(evil: Impostor, peer: Peer) -> None:
    """That nobody has asked for: it is not even looked at."""
    evil.say(peer, SendBlock(block=bad_block(evil.forge)))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("strike", "reason"),
    [
        (tells_a_header, "415"),
        (tells_many_headers, "415"),
        (tells_a_compact_block, "402"),
        (embeds_an_uncle, "401"),
        (sends_a_block, None),
    ],
)
def test_what_has_no_work_is_paid_for(
    function: PowFunc, strike: Callable[[Impostor, Peer], None], reason: str | None
) -> None:
    forge = worked_chain(function)
    world = SyncWorld(5, Cable(latency=0.02), forge.consensus)
    world.add_graph([[], [0]], forge.store)
    world.start(within=0.1)
    world.run(3.0)
    miner, victim = world.nodes
    evil = Impostor(world.clock, forge.fork(miner="liar"), strike)
    world.add_liar(evil, victim)
    assert world.run_until(lambda: evil.has_struck, 10.0) is not None
    for _ in range(8):
        world.run(2.0)
        world.mine(miner)
    world.run(2.0)
    ban = bans_of(victim).get(world.liars[0].ip)
    assert (None if ban is None else ban.reason[:3]) == reason
    assert not bans_of(miner)
    check_one_tip(world)
    check_sound(world)
    assert has_work(forge.consensus, victim.chain.tip().header)
