"""Which inbound session goes when all are taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol, TypeVar

__all__ = ["BOOTNODE_EVICTION", "EVICTION", "victim_of"]

EVICTION: Final = "evict because accepted better peer"
BOOTNODE_EVICTION: Final = "bootnode random eviction"

PROTECTED: Final = 8
"""Sessions of each protected class."""


class Candidate(Protocol):
    """What counts of a session. Times are milliseconds of one clock."""

    @property
    def session_id(self) -> int: ...
    @property
    def group(self) -> str: ...
    @property
    def ping_ms(self) -> int | None: ...
    @property
    def last_ping_ms(self) -> int | None: ...
    @property
    def last_useful_ms(self) -> int | None: ...
    @property
    def connected_ms(self) -> int: ...


C = TypeVar("C", bound=Candidate)


def victim_of(inbound: Sequence[C], rng: Random) -> C:
    """A random session of the largest network group among those of `inbound` (at least one) that are not protected.

    Protected are, in this order: the shortest round trips, the latest signs of life, the latest bringers of something
    valid, and of the rest those that are connected longest: what an attacker cannot have at will. A class protects
    nobody when it would take all that are left.
    """
    left = list(inbound)
    left = _without_first(left, lambda one: (one.ping_ms is None, one.ping_ms or 0), PROTECTED)
    left = _without_first(left, lambda one: (one.last_ping_ms is None, -(one.last_ping_ms or 0)), PROTECTED)
    useful = sum(one.last_useful_ms is not None for one in left)
    left = _without_first(
        left, lambda one: (one.last_useful_ms is None, -(one.last_useful_ms or 0)), min(PROTECTED, useful)
    )
    left = _without_first(left, lambda one: (one.connected_ms, one.session_id), len(left) // 2)
    groups = dict[str, list[C]]()
    for one in left:
        groups.setdefault(one.group, []).append(one)
    return rng.choice(max(groups.values(), key=len))


def _without_first(candidates: list[C], key: Callable[[C], tuple[int, int]], count: int) -> list[C]:
    """Those that are not among the `count` first by a key."""
    return sorted(candidates, key=key)[count:] if len(candidates) > count else candidates
