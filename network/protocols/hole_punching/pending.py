"""Requests that this node answered as their target: where to dial when the other side says `now`.

The reference keeps all of them, and dials again for each further `ConnectionSync`. Here each is good for one meeting,
and there are only so many, of each session and in all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from network.multiaddr import Multiaddr

__all__ = ["PendingMeetings"]

KEPT: Final = 5 * 60.0
"""Seconds."""
ANSWER_AGAIN: Final = 2 * 60.0
"""Seconds in which the same peer gets no second answer."""
MAX_MEETINGS: Final = 256
MAX_OF_SESSION: Final = 16


@dataclass(slots=True)
class _Meeting:
    addresses: Sequence[Multiaddr]
    answered_at: float
    session_id: int


class PendingMeetings:
    """By the peer id (bytes) of who asked."""

    def __init__(self) -> None:
        self._meetings: Final[OrderedDict[bytes, _Meeting]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._meetings)

    def was_answered(self, from_id: bytes, now: float) -> bool:
        """A moment ago."""
        meeting = self._meetings.get(from_id)
        return meeting is not None and now - meeting.answered_at < ANSWER_AGAIN

    def add(self, from_id: bytes, addresses: Sequence[Multiaddr], session_id: int, now: float) -> None:
        """An answer was sent on a session. The oldest leave, first those of a session that has too many."""
        self._meetings.pop(from_id, None)
        of_session = [key for key, meeting in self._meetings.items() if meeting.session_id == session_id]
        if len(of_session) >= MAX_OF_SESSION:
            del self._meetings[of_session[0]]
        self._meetings[from_id] = _Meeting(addresses, now, session_id)
        while len(self._meetings) > MAX_MEETINGS:
            self._meetings.popitem(last=False)

    def take(self, from_id: bytes, now: float) -> Sequence[Multiaddr]:
        """Where to dial; empty when nothing is pending, or the meeting has taken place."""
        meeting = self._meetings.get(from_id)
        if meeting is None or now - meeting.answered_at >= KEPT:
            return ()
        addresses, meeting.addresses = meeting.addresses, ()
        return addresses

    def expire(self, now: float) -> None:
        for key in [key for key, meeting in self._meetings.items() if now - meeting.answered_at >= KEPT]:
            del self._meetings[key]

    def forget_session(self, session_id: int) -> None:
        """The session on which answers were sent is closed."""
        for key in [key for key, meeting in self._meetings.items() if meeting.session_id == session_id]:
            del self._meetings[key]
