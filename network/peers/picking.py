"""Random choice of addresses such that parties with many of them are not chosen more often for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from random import Random
from typing import Final

from network.ip import IpAddress
from network.peers.groups import LOCAL
from network.peers.known import KnownAddress
from network.peers.random_set import Pools, in_random_order

__all__ = ["Picker"]

MIN_RESERVE: Final = 64
"""So many addresses of groups that had their turn, or those asked for, are kept in case that there are no others."""


class Picker:
    """Collects up to `count` addresses in `found`.

    Pools come in turn, in random order, and so do the members of each. No IP address is chosen twice (loopback and
    unspecified ones excepted: many nodes of one machine), and no network group, nor one of `avoided_groups`, as long
    as another one is there.
    """

    def __init__(
        self,
        rng: Random,
        count: int,
        is_allowed: Callable[[KnownAddress], bool],
        avoided_groups: Collection[str] = (),
        max_per_group: int | None = None,
    ) -> None:
        """`max_per_group` holds for all groups but that of loopback."""
        self._rng, self._count, self._is_allowed = rng, count, is_allowed
        self._avoided, self._max_per_group = avoided_groups, max_per_group
        self._groups: Final = dict[str, int]()
        """How many of each group are found."""
        self._ips: Final = set[IpAddress]()
        self._ids: Final = set[str]()
        self.found: Final = list[KnownAddress]()

    def pick(
        self,
        pools: Pools[KnownAddress],
        is_fit: Callable[[KnownAddress], bool],
        count: int | None = None,
    ) -> None:
        """Choose what is fit and allowed, until `count` (else all that are missing) are found."""
        end = self._count if count is None else min(self._count, len(self.found) + count)
        reserve = list[KnownAddress]()
        for known in self._candidates(pools, is_fit):
            if len(self.found) >= end or len(reserve) >= max(end, MIN_RESERVE):
                break
            if known.group in self._groups or known.group in self._avoided:
                reserve.append(known)
            else:
                self._take(known)
        for known in reserve:
            if len(self.found) >= end:
                break
            self._take(known)

    def _candidates(self, pools: Pools[KnownAddress], is_fit: Callable[[KnownAddress], bool]) -> Iterator[KnownAddress]:
        """One of each pool, then another one of each, and so on."""
        order = in_random_order(list(pools.values()), self._rng)
        turns = [pool.in_random_order(self._rng) for pool in order]
        while turns:
            others = list[Iterator[KnownAddress]]()
            for members in turns:
                known = next((known for known in members if is_fit(known) and self._is_allowed(known)), None)
                if known is not None:
                    others.append(members)
                    yield known
            turns = others

    def _take(self, known: KnownAddress) -> None:
        of_group = self._groups.get(known.group, 0)
        if known.peer_id in self._ids or known.ip in self._ips:
            return
        if self._max_per_group is not None and of_group >= self._max_per_group and known.group != LOCAL:
            return
        self.found.append(known)
        self._groups[known.group] = of_group + 1
        self._ids.add(known.peer_id)
        if known.ip is not None and not known.ip.is_loopback and not known.ip.is_unspecified:
            self._ips.add(known.ip)
