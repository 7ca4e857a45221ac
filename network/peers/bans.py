"""Banned IP networks, each until a time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Final

from network.ip import IpAddress, unmapped

__all__ = ["MAX_BANS", "MAX_REASON", "Ban", "BanList", "IpNetwork", "network_of", "unmapped_network"]

IpNetwork = IPv4Network | IPv6Network

MAX_BANS: Final = 10_000
"""Of each kind: those of the operator, and those that peers brought on themselves."""
MAX_REASON: Final = 1000
"""Characters."""
IPV6_SUBNET: Final = 64
"""Bits of what one host of IPv6 has for itself: it may use any address inside."""
_MAPPED_BITS: Final = 96
_SHRINK_TO: Final = MAX_BANS * 99 // 100


@dataclass(frozen=True, slots=True)
class Ban:
    """`until` and `created` in milliseconds since 1970. `is_manual`: by the operator."""

    network: IpNetwork
    until: int
    reason: str
    created: int
    is_manual: bool = False


def network_of(ip: IpAddress) -> IpNetwork:
    """What is banned for the misbehaviour of one peer: the IPv4 address, or all that a host of IPv6 has."""
    ip = unmapped(ip)
    if isinstance(ip, IPv6Address):
        return IPv6Network((int(ip), IPV6_SUBNET), strict=False)
    return IPv4Network((int(ip), 32))


def unmapped_network(network: IpNetwork) -> IpNetwork:
    """The IPv4 network that stands inside `::ffff:0:0/96`; else the same."""
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        inside = network.network_address.ipv4_mapped
        if inside is not None:
            return IPv4Network((int(inside), network.prefixlen - _MAPPED_BITS))
    return network


class BanList:
    """At most MAX_BANS of each kind; what ends first leaves. A look-up costs as many steps as there are lengths of
    prefixes, however many networks there are."""

    def __init__(self) -> None:
        self._bans: Final = dict[IpNetwork, Ban]()
        self._lengths: Final = {4: dict[int, dict[int, Ban]](), 6: dict[int, dict[int, Ban]]()}
        """By version of IP: for each prefix length, bans by the bits of the prefix."""
        self._counts: Final = {False: 0, True: 0}
        """By `Ban.is_manual`."""

    def __len__(self) -> int:
        """Those that have ended but not left yet count."""
        return len(self._bans)

    def add(self, ban: Ban, now_ms: int) -> None:
        """Ban a network, in the place of an earlier ban of the same one. A peer's misbehaviour neither shortens a ban
        nor takes the place of one of the operator's."""
        ban = Ban(unmapped_network(ban.network), ban.until, ban.reason[:MAX_REASON], ban.created, ban.is_manual)
        earlier = self._bans.get(ban.network)
        if earlier is not None and not ban.is_manual and (earlier.is_manual or earlier.until > ban.until):
            return
        self.remove(ban.network)
        if self._counts[ban.is_manual] >= MAX_BANS:
            self._make_room(ban.is_manual, now_ms)
        self._bans[ban.network] = ban
        self._counts[ban.is_manual] += 1
        self._prefixes(ban.network)[_prefix(ban.network)] = ban

    def remove(self, network: IpNetwork) -> bool:
        """Lift the ban of exactly this network; whether there was one."""
        network = unmapped_network(network)
        ban = self._bans.pop(network, None)
        if ban is None:
            return False
        self._counts[ban.is_manual] -= 1
        prefixes = self._prefixes(network)
        del prefixes[_prefix(network)]
        if not prefixes:
            del self._lengths[network.version][network.prefixlen]
        return True

    def clear(self) -> None:
        """Lift all."""
        self._bans.clear()
        self._counts.update({False: 0, True: 0})
        for lengths in self._lengths.values():
            lengths.clear()

    def lift_automatic(self) -> int:
        """Lift what is not the operator's, for a node that has banned all its peers; how many there were."""
        lifted = [ban.network for ban in self._bans.values() if not ban.is_manual]
        for network in lifted:
            self.remove(network)
        return len(lifted)

    def find(self, ip: IpAddress, now_ms: int) -> Ban | None:
        """A ban of a network that the address is in."""
        ip = unmapped(ip)
        bits, size = int(ip), ip.max_prefixlen
        for length, prefixes in self._lengths[ip.version].items():
            ban = prefixes.get(bits >> size - length)
            if ban is not None and ban.until > now_ms:
                return ban
        return None

    def is_banned(self, ip: IpAddress, now_ms: int) -> bool:
        return self.find(ip, now_ms) is not None

    def current(self, now_ms: int) -> Sequence[Ban]:
        """Those that have not ended, in the order of their coming; the others leave."""
        self._drop_ended(now_ms)
        return list(self._bans.values())

    def _make_room(self, is_manual: bool, now_ms: int) -> None:
        self._drop_ended(now_ms)
        excess = self._counts[is_manual] - _SHRINK_TO
        if excess > 0:
            of_kind = (ban for ban in self._bans.values() if ban.is_manual is is_manual)
            for ban in heapq.nsmallest(excess, of_kind, key=lambda ban: ban.until):
                self.remove(ban.network)

    def _drop_ended(self, now_ms: int) -> None:
        for ban in [ban for ban in self._bans.values() if ban.until <= now_ms]:
            self.remove(ban.network)

    def _prefixes(self, network: IpNetwork) -> dict[int, Ban]:
        return self._lengths[network.version].setdefault(network.prefixlen, {})


def _prefix(network: IpNetwork) -> int:
    return int(network.network_address) >> network.max_prefixlen - network.prefixlen
