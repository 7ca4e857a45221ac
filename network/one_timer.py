"""One call at a time that is to be made later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from network.peer import Scheduler, Timer

__all__ = ["OneTimer"]

MIN_DELAY: Final = 0.001
"""Seconds before a deadline's timer. An event loop's clock may call a little too early."""


class OneTimer:
    """What is set last replaces what was set before."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._timer: Timer | None = None
        self._deadline = 0.0

    def set(self, delay: float, call: Callable[[], None]) -> None:
        """Call in so many seconds."""
        self.stop()

        def due() -> None:
            self._timer = None
            call()

        self._deadline = self._scheduler.now() + delay
        self._timer = self._scheduler.call_later(delay, due)

    def set_by(self, deadline: float | None, call: Callable[[], None]) -> None:
        """Call when the deadline has come; None: never. A timer that is too early stays: to set it anew for each
        message costs more than its call."""
        if deadline is None or (self._timer is not None and self._deadline <= deadline):
            return
        self.set(max(MIN_DELAY, deadline - self._scheduler.now()), call)
        self._deadline = deadline  # it may be past: whoever sets it again must not put it off

    def stop(self) -> None:
        """Call nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
