"""Nodes find each other, lose half of them, and find others."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http.client import HTTPException

from tests.soak.peers.nodes import Node

WANTED = 8
POLL_S = 1.0
SHOW_S = 15.0


@dataclass
class Found:
    """What came of one node: seconds until it had enough peers, and how many it had at the end."""

    name: str
    seconds: float | None
    inbound: int
    outbound: int


def wait_for_peers(nodes: Sequence[Node], wanted: int, since: float, limit_s: float, dead: set[str]) -> list[Found]:
    """Until each of `nodes` has `wanted` peers, and none of `dead` (peer ids). Times count from `since`
    (time.monotonic). Who is late has no time."""
    found: dict[str, Found] = {node.name: Found(node.name, None, 0, 0) for node in nodes}
    shown_at = 0.0
    while any(each.seconds is None for each in found.values()) and time.monotonic() - since < limit_s:
        for node in nodes:
            _look(node, found[node.name], wanted, since, dead)
        if time.monotonic() - shown_at >= SHOW_S:
            shown_at = time.monotonic()
            _show(found.values(), wanted, since)
        time.sleep(POLL_S)
    return list(found.values())


def _look(node: Node, found: Found, wanted: int, since: float, dead: set[str]) -> None:
    try:
        peers = node.peers()
    except (OSError, HTTPException):
        return
    if not node.is_running:
        raise RuntimeError(f"{node.name} has ended:\n{node.output()}")
    ids = {peer["node_id"] for peer in peers}
    found.outbound = sum(peer["is_outbound"] for peer in peers)
    found.inbound = len(peers) - found.outbound
    is_enough = len(ids) >= wanted and not ids & dead
    if is_enough and found.seconds is None:
        found.seconds = time.monotonic() - since


def _show(found: Collection[Found], wanted: int, since: float) -> None:
    done = sum(each.seconds is not None for each in found)
    fewest = min(each.inbound + each.outbound for each in found)
    line = f"  {time.monotonic() - since:5.0f} s: {done} of {len(found)} have {wanted} peers, the fewest {fewest}"
    print(line, flush=True)


def wait_for_meetings(nodes: Sequence[Node], limit_s: float) -> dict[str, int]:
    """Until each of `nodes` has a session with another of them, or the time is over: with how many."""
    ids = {node.identity.peer_id for node in nodes}
    begun = shown_at = time.monotonic()
    while True:
        met = {node.name: len({peer["node_id"] for peer in node.peers()} & ids) for node in nodes}
        now = time.monotonic()
        if all(met.values()) or now - begun >= limit_s:
            return met
        if now - shown_at >= SHOW_S:
            shown_at = now
            print(f"  {now - begun:5.0f} s: {sum(map(bool, met.values()))} of {len(met)} have met", flush=True)
        time.sleep(POLL_S)
