"""Who is not dialled again for a while, since the last session with it came to nothing: whatever the reason was, it is
most likely still there in a few seconds, and a network whose nodes all download would do nothing but dial."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from network.peer import Direction, SessionKind
from network.session import Session
from network.traffic import Cause

__all__ = ["MAX_REST", "REST", "Rests"]

REST: Final = 300.0
"""Seconds after the first session that came to nothing; they double with each one that follows."""
MAX_REST: Final = 1800.0
LONG: Final = 600.0
"""A session of so many seconds was worth something: those before it do not count any more."""
MAX_PEERS: Final = 1024

OURS: Final = (Cause.DISCONNECTED, Cause.WIRE, Cause.OVERLOAD, Cause.FAULT)
"""This node has ended the session for a reason that is the peer's, or that comes back with it. (Bans are longer than
this, and who was evicted or rejected had no place here.)"""


@dataclass(slots=True)
class _Rest:
    until: float
    times: int
    """Sessions in a row that came to nothing."""


class Rests:
    """By peer id, since addresses are as many as somebody likes. The oldest are forgotten first."""

    def __init__(self) -> None:
        self._rests: Final[OrderedDict[str, _Rest]] = OrderedDict()

    def left(self, session: Session, cause: Cause, now: float) -> None:
        """A session that was established has ended."""
        if _came_to_nothing(session, cause):
            self.note(session.peer_id, now - session.connected_at, now)

    def note(self, peer_id: str, lasted: float, now: float) -> None:
        """A session with this peer came to nothing, after so many seconds."""
        before = self._rests.pop(peer_id, None)
        is_first = before is None or lasted >= LONG or now - before.until >= MAX_REST
        times = 1 if before is None or is_first else before.times + 1
        self._rests[peer_id] = _Rest(now + min(REST * 2 ** (times - 1), MAX_REST), times)
        if len(self._rests) > MAX_PEERS:
            self._rests.popitem(last=False)

    def is_resting(self, peer_id: str | None, now: float) -> bool:
        """Others are to be dialled first."""
        rest = None if peer_id is None else self._rests.get(peer_id)
        return rest is not None and now < rest.until

    def times(self, peer_id: str | None, now: float) -> int:
        """Sessions in a row, up to the last one, that came to nothing; 0 when its rest is over."""
        rest = None if peer_id is None else self._rests.get(peer_id)
        return 0 if rest is None or now >= rest.until else rest.times


def _came_to_nothing(session: Session, cause: Cause) -> bool:
    is_dialled = session.direction is Direction.OUTBOUND
    if session.kind is SessionKind.FEELER or not (is_dialled or session.has_synced):
        return False  # the other end may have dialled it as a feeler
    # a peer whose process or line has died says no goodbye: it is dialled as soon as it may be back
    is_sent_away = is_dialled and (session.said_goodbye or not session.has_synced)
    return cause in OURS or (cause is Cause.CLOSED_BY_PEER and is_sent_away)
