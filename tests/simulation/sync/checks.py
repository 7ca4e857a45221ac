"""What must be true of a network of nodes, whatever has happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from network.peers.bans import Ban
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.world import SyncWorld

SPARE_SHARE: Final = 0.25
SPARE_BLOCKS: Final = 64
"""Blocks that may be asked for again after misfortunes: those of peers that fell silent, and of slow ones."""


def check_sound(world: SyncWorld) -> None:
    """No code of ours has failed, and no honest node is banned."""
    assert not world.traffic.faults, world.traffic.faults[0]
    for node in world.nodes:
        assert node.switch.traffic.faults == 0, node.name
    honest = {node.ip for node in world.nodes}
    for node in world.nodes:
        for ip, ban in bans_of(node).items():
            assert ip not in honest, f"{node.name} has banned {ip}: {ban.reason}"


def check_one_tip(world: SyncWorld) -> None:
    """All that run have the same chain, and it is the one with the most work that anybody has."""
    tips = {node.name: (node.height, node.tip.hex()[:8]) for node in world.running}
    assert len(set(tips.values())) == 1, tips
    best = max(node.chain.tip().total_difficulty for node in world.nodes)
    assert world.running[0].chain.tip().total_difficulty == best


def check_asked_once(world: SyncWorld) -> None:
    """In calm nothing is asked for twice."""
    again = {key: count for key, count in world.traffic.asked_blocks.items() if count > 1}
    assert not again, f"{len(again)} of {len(world.traffic.asked_blocks)} blocks were asked for again"
    got, asked = world.traffic.got_headers, world.traffic.asked_headers
    repeated = sum(got.values()) - len(got)
    assert repeated <= sum(asked.values()), f"{repeated} headers came again"  # a tip stands in each answer


def check_asked_seldom(world: SyncWorld) -> None:
    """After misfortunes: what a node has asked for in one of its lives it asks for again only where it must. What liars
    ask for does not count."""
    ids = [node.identity.peer_id for node in world.nodes]
    lives = {f"{each} {life}" for each in ids for life in range(1, world.traffic.lives[each] + 1)}
    asked = {key: count for key, count in world.traffic.asked_blocks.items() if key[0] in lives}
    again = sum(asked.values()) - len(asked)
    assert again <= SPARE_SHARE * len(asked) + SPARE_BLOCKS, f"{again} of {len(asked)} blocks were asked for again"


def bans_of(node: SyncNode) -> Mapping[str, Ban]:
    """By IP address, those that have ended too."""
    return {str(ban.network.network_address): ban for ban in node.tables.bans._bans.values()}


def delays(world: SyncWorld, since: float = 0.0) -> list[float]:
    """Seconds from where a block was made to each other node's tip, of blocks made after `since`."""
    found = []
    for block_hash, (at, _) in world.mined.items():
        if at >= since:
            found += [node.seen[block_hash] - at for node in world.nodes if block_hash in node.seen]
    return found


def check_followed(world: SyncWorld, since: float, within: float = 1.0) -> None:
    """Each block of the main chain that was made after `since` was everywhere within a second."""
    node = world.running[0]
    with node.chain.view() as view:
        for block_hash, (at, miner) in world.mined.items():
            if at < since or not view.is_main(block_hash):
                continue
            for each in world.running:
                seen = each.seen.get(block_hash)
                assert seen is not None, f"{each.name} has not seen a block of {miner}"
                assert seen - at <= within, f"{each.name} had a block of {miner} after {seen - at:.2f} s"
