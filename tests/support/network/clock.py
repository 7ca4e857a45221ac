"""A clock that stands still until a test moves it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

WALL_MS = 1_700_000_000_000


class FakeTimer:
    """Satisfies network.peer.Timer."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class FakeScheduler:
    """Satisfies network.peer.Scheduler. Calls are made in `advance`, in the order of their times; those of the same
    time in the order in which they were asked for."""

    def __init__(self, now: float = 1000.0, wall_ms: int = WALL_MS) -> None:
        self._now, self._wall_offset_ms = now, wall_ms - round(now * 1000)
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._numbers = count()

    def now(self) -> float:
        return self._now

    def wall_ms(self) -> int:
        return self._wall_offset_ms + round(self._now * 1000)

    def set_wall_ms(self, wall_ms: int) -> None:
        """The user sets the clock."""
        self._wall_offset_ms = wall_ms - round(self._now * 1000)

    def call_later(self, delay: float, call: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(call)
        heapq.heappush(self._timers, (self._now + max(delay, 0.0), next(self._numbers), timer))
        return timer

    def work(self, seconds: float) -> None:
        """What is done now takes so long: all calls are late."""
        self._now += seconds

    @property
    def waiting(self) -> int:
        """Calls that will be made."""
        return sum(timer.call is not None for _, _, timer in self._timers)

    def next_at(self) -> float | None:
        """When the next call is made; None without one."""
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance(self, seconds: float) -> None:
        """Let time pass; whatever is due on the way is called at its own time."""
        self.advance_to(self._now + seconds)

    def advance_to(self, end: float) -> None:
        while (at := self.next_at()) is not None and at <= end:
            timer = heapq.heappop(self._timers)[2]
            self._now = max(self._now, at)
            call, timer.call = timer.call, None
            if call is not None:
                call()
        self._now = max(self._now, end)
