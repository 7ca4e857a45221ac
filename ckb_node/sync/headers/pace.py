"""Whether a peer that is asked for headers sends them fast enough (the reference's header-sync controller).

Progress is counted in time of the chain, as the reference does, or by headers where that is more. Only time counts in
which the peer was to answer: while this node judges or stands still, no peer is slow.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

__all__ = ["Pace", "Verdict"]

WINDOW: Final = 120.0
"""Seconds of a sample; also: closer to the present than that, headers are no measure."""
HEADERS_PER_SECOND: Final = 1600
BLOCK_SECONDS: Final = 10
"""Of chain time that a header stands for."""
TOLERANCE: Final = 4
"""A single sample may be so many times slower than expected."""
FAR_SECONDS: Final = HEADERS_PER_SECOND * WINDOW * BLOCK_SECONDS
"""Who was close to the end and is so far from it again is measured anew."""


class Verdict(Enum):
    """What a look at a peer's pace says."""

    FINE = auto()
    TOO_SLOW = auto()
    BEGIN_ANEW = auto()
    """It was at the end, and is far behind again: ask once more."""


class Pace:
    """Of one peer, from when it was first asked."""

    def __init__(self) -> None:
        self._waited = 0.0
        """Seconds in which it was to answer, in all and in this window."""
        self._gained = 0.0
        """Seconds of chain time that it sent, likewise."""
        self._window_waited = self._window_gained = 0.0
        self._highest_ms: int | None = None
        self._is_at_end = False

    def waits(self, seconds: float) -> None:
        """So long it was to answer, since the last call."""
        self._waited += seconds
        self._window_waited += seconds

    def sent(self, count: int, first_ms: int, last_ms: int) -> None:
        """Valid headers came; times of the first and the last."""
        before = first_ms if self._highest_ms is None else self._highest_ms
        gained = max((last_ms - before) / 1000, count * BLOCK_SECONDS)
        self._highest_ms = max(before, last_ms)
        self._gained += gained
        self._window_gained += gained

    def look(self, best_ms: int, now_ms: int) -> Verdict:
        """`best_ms`: time of the best header that this node knows."""
        left = max(0, now_ms - best_ms) / 1000
        if self._is_at_end:
            if left <= FAR_SECONDS:
                return Verdict.FINE
            self.__init__()  # type: ignore[misc]
            return Verdict.BEGIN_ANEW
        if left < WINDOW:
            self._is_at_end = True
            return Verdict.FINE
        return self._measured()

    def _measured(self) -> Verdict:
        waited, gained = self._window_waited, self._window_gained
        if waited < WINDOW:
            return Verdict.FINE
        if gained < _expected(waited) / TOLERANCE:
            return Verdict.TOO_SLOW
        self._window_waited = self._window_gained = 0.0
        if gained >= _expected(waited) or self._gained >= _expected(self._waited):
            return Verdict.FINE
        return Verdict.TOO_SLOW


def _expected(seconds: float) -> float:
    """Chain time in seconds."""
    return seconds * HEADERS_PER_SECOND * BLOCK_SECONDS
