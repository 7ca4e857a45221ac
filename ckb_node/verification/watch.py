"""Detects worker processes that are stopped, hang or loop, so that they can be replaced.

A worker counts in shared memory how often its run has paused (`Control.beats`), some hundred times a second, and the
system reports its processor time. Neither grows while a busy machine does not schedule the worker, so only processor
time counts against a worker that could run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from vm.child import STOPPED_STATES, process_fields

CHECK_EVERY_S: Final = 0.25
STOPPED_S: Final = 2.0
"""A worker that is in the state of a stopped process for so long is replaced."""
ASLEEP_S: Final = 15.0
"""So long without any processor time although it has work: it waits for something that does not come."""
LOOPING_S: Final = 90.0
"""So much processor time without a pause: the slowest syscall, or compiling, takes a fraction of it."""
_RUNNING: Final = "R"
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Watch:
    """Watches one process. `beats` changes when a run goes on; `fields` are those of vm.child.process_fields."""

    def __init__(
        self,
        process: int,
        beats: Callable[[], int],
        now_s: Callable[[], float] = time.monotonic,
        fields: Callable[[int], list[str]] = process_fields,
    ) -> None:
        self._process: Final = process
        self._beats: Final = beats
        self._now_s: Final = now_s
        self._fields: Final = fields
        self._looked = now_s()
        self.begin()

    def begin(self) -> None:
        """Start anew: the worker gets work, or has answered."""
        self._last_beats = self._last_ticks = -1
        self._stopped_s = self._asleep_s = 0.0
        self._looping_ticks = 0

    def fault(self) -> str | None:
        """Why the worker, which has work, must be replaced; None if there is no reason. Cheap: measures seldom."""
        now = self._now_s()
        if now - self._looked < CHECK_EVERY_S:
            return None
        # Bounded: if this process was stopped, or was not scheduled, the worker is not to blame.
        passed, self._looked = min(now - self._looked, 4 * CHECK_EVERY_S), now
        fields = self._fields(self._process)
        if len(fields) < 13:
            return None
        return self._judge(fields[0], int(fields[11]) + int(fields[12]), passed)

    def _judge(self, state: str, ticks: int, passed: float) -> str | None:
        beats = self._beats()
        is_alive = beats != self._last_beats
        worked = max(ticks - self._last_ticks, 0) if self._last_ticks >= 0 else 0
        self._stopped_s = self._stopped_s + passed if state in STOPPED_STATES else 0.0
        is_asleep = not is_alive and not worked and state != _RUNNING
        self._asleep_s = self._asleep_s + passed if is_asleep else 0.0
        self._looping_ticks = 0 if is_alive else self._looping_ticks + worked
        self._last_beats, self._last_ticks = beats, ticks
        if self._stopped_s >= STOPPED_S:
            return "it is stopped"
        if self._asleep_s >= ASLEEP_S:
            return "it hangs"
        return "it does not come to an end" if self._looping_ticks >= LOOPING_S * _TICKS_PER_S else None


class StartPauses:
    """Growing pauses before the next start, after workers that died before they were ready."""

    FIRST_S: Final = 1.0
    LONGEST_S: Final = 60.0

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s: Final = now_s
        self._pause_s, self._not_before = 0.0, 0.0

    @property
    def is_over(self) -> bool:
        return self._now_s() >= self._not_before

    def failed(self) -> float:
        """A worker died before it was ready; seconds until the next may be started."""
        self._pause_s = min(max(2 * self._pause_s, self.FIRST_S), self.LONGEST_S)
        self._not_before = self._now_s() + self._pause_s
        return self._pause_s

    def worked(self) -> None:
        self._pause_s = self._not_before = 0.0
