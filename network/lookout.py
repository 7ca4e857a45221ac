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
AGAIN: Final = 60.0
"""Seconds after which a bootnode has the turn of an address that did not answer."""
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
        self._has_failed = False
        """The last one did not answer."""
        self._met: list[str] = []
        """Peer ids of those that are connected, the oldest first."""

    def turn(self, find: Callable[[], Multiaddr | None], find_bootnode: Callable[[], Multiaddr | None]) -> None:
        """Dial the next one if it is time. Both give an address that nobody is connected to; a bootnode has its turn
        when there is no other, or when the other has not answered: all that are known may be dead."""
        if self._scheduler.now() < self._next_at:
            return
        had_failed, self._has_failed = self._has_failed, False
        self._set_next()
        address = (find_bootnode() if had_failed else None) or find() or find_bootnode()
        if address is not None and address.peer_id is not None:
            meet = partial(self._meet, address.peer_id, had_failed)
            self._dialler.dial(address, SessionKind.BLOCK_RELAY_ONLY, meet)

    def _set_next(self) -> None:
        self._next_at = self._scheduler.now() + LOOKOUT * self._rng.uniform(0.5, 1.5)

    def _meet(self, peer_id: str, had_failed: bool, fault: str | None) -> None:
        """It has proven its key, and is about to ask for its place: the one before makes room. Sessions of this kind
        that began otherwise stay."""
        if fault is not None:
            self._fail(had_failed)
            return
        present = {entry.peer_id for entry in self._registry if entry.kind is SessionKind.BLOCK_RELAY_ONLY}
        self._met = [each for each in self._met if each in present]
        if len(present) >= MAX_BLOCK_RELAY_ONLY and self._met:
            self._dialler.remove_node(self._met.pop(0), PARTING)
        self._met.append(peer_id)

    def _fail(self, had_failed: bool) -> None:
        """It did not answer: once in a turn another one follows soon."""
        if not had_failed:
            self._has_failed = True
            self._next_at = self._scheduler.now() + AGAIN
