"""Dialling through two routers at once: short attempts, again and again, until both sides' first packets have opened
both routers' doors (TCP simultaneous open).

The transport dials from the port on which the node listens: that is the port that the router already knows.

Where no router is in the way, the packets of one side reach the other's listening socket, and both would take
themselves for the accepter and wait: the reference loses most such meetings. Here a connection that comes in from the
other side while we are to be the dialler is taken as ours; and as the accepter we begin a moment later, so that the
dialler has begun before our packets reach it.
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
ACCEPTER_DELAY: Final = 0.1
"""Seconds that the accepter gives the dialler."""
MAX_DELAY: Final = 5.0
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

    def punch(self, addresses: Sequence[Multiaddr], direction: Direction, delay: float = ACCEPTER_DELAY) -> None:
        """Connect with one peer, at the first of its addresses that answers; dial after `delay` seconds."""
        if not addresses or len(self._meetings) >= MAX_AT_ONCE:
            return

        def connected(link: Link, address: Multiaddr) -> Receiver:
            return self._adopt(link, address, direction)

        meeting = _Meeting(self._scheduler, direction, connected, self._meetings.discard)
        self._meetings.add(meeting)
        tries = [_Tries(address, meeting, self._transport, self._scheduler, self._rng) for address in addresses]
        meeting.start(tries, min(delay, MAX_DELAY))

    def accepted(self, link: Link, address: Multiaddr) -> Receiver | None:
        """Somebody has connected to us from an address. None: it is to be accepted like any other connection. If it is
        the other side of a meeting whose dialler we are, it is taken as if we had dialled it."""
        for meeting in self._meetings:
            expected = meeting.expected(address)
            if expected is not None:
                is_ours = meeting.direction is Direction.OUTBOUND
                meeting.end()
                return self._adopt(link, expected, Direction.OUTBOUND) if is_ours else None
        return None

    def close(self) -> None:
        """Give everything up."""
        for meeting in list(self._meetings):
            meeting.end()


class _Meeting:
    """All addresses of one peer; the first that answers ends it."""

    def __init__(
        self,
        scheduler: Scheduler,
        direction: Direction,
        on_connected: Callable[[Link, Multiaddr], Receiver],
        on_end: Callable[[_Meeting], None],
    ) -> None:
        self.direction = direction
        self._scheduler, self._on_connected, self._on_end = scheduler, on_connected, on_end
        self._tries: Sequence[_Tries] = ()
        self._limit: Timer | None = None

    def start(self, tries: Sequence[_Tries], delay: float) -> None:
        self._limit = self._scheduler.call_later(delay + LIMIT, self.end)
        self._tries = tries
        for one in tries:
            one.attempt_in(delay)

    def expected(self, address: Multiaddr) -> Multiaddr | None:
        """The address of the peer that has this host and port."""
        place = (address.ip, address.port)
        return next((one.address for one in self._tries if (one.address.ip, one.address.port) == place), None)

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
        self.address, self._meeting = address, meeting
        self._transport, self._scheduler, self._rng = transport, scheduler, rng
        self._dial: Dial | None = None
        self._timer: Timer | None = None

    def attempt_in(self, delay: float) -> None:
        self._timer = self._scheduler.call_later(delay, self.attempt)

    def attempt(self) -> None:
        self._timer = self._scheduler.call_later(ATTEMPT, self._give_up)
        self._dial = self._transport.dial(self.address, self)

    def connected(self, link: Link) -> Receiver:
        self._dial = None
        return self._meeting.connected(link, self.address)

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
        self.attempt_in(PAUSE + self._rng.uniform(-JITTER, JITTER))
