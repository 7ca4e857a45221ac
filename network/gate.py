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
    rate: float = 100.0
    rate_group: float = 16.0
    rate_address: float = 4.0
    burst: float = 512.0
    burst_group: float = 192.0
    burst_address: float = 96.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """One handshake that was let in; to be given back when it is over, well or not."""

    host: str
    """The IPv4 address, or all that a host of IPv6 has; the group for what has no IP address."""
    group: str


class HandshakeGate:
    """Counts inbound handshakes."""

    def __init__(self, limits: GateLimits, now: float) -> None:
        self._limits: Final = limits
        self._at_once = 0
        self._at_once_host: Final[Counter[str]] = Counter()
        self._at_once_group: Final[Counter[str]] = Counter()
        self._rate: Final = Allowance(limits.rate, limits.burst, now)
        self._rate_host: Final = Allowances[str](limits.rate_address, limits.burst_address, max_keys=MAX_KEPT)
        self._rate_group: Final = Allowances[str](limits.rate_group, limits.burst_group, max_keys=MAX_KEPT)

    @property
    def at_once(self) -> int:
        """Handshakes that go on now."""
        return self._at_once

    def enter(self, address: Multiaddr, now: float) -> Ticket | TurnedAway:
        """Ask for a handshake with who connects from an address."""
        ip, group = address.ip, group_of(address)
        ticket = Ticket(group if ip is None else str(network_of(ip)), group)
        fault = self._fault(ticket, now)
        if fault is not None:
            return fault
        self._at_once += 1
        self._at_once_host[ticket.host] += 1
        self._at_once_group[ticket.group] += 1
        self._rate.spend(1.0, now)
        self._rate_host.spend(ticket.host, 1.0, now)
        self._rate_group.spend(ticket.group, 1.0, now)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """A handshake is over."""
        self._at_once -= 1
        _take(self._at_once_host, ticket.host)
        _take(self._at_once_group, ticket.group)

    def _fault(self, ticket: Ticket, now: float) -> TurnedAway | None:
        """The narrowest limit is asked first: it says most about who is at fault."""
        limits = self._limits
        for used, limit, fault in (
            (self._at_once_host[ticket.host], limits.at_once_address, TurnedAway.HANDSHAKES_ADDRESS),
            (self._at_once_group[ticket.group], limits.at_once_group, TurnedAway.HANDSHAKES_GROUP),
            (self._at_once, limits.at_once, TurnedAway.HANDSHAKES),
        ):
            if used >= limit:
                return fault
        for left, fault in (
            (self._rate_host.left(ticket.host, now), TurnedAway.RATE_ADDRESS),
            (self._rate_group.left(ticket.group, now), TurnedAway.RATE_GROUP),
            (self._rate.left(now), TurnedAway.RATE),
        ):
            if left < 1.0:
                return fault
        return None


def _take(counts: Counter[str], key: str) -> None:
    """One less; zeros are not kept."""
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
