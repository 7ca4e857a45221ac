"""One outbound session more, with somebody else every ten minutes, that only relays blocks.

A network that was parted would stay so when its parts reach each other again, as long as each node has enough peers on
its own side, and a node whose outbound peers are all of one mind hears of no other chain. Such a session shows a
heavier chain to one node, which tells it to all others of its side. Decision 53.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, Protocol

from network.multiaddr import Multiaddr
from network.peer import Scheduler, SessionKind
from network.peers.registry import MAX_BLOCK_RELAY_ONLY, Registry

__all__ = ["LOOKOUT", "Lookout"]

LOOKOUT: Final = 600.0
"""Seconds between two, on average."""
PARTING: Final = "another peer has its turn"


class LookoutDialler(Protocol):
    """The switch, as far as it is needed here."""

    def dial(
        self, address: Multiaddr, kind: SessionKind = ..., on_end: Callable[[str | None], None] | None = None
    ) -> object | None: ...

    def remove_node(self, peer_id: str, reason: str = ...) -> bool:
        """Disconnect a peer; whether it was there."""


class Lookout:
    """Who is met in turn."""

    def __init__(self, dialler: LookoutDialler, registry: Registry, scheduler: Scheduler, rng: Random) -> None:
        self._dialler, self._registry, self._scheduler, self._rng = dialler, registry, scheduler, rng
        self._next_at = 0.0
        self._set_next()
        self._met: list[str] = []
        """Peer ids of those that are connected, the oldest first."""

    def turn(self, find: Callable[[], Multiaddr | None]) -> None:
        """Dial the next one if it is time; `find` gives an address that nobody is connected to."""
        if self._scheduler.now() < self._next_at:
            return
        self._set_next()
        address = find()
        if address is not None and address.peer_id is not None:
            self._dialler.dial(address, SessionKind.BLOCK_RELAY_ONLY, partial(self._meet, address.peer_id))

    def _set_next(self) -> None:
        self._next_at = self._scheduler.now() + LOOKOUT * self._rng.uniform(0.5, 1.5)

    def _meet(self, peer_id: str, fault: str | None) -> None:
        """It has proven its key, and is about to ask for its place: the one before makes room. Sessions of this kind
        that began otherwise stay."""
        if fault is not None:
            return
        present = {entry.peer_id for entry in self._registry if entry.kind is SessionKind.BLOCK_RELAY_ONLY}
        self._met = [each for each in self._met if each in present]
        if len(present) >= MAX_BLOCK_RELAY_ONLY and self._met:
            self._dialler.remove_node(self._met.pop(0), PARTING)
        self._met.append(peer_id)
