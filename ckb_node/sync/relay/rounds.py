"""Work that messages of peers cause and that may wait: slices of it in turn, a few milliseconds before the event loop
may do something else. However many peers send at the same time, nothing else waits for all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from network.peer import Scheduler, Timer

__all__ = ["Rounds"]

ROUND: Final = 0.002
"""Seconds."""


class Rounds:
    """Of one node. What waits is bounded by its owners: one slice for each peer."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._waiting: Final[deque[Callable[[], None]]] = deque()
        self._timer: Timer | None = None

    def later(self, work: Callable[[], None]) -> None:
        """Do this slice in its turn, after all that wait already."""
        self._waiting.append(work)
        self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._scheduler.call_later(0.0, self._go)

    def _go(self) -> None:
        self._timer = None
        end = self._scheduler.now() + ROUND
        try:
            for _ in range(len(self._waiting)):
                self._waiting.popleft()()
                if self._scheduler.now() >= end:
                    break
        finally:
            if self._waiting:
                self._arm()
