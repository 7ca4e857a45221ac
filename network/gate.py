"""Which new connections get a handshake. A handshake costs a third of a millisecond, and as long as it lasts a place:
so each address, each group of addresses and the whole world have only so many at once and so many a second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final

from network.budget import Allowance, Allowances
from network.multiaddr import Multiaddr
from network.peers.bans import network_of
from network.peers.groups import group_of

__all__ = ["GateLimits", "HandshakeGate", "Ticket", "TurnedAway"]

MAX_KEPT: Final = 16_384
"""Addresses, and groups, whose use is remembered. What leaves has been quiet for longer than all others."""


class TurnedAway(Enum):
    """Why a connection gets no handshake."""

    BANNED = "banned"
    CLOSED = "the node is stopping"
    CONNECTIONS = "too many connections"
    HANDSHAKES = "too many handshakes at once"
    HANDSHAKES_ADDRESS = "too many handshakes at once from one address"
    HANDSHAKES_GROUP = "too many handshakes at once from one network"
    RATE = "too many handshakes a second"
    RATE_ADDRESS = "too many handshakes a second from one address"
    RATE_GROUP = "too many handshakes a second from one network"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """At once, and by second with bursts; of an address, of a network group, of all. A household of nodes behind one
    address, or a test network on one machine, must pass."""

    at_once: int = 256
    at_once_group: int = 96
    at_once_address: int = 48
    rate: float = 200.0
    rate_group: float = 16.0
    rate_address: float = 4.0
    burst: float = 512.0
    burst_group: float = 192.0
    burst_address: float = 96.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """One handshake that was let in, by the number of its session; to be given back when it is over, well or not."""

    number: int
    host: str
    """The IPv4 address, or all that a host of IPv6 has; the group for what has no IP address."""
    group: str
    displaced: int | None = None
    """The number of a handshake that must end for this one."""


class HandshakeGate:
    """Counts inbound handshakes. When all places are taken, the network group that has the most loses its oldest one to
    a newcomer of a group that has fewer: silent connections keep nobody out but each other."""

    def __init__(self, limits: GateLimits, now: float) -> None:
        self._limits: Final = limits
        self._by_group: Final = dict[str, dict[int, Ticket]]()
        """In the order of their coming."""
        self._by_host: Final[Counter[str]] = Counter()
        self._at_once = 0
        self._rate: Final = Allowance(limits.rate, limits.burst, now)
        self._rate_host: Final = Allowances[str](limits.rate_address, limits.burst_address, max_keys=MAX_KEPT)
        self._rate_group: Final = Allowances[str](limits.rate_group, limits.burst_group, max_keys=MAX_KEPT)

    @property
    def at_once(self) -> int:
        """Handshakes that go on now."""
        return self._at_once

    def enter(self, address: Multiaddr, number: int, now: float) -> Ticket | TurnedAway:
        """Ask for a handshake with who connects from an address."""
        ip, group = address.ip, group_of(address)
        host = group if ip is None else str(network_of(ip))
        fault = self._crowd(host, group) or self._haste(host, group, now)
        if fault is not None:
            return fault
        displaced = None
        if self._at_once >= self._limits.at_once:
            displaced = self._displace(group)
            if displaced is None:
                return TurnedAway.HANDSHAKES
        self._rate.spend(1.0, now)
        self._rate_host.spend(host, 1.0, now)
        self._rate_group.spend(group, 1.0, now)
        ticket = Ticket(number, host, group, displaced)
        self._by_group.setdefault(group, {})[number] = ticket
        self._by_host[host] += 1
        self._at_once += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """A handshake is over. Nothing happens for one that was displaced."""
        beside = self._by_group.get(ticket.group, {})
        if beside.pop(ticket.number, None) is None:
            return
        if not beside:
            del self._by_group[ticket.group]
        self._by_host[ticket.host] -= 1
        if self._by_host[ticket.host] <= 0:
            del self._by_host[ticket.host]
        self._at_once -= 1

    def _displace(self, group: str) -> int | None:
        """Make room for a newcomer of a group; the number of who goes, None when nobody has more."""
        largest = max(self._by_group.values(), key=len)
        if len(largest) <= len(self._by_group.get(group, {})):
            return None
        oldest = next(iter(largest.values()))
        self.leave(oldest)
        return oldest.number

    def _crowd(self, host: str, group: str) -> TurnedAway | None:
        """Too many at once of a kind. The narrowest limit is asked first: it says most about who is at fault."""
        if self._by_host[host] >= self._limits.at_once_address:
            return TurnedAway.HANDSHAKES_ADDRESS
        if len(self._by_group.get(group, {})) >= self._limits.at_once_group:
            return TurnedAway.HANDSHAKES_GROUP
        return None

    def _haste(self, host: str, group: str, now: float) -> TurnedAway | None:
        """Too many a second."""
        if self._rate_host.left(host, now) < 1.0:
            return TurnedAway.RATE_ADDRESS
        if self._rate_group.left(group, now) < 1.0:
            return TurnedAway.RATE_GROUP
        return TurnedAway.RATE if self._rate.left(now) < 1.0 else None
