"""Dialling through two routers at once: short attempts, again and again, until both sides' first packets have opened
both routers' doors (TCP simultaneous open).

The transport dials from the port on which the node listens: that is the port that the router already knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from network.multiaddr import Multiaddr
from network.peer import Direction, Scheduler, Timer
from network.transport import Dial, Link, Receiver, Transport

__all__ = ["HolePuncher"]

ATTEMPT: Final = 0.2
"""Seconds that one attempt may take."""
PAUSE: Final = 0.2
JITTER: Final = 0.05
"""Seconds between attempts, give or take: two nodes in step could miss each other for ever."""
LIMIT: Final = 30.0
"""Seconds that all of it may take."""
MAX_AT_ONCE: Final = 4
"""Peers that are dialled like this at the same time; requests beyond that come to nothing."""

Adopt = Callable[[Link, Multiaddr, Direction], Receiver]
"""Take a connection that stands into the peer layer, as its dialler or as its accepter."""


class HolePuncher:
    """`punch` is what HolePunchingProtocol calls when two nodes are to meet."""

    def __init__(self, transport: Transport, scheduler: Scheduler, rng: Random, adopt: Adopt) -> None:
        self._transport, self._scheduler, self._rng, self._adopt = transport, scheduler, rng, adopt
        self._meetings: Final[set[_Meeting]] = set()

    def __len__(self) -> int:
        """Peers that are dialled now."""
        return len(self._meetings)

    def punch(self, addresses: Sequence[Multiaddr], direction: Direction) -> None:
        """Connect with one peer, at the first of its addresses that answers."""
        if not addresses or len(self._meetings) >= MAX_AT_ONCE:
            return

        def connected(link: Link, address: Multiaddr) -> Receiver:
            return self._adopt(link, address, direction)

        meeting = _Meeting(self._scheduler, connected, self._meetings.discard)
        self._meetings.add(meeting)
        meeting.start([_Tries(address, meeting, self._transport, self._scheduler, self._rng) for address in addresses])

    def close(self) -> None:
        """Give everything up."""
        for meeting in list(self._meetings):
            meeting.end()


class _Meeting:
    """All addresses of one peer; the first that answers ends it."""

    def __init__(
        self,
        scheduler: Scheduler,
        on_connected: Callable[[Link, Multiaddr], Receiver],
        on_end: Callable[[_Meeting], None],
    ) -> None:
        self._scheduler, self._on_connected, self._on_end = scheduler, on_connected, on_end
        self._tries: Sequence[_Tries] = ()
        self._limit: Timer | None = None

    def start(self, tries: Sequence[_Tries]) -> None:
        self._limit = self._scheduler.call_later(LIMIT, self.end)
        self._tries = tries
        for one in tries:
            one.attempt()

    def connected(self, link: Link, address: Multiaddr) -> Receiver:
        self.end()
        return self._on_connected(link, address)

    def end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        for one in self._tries:
            one.cancel()
        self._tries = ()
        self._on_end(self)


class _Tries:
    """One address. Satisfies network.transport.Dialling."""

    def __init__(
        self, address: Multiaddr, meeting: _Meeting, transport: Transport, scheduler: Scheduler, rng: Random
    ) -> None:
        self._address, self._meeting = address, meeting
        self._transport, self._scheduler, self._rng = transport, scheduler, rng
        self._dial: Dial | None = None
        self._timer: Timer | None = None

    def attempt(self) -> None:
        self._timer = self._scheduler.call_later(ATTEMPT, self._give_up)
        self._dial = self._transport.dial(self._address, self)

    def connected(self, link: Link) -> Receiver:
        self._dial = None
        return self._meeting.connected(link, self._address)

    def failed(self, reason: str) -> None:
        del reason
        self._dial = None
        self._try_again()

    def cancel(self) -> None:
        """Stop for good."""
        if self._timer is not None:
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def _give_up(self) -> None:
        self.cancel()
        self._try_again()

    def _try_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._scheduler.call_later(PAUSE + self._rng.uniform(-JITTER, JITTER), self.attempt)
