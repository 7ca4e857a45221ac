"""The connections that this node has begun and that do not stand yet, and those it must not begin."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from network.multiaddr import Multiaddr
from network.peer import Scheduler, SessionKind, Timer
from network.transport import Dial, Link, Receiver, Transport

__all__ = ["Dials", "NoDial"]

MAX_OWN: Final = 256
"""Addresses that turned out to be our own."""

DIAL_LIMIT: Final = 180.0
"""Seconds after which an attempt is given up, whatever its transport does. An onion service has 120."""


class NoDial(Enum):
    """Why an address is not dialled."""

    NO_PLACE = "the address names no host, port and peer"
    SELF = "the address is this node's"
    CONNECTED = "the peer is connected"
    DIALLING = "the peer is being dialled"
    BANNED = "the address is banned"
    CLOSED = "the node is stopping"


class Caller(Protocol):
    """Who takes what comes of a dial."""

    def dialled(self, link: Link, attempt: Attempt) -> Receiver:
        """The connection stands. Whoever takes it tells `Attempt.end` when it has become a session, or not."""


@dataclass(slots=True)
class Attempt:
    """One dial, until there is a session or it has failed. Satisfies network.transport.Dialling."""

    address: Multiaddr
    peer_id: str
    kind: SessionKind
    dials: Dials
    caller: Caller
    on_end: Callable[[str | None], None] | None
    dial: Dial | None = None
    timer: Timer | None = None

    def connected(self, link: Link) -> Receiver:
        return self.caller.dialled(link, self)

    def failed(self, reason: str) -> None:
        self.end(reason)

    def end(self, reason: str | None) -> None:
        """It is over; None: well."""
        if self.dials.forget(self):
            if reason is not None:
                self.dials.note_failure(reason)
            if self.timer is not None:
                self.timer.cancel()
            if self.on_end is not None:
                self.on_end(reason)

    def give_up(self) -> None:
        if self.dial is not None:
            self.dial.cancel()
        self.end("timed out")


class Dials:
    """At most one attempt for each peer."""

    def __init__(self, transport: Transport, scheduler: Scheduler, own_peer_id: str) -> None:
        self._transport, self._scheduler = transport, scheduler
        self._own_peer_id: Final = own_peer_id
        self._attempts: Final[dict[str, Attempt]] = {}
        self._own: Final[OrderedDict[Multiaddr, None]] = OrderedDict()
        self.failed = 0
        """Attempts that came to nothing, in this run."""
        self.last_failure = ""
        """Why the last of them did."""

    def __len__(self) -> int:
        return len(self._attempts)

    def __contains__(self, peer_id: str) -> bool:
        return peer_id in self._attempts

    def count(self, kind: SessionKind) -> int:
        """Attempts for sessions of one kind."""
        return sum(attempt.kind is kind for attempt in self._attempts.values())

    def add_own(self, address: Multiaddr) -> None:
        """An address of this node, whatever peer id somebody gave it."""
        place = address.stored.without_peer_id()
        self._own[place] = None
        if len(self._own) > MAX_OWN:
            self._own.popitem(last=False)

    def is_own(self, address: Multiaddr) -> bool:
        return address.peer_id == self._own_peer_id or address.stored.without_peer_id() in self._own

    def obstacle(self, address: Multiaddr) -> NoDial | None:
        """Why an address is not dialled."""
        peer_id = address.peer_id
        if peer_id is None or not address.is_dialable:
            return NoDial.NO_PLACE
        if self.is_own(address):
            return NoDial.SELF
        return NoDial.DIALLING if peer_id in self._attempts else None

    def begin(
        self, address: Multiaddr, kind: SessionKind, caller: Caller, on_end: Callable[[str | None], None] | None
    ) -> None:
        """Dial an address that has no obstacle; `on_end` is told why it failed, or None when there is a session."""
        peer_id = address.peer_id
        if peer_id is None:
            raise ValueError(f"{address} names no peer")
        attempt = Attempt(address, peer_id, kind, self, caller, on_end)
        self._attempts[peer_id] = attempt
        attempt.timer = self._scheduler.call_later(DIAL_LIMIT, attempt.give_up)
        attempt.dial = self._transport.dial(address, attempt)

    def note_failure(self, reason: str) -> None:
        """An attempt came to nothing."""
        self.failed += 1
        self.last_failure = reason

    def forget(self, attempt: Attempt) -> bool:
        """Whether the attempt was going on."""
        if self._attempts.get(attempt.peer_id) is not attempt:
            return False
        del self._attempts[attempt.peer_id]
        return True

    def close(self) -> None:
        """Give up all of them."""
        for attempt in list(self._attempts.values()):
            attempt.give_up()
