"""A second connection with a peer that is connected: which of the two stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from network.peer import Direction, Scheduler, SessionKind
from network.session import Session
from network.traffic import Cause

__all__ = ["TIE_WAIT", "TIE_WINDOW", "Ties"]

TIE_WAIT: Final = 1.0
"""Seconds that the later of two such connections waits: the other end may close one of them."""

TIE_WINDOW: Final = 5.0
"""Seconds within which two connections between the same peers count as dialled at the same time by both."""

CONNECTED: Final = "the peer is connected already"


class Ties:
    """Both ends may dial each other at once; if each closed the connection that the other keeps, none would be left."""

    def __init__(
        self, scheduler: Scheduler, own_id: str, live: Mapping[str, Session], admit: Callable[[Session], None]
    ) -> None:
        """`live`: sessions whose peer may stay, by peer id. `admit`: asks whether a proven one may, too."""
        self._scheduler, self._own_id, self._live, self._admit = scheduler, own_id, live, admit
        self._parked: Final[dict[str, Session]] = {}
        """By peer id: the later of two connections, as long as it is open which stays."""

    def meet(self, other: Session, session: Session) -> None:
        """`session` has proven that its peer is that of `other`, which is live."""
        if self._is_tie(other, session):
            self._parked[session.peer_id] = session
            session.park()
            self._scheduler.call_later(TIE_WAIT, lambda: self._settle(session))
        elif other.kind is SessionKind.FEELER and session.direction is Direction.INBOUND:
            # only this end knows that it is a feeler: the other one keeps what it has dialled
            other.leave(Cause.REJECTED, "feeler connection")
            self._admit(session)
        else:
            session.leave(Cause.REJECTED, CONNECTED)

    def _is_tie(self, other: Session, session: Session) -> bool:
        return (
            other.direction is not session.direction
            and self._scheduler.now() - other.connected_at < TIE_WINDOW
            and SessionKind.FEELER not in (other.kind, session.kind)
            and session.peer_id not in self._parked
        )

    def _settle(self, session: Session) -> None:
        """Neither end has closed one. Both must keep the same: the one that the smaller peer id has dialled. The
        reference closes what it sees later, whichever that is."""
        peer_id = session.peer_id
        if self._parked.get(peer_id) is not session:
            return
        del self._parked[peer_id]
        other, we_dial = self._live.get(peer_id), self._own_id < peer_id
        if other is not None and we_dial is not (session.direction is Direction.OUTBOUND):
            session.leave(Cause.REJECTED, CONNECTED)
            return
        if other is not None:
            other.leave(Cause.REJECTED, "the peer is connected twice")
        self._admit(session)

    def ended(self, session: Session, *, was_live: bool) -> None:
        """One of two connections with a peer has ended; the other one stays."""
        parked = self._parked.get(session.peer_id)
        if parked is session:
            del self._parked[session.peer_id]
        elif parked is not None and was_live:
            self._scheduler.call_later(0.0, lambda: self._settle(parked))
