"""Time that passes only when it is told to."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final

START_WALL_MS: Final = 1_800_000_000_000


class SimTimer:
    """Satisfies network.peer.Timer."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Clock:
    """Satisfies network.peer.Scheduler. Calls of the same moment are made in the order in which they were asked for."""

    def __init__(self) -> None:
        self._now = 0.0
        self._queue: Final[list[tuple[float, int, SimTimer]]] = []
        self._order: Final = count()
        self.calls = 0
        """Made so far: a measure of the work of a run."""

    def now(self) -> float:
        return self._now

    def wall_ms(self) -> int:
        return START_WALL_MS + int(self._now * 1000)

    def call_later(self, delay: float, call: Callable[[], None]) -> SimTimer:
        return self.call_at(self._now + max(0.0, delay), call)

    def call_at(self, at: float, call: Callable[[], None]) -> SimTimer:
        timer = SimTimer(call)
        heapq.heappush(self._queue, (max(at, self._now), next(self._order), timer))
        return timer

    def work(self, seconds: float) -> None:
        """What is done now takes so long: all other calls are late."""
        self._now += seconds

    def run_for(self, seconds: float) -> None:
        """Let time pass, with all that happens in it."""
        self.run_until(self._now + seconds)

    def run_until(self, end: float) -> None:
        while self._queue and self._queue[0][0] <= end:
            self._step()
        self._now = max(self._now, end)

    def run_while(self, condition: Callable[[], bool], limit: float) -> bool:
        """Let time pass as long as the condition holds, `limit` seconds at most; whether it has ceased to hold."""
        end = self._now + limit
        while condition():
            if not self._queue or self._queue[0][0] > end:
                self._now = end
                return not condition()
            self._step()
        return True

    def _step(self) -> None:
        at, _, timer = heapq.heappop(self._queue)
        self._now = max(self._now, at)
        call, timer.call = timer.call, None
        if call is not None:
            self.calls += 1
            call()
