"""Whether a script process that has work still does any: one that is stopped, hangs or loops must hold up nobody.

A process counts in shared memory how often a run of its has paused (`Control.beats`), some hundred times a second; and
the system tells how much processor time it has had. Neither says anything when the machine is so busy that the process
never gets its turn, so only time of the processor counts against one that could run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from vm.child import STOPPED_STATES, process_fields

CHECK_EVERY_S: Final = 0.25
STOPPED_S: Final = 2.0
"""In the state of a stopped process."""
ASLEEP_S: Final = 15.0
"""With work, and without a moment of the processor: it waits for something that does not come."""
LOOPING_S: Final = 90.0
"""Of the processor, without a pause: the slowest call of a script takes a fraction of it, and so does compiling."""
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
        """It gets work, or has shown a sign of life: what was before does not count."""
        self._last_beats = self._last_ticks = -1
        self._stopped_s = self._asleep_s = 0.0
        self._looping_ticks = 0

    def fault(self) -> str | None:
        """What is wrong with the process, which has work; None as far as is known. Costs little when called often."""
        now = self._now_s()
        if now - self._looked < CHECK_EVERY_S:
            return None
        # If it is this process that was stopped, or got no turn, that is no fault of the other.
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
    """When a process may be started again after some that died before they were of use."""

    FIRST_S: Final = 1.0
    LONGEST_S: Final = 60.0

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s: Final = now_s
        self._pause_s, self._not_before = 0.0, 0.0

    @property
    def is_over(self) -> bool:
        return self._now_s() >= self._not_before

    def failed(self) -> float:
        """One died; seconds until the next may be started."""
        self._pause_s = min(max(2 * self._pause_s, self.FIRST_S), self.LONGEST_S)
        self._not_before = self._now_s() + self._pause_s
        return self._pause_s

    def worked(self) -> None:
        self._pause_s = self._not_before = 0.0
