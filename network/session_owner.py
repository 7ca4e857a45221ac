"""How far a session is, and what it asks of the switch that owns it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol, TypeVar

from network.intake import Work
from network.limits import ProtocolSpec
from network.peer import PeerIdentity
from network.traffic import Cause

S = TypeVar("S", contravariant=True)
"""The sessions: network.session.Session."""


class Stage(Enum):
    """A session only ever goes forward in these."""

    HANDSHAKE = "handshake"
    LIVE = "live"
    LEAVING = "leaving"
    """Nothing is received any more; the reason, then the rest of what was sent, has a little time to leave."""
    GONE = "gone"


class Owner(Protocol[S]):
    """Whose sessions they are: the switch."""

    def proven(self, session: S, public_key: bytes) -> None:
        """The peer has proven its key. The answer is its `begin` or `leave`."""

    def introduced(self, session: S, identity: PeerIdentity, protocols: Sequence[ProtocolSpec]) -> None:
        """The peer has told who it is below the protocols; that says which of them it speaks."""

    def opened(self, session: S, protocol: ProtocolSpec) -> None: ...

    def received(self, session: S, protocol: ProtocolSpec, payload: bytes) -> None: ...

    def closed(self, session: S, protocol: ProtocolSpec) -> None: ...

    def left(self, session: S, cause: Cause, reason: str) -> None:
        """The session is LIVE, or in HANDSHAKE, no more; once. Nothing may be sent now."""

    def handshake_failed(self, session: S, fault: str, *, is_self: bool) -> None:
        """Before `left`: how the wire names it. `is_self`: the other end is this node."""

    def gone(self, session: S) -> None:
        """The connection is gone; once, after `left`."""

    def wait(self, session: S, now: float) -> float:
        """Seconds until more may be read of the peer."""

    def slice_size(self, now: float) -> int:
        """Bytes that may be read of a peer before `wait` is asked again."""

    def used(self, session: S, size: int, work: Work, now: float) -> None:
        """The peer has sent so many bytes, and this is what they cost."""

    def holds(self, session: S, size: int) -> None:
        """So many bytes of the peer's messages are unfinished or put off."""

    def sent(self, session: S, protocol: ProtocolSpec | None, size: int) -> None:
        """A message was queued; None: bytes went to the wire."""

    def flush_later(self, session: S) -> None:
        """Call `flush_if_needed` soon, but not now: more may come."""

    def fault(self, session: S, where: str, error: Exception) -> None:
        """The node's own code has failed while it served this session, which ends by this."""

    def ban(self, session: S, seconds: int, reason: str) -> None: ...
