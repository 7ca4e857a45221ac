"""Liars that a node has dialled itself: in its initial download it asks nobody else for headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import pytest

from consensus.types.blockchain import Block
from network.messages.protocols import GetBlocks, GetHeaders, InIBD, SendBlock, SendHeaders
from network.peer import Peer
from network.traffic import Cause
from tests.simulation.sync.blocks import sim_consensus
from tests.simulation.sync.checks import bans_of, check_sound
from tests.simulation.sync.forge import Forge, history
from tests.simulation.sync.impostor import Impostor
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.world import LIARS_FROM, SyncWorld
from tests.simulation.wires import Cable

DAY = 86_400.0
HEIGHT = 300

Lie = Callable[[Impostor], None]


@cache
def old_chain() -> Forge:
    """Three days of blocks."""
    return history(sim_consensus(3 * DAY), HEIGHT)


def a_download(lie: Lie, liars: int = 1, servers: int = 1, forge: Forge | None = None) -> tuple[SyncWorld, SyncNode]:
    """A node without a chain that has dialled liars first, and then honest ones."""
    world = SyncWorld(1, Cable(latency=0.02), old_chain().consensus)
    for _ in range(liars):
        impostor = Impostor(world.clock, forge or old_chain())
        lie(impostor)
        world.add_liar(impostor)
    world.add_graph([[]] * servers, old_chain().store)
    for node in world.nodes:
        node.start()
    fresh = world.add([*range(LIARS_FROM, LIARS_FROM + liars), *range(servers)])
    fresh.start()
    return world, fresh


def departures(world: SyncWorld, fresh: SyncNode) -> Sequence[tuple[Cause, str]]:
    liars = {liar.ip for liar in world.liars}
    return [
        (each.cause, each.reason)
        for each in world.traffic.departures
        if each.node == fresh.name and each.peer_ip in liars
    ]


def says_it_downloads(evil: Impostor) -> None:
    evil.on(GetHeaders, lambda peer, _: evil.say(peer, InIBD()))


def is_silent(evil: Impostor) -> None:
    evil.on(GetHeaders, lambda _peer, _message: None)
    evil.on(GetBlocks, lambda _peer, _message: None)


def has_nothing(evil: Impostor) -> None:
    evil.on(GetHeaders, lambda peer, _: evil.say(peer, SendHeaders(headers=[])))


def drips_headers(evil: Impostor) -> None:
    """One header each two seconds, asked for or not."""

    def drip(peer: Peer, number: int) -> None:
        if peer.session_id in evil.peers and number <= HEIGHT:
            evil.say(peer, SendHeaders(headers=[evil.main[number].header]))
            evil.clock.call_later(2.0, lambda: drip(peer, number + 1))

    evil.on(GetHeaders, lambda peer, _: drip(peer, 1) if evil.count(GetHeaders) == 1 else None)


def withholds_blocks(evil: Impostor) -> None:
    evil.on(GetBlocks, lambda _peer, _message: None)


def drips_blocks(evil: Impostor) -> None:
    """Each block comes four seconds after the one before."""
    free_at = 0.0

    def answer(peer: Peer, message: GetBlocks) -> None:
        nonlocal free_at
        for block in asked_for(evil, message):
            free_at = max(free_at, evil.clock.now()) + 4.0
            evil.say_later(free_at - evil.clock.now(), peer, SendBlock(block=block))

    evil.on(GetBlocks, answer)


def withholds_one(evil: Impostor) -> None:
    """All blocks but one come at once."""

    def answer(peer: Peer, message: GetBlocks) -> None:
        for block in asked_for(evil, message):
            if block.number != 5:
                evil.say(peer, SendBlock(block=block))

    evil.on(GetBlocks, answer)


def asked_for(evil: Impostor, message: GetBlocks) -> Sequence[Block]:
    wanted = {bytes(each) for each in message.block_hashes}
    return [block for block in evil.main if block.hash in wanted]


@pytest.mark.parametrize(
    ("lie", "limit"),
    [
        (says_it_downloads, 10.0),
        (is_silent, 40.0),
        (has_nothing, 40.0),
        (drips_headers, 60.0),
        (withholds_blocks, 30.0),
        (drips_blocks, 30.0),
        (withholds_one, 20.0),
    ],
)
@pytest.mark.parametrize("liars", [1, 3])
def test_one_honest_peer_suffices(lie: Lie, limit: float, liars: int) -> None:
    world, fresh = a_download(lie, liars)
    took = world.run_until(lambda: fresh.height == HEIGHT, limit)
    assert took is not None, (fresh.height, fresh.chain.best_header().number, fresh.sync.blocks.waits_for())
    check_sound(world)


def test_who_downloads_itself_is_disconnected_and_not_banned() -> None:
    world, fresh = a_download(says_it_downloads)
    world.run(10.0)
    assert (Cause.DISCONNECTED, "outbound in ibd") in departures(world, fresh)
    assert not bans_of(fresh)


def test_who_never_answers_makes_room() -> None:
    world, fresh = a_download(is_silent, servers=0)
    world.run(200.0)
    assert any(reason.startswith("sync timeout eviction") for _, reason in departures(world, fresh))
    assert not bans_of(fresh)


def test_who_withholds_blocks_makes_room_and_comes_back_to_nobodys_harm() -> None:
    world, fresh = a_download(withholds_blocks, servers=0)
    world.run(90.0)
    assert any(reason.startswith("sync disconnect") for _, reason in departures(world, fresh))
    assert not bans_of(fresh)


def test_a_branch_with_more_work_whose_blocks_never_come_holds_nobody_up() -> None:
    """The liar's headers have the most work; the honest chain is followed all the same."""
    forge = old_chain().fork(50, "liar")
    forge.grow(80, 1.0)
    world, fresh = a_download(withholds_blocks, liars=2, servers=2, forge=forge)
    took = world.run_until(lambda: fresh.height == HEIGHT, 60.0)
    assert took is not None, (fresh.height, fresh.sync.blocks.waits_for())
    world.run(5.0)
    miner = world.nodes[0]
    for _ in range(5):
        world.mine(miner)
        world.run(3.0)
        assert fresh.tip == miner.tip
    check_sound(world)


def test_who_has_less_than_the_node_is_of_no_use_to_it() -> None:
    """The first four dialled peers are protected: they stay until the node has more than they. The chain has stood for
    two days, so that the download does not end."""
    whole = history(sim_consensus(5 * DAY), HEIGHT, age=2 * DAY)
    world = SyncWorld(1, Cable(latency=0.02), whole.consensus)
    for forge in (*[whole.fork(50)] * 5, whole):
        world.add_liar(Impostor(world.clock, forge))
    fresh = world.add(range(LIARS_FROM, LIARS_FROM + 6))
    fresh.start()
    assert world.run_until(lambda: fresh.height == HEIGHT, 120.0) is not None
    world.run(10.0)
    reasons = [reason for _, reason in departures(world, fresh)]
    assert "useless outbound peer in IBD" in reasons
    assert "sync disconnect: it has less than we have" in reasons
    assert not bans_of(fresh)
    check_sound(world)
