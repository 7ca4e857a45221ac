"""Addresses of libp2p that peers have told: which are worth a dial, and which may be told on. No I/O.

It is bounded, and lost with the node: the configured peers, from whom it came, are asked again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import Final

from network.libp2p.names import Libp2pAddress
from network.peers.groups import group_of

__all__ = ["Book"]

MAX_KNOWN: Final = 1024
MAX_OF_TELLER: Final = 128
"""Addresses that peers of one network group may have in here: nobody fills the book alone."""
MAX_FAILURES: Final = 3
"""Dials in a row without an answer after which an address is forgotten."""
PAUSE: Final = 60.0
"""Seconds after a dial without an answer, and after a session, until the next one; twice as long each time."""
FRESH: Final = 7 * 24 * 3600.0
"""Seconds for which an address that has answered is told on."""


@dataclass(slots=True)
class _Known:
    teller: str
    """Network group of the peer that told it."""
    failures: int = 0
    next_at: float = 0.0
    is_dialled: bool = False
    answered_at: float | None = None


class Book:
    """Of one node. Times are seconds of an even clock."""

    def __init__(self, rng: Random) -> None:
        self._rng: Final = rng
        self._known: Final = dict[Libp2pAddress, _Known]()
        self._tellers: Final = Counter[str]()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def dialled(self) -> int:
        """Dials under way."""
        return sum(known.is_dialled for known in self._known.values())

    def add(self, address: Libp2pAddress, teller: str) -> bool:
        """A peer of the network group `teller` tells an address; whether it is known now. In a full book it takes the
        place of one that never answered."""
        if address in self._known:
            return True
        if self._tellers[teller] >= MAX_OF_TELLER:
            return False
        if len(self._known) >= MAX_KNOWN and not self._make_room():
            return False
        self._known[address] = _Known(teller)
        self._tellers[teller] += 1
        return True

    def _make_room(self) -> bool:
        idle = [each for each, known in self._known.items() if known.answered_at is None and not known.is_dialled]
        if idle:
            self._forget(self._rng.choice(idle))
        return bool(idle)

    def _forget(self, address: Libp2pAddress) -> None:
        teller = self._known.pop(address).teller
        self._tellers[teller] -= 1
        if not self._tellers[teller]:
            del self._tellers[teller]

    def due(
        self, now: float, places: int, groups: Collection[str], may_dial: Callable[[Libp2pAddress], bool]
    ) -> list[Libp2pAddress]:
        """Random ones to be dialled now, at most so many, first those of other network groups than `groups` (of the
        peers that are there); each is told by `ended`."""
        if places <= 0:
            return []
        ready = [each for each, known in self._known.items() if not known.is_dialled and known.next_at <= now]
        self._rng.shuffle(ready)
        ready.sort(key=lambda each: group_of(each.address) in groups)
        found = list[Libp2pAddress]()
        for address in ready:
            if len(found) == places:
                break
            if may_dial(address):
                self._known[address].is_dialled = True
                found.append(address)
        return found

    def ended(self, address: Libp2pAddress, now: float, *, is_connected: bool) -> None:
        """A dial is over."""
        known = self._known.get(address)
        if known is None:
            return
        known.is_dialled, known.next_at = False, now + PAUSE * 2**known.failures
        if is_connected:
            known.failures, known.answered_at = 0, now
            return
        known.failures += 1
        if known.failures >= MAX_FAILURES:
            self._forget(address)

    def restart(self) -> None:
        """What was being dialled is not any more."""
        for known in self._known.values():
            known.is_dialled = False

    def to_share(self, count: int, now: float) -> list[Libp2pAddress]:
        """Random ones that have answered this node lately."""
        good = [
            each
            for each, known in self._known.items()
            if known.answered_at is not None and now - known.answered_at < FRESH
        ]
        return self._rng.sample(good, min(count, len(good)))
