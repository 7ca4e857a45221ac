"""Who may connect: bounds of connections, bans by address, and how much a connection may send. No clock in here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.stratum.limits import BANNED_ADDRESSES, HANDSHAKES_OF_ADDRESS, MESSAGES_A_SECOND, MESSAGES_AT_ONCE


@dataclass(frozen=True, slots=True)
class GateRules:
    """Bounds that the operator chooses."""

    connections: int
    connections_per_address: int
    ban_s: float


class Gate:
    """Addresses are sites (ckb_node.runtime.client.site_of). Times are seconds of a monotonic clock."""

    def __init__(self, rules: GateRules) -> None:
        self._rules: Final = rules
        self.most = rules.connections
        self._of_address: Final[Counter[str]] = Counter()
        self._banned_until: Final[BoundedMap[str, float]] = BoundedMap(max_count=BANNED_ADDRESSES)
        self.count = self.refused = 0

    def admit(self, address: str, now_s: float) -> bool:
        """Take a connection, or refuse it."""
        if (
            self.is_banned(address, now_s)
            or self.count >= self.most
            or self._of_address[address] >= self._rules.connections_per_address
        ):
            self.refused += 1
            return False
        self.count += 1
        self._of_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was admitted has ended."""
        self.count -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def ban(self, address: str, now_s: float) -> None:
        """Refuse the address for a while."""
        self._banned_until.put(address, now_s + self._rules.ban_s)

    def is_banned(self, address: str, now_s: float) -> bool:
        until = self._banned_until.get(address)
        if until is None:
            return False
        if now_s < until:
            return True
        self._banned_until.pop(address)
        return False

    @property
    def banned_count(self) -> int:
        """Some of them may be over."""
        return len(self._banned_until)


class Handshakes:
    """Of TLS: an address has so many at once, and its others wait in line."""

    def __init__(self) -> None:
        self._lines: Final[dict[str, asyncio.Semaphore]] = {}
        self._counts: Final[Counter[str]] = Counter()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """The context is one handshake."""
        line = self._lines.setdefault(address, asyncio.Semaphore(HANDSHAKES_OF_ADDRESS))
        self._counts[address] += 1
        try:
            async with line:
                yield
        finally:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address], self._lines[address]


class Allowance:
    """Messages that a connection may send: a number at once, which comes back with time."""

    __slots__ = ("_at", "_left")

    def __init__(self, now_s: float) -> None:
        self._left, self._at = float(MESSAGES_AT_ONCE), now_s

    def take(self, now_s: float) -> bool:
        """False when it sends too many."""
        self._left = min(MESSAGES_AT_ONCE, self._left + (now_s - self._at) * MESSAGES_A_SECOND)
        self._at = now_s
        self._left -= 1
        return self._left >= 0
