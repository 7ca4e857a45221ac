"""Logs faults on the event loop outside of any task, each kind at most once a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

log = structlog.get_logger("node")

MIN_INTERVAL_S: Final = 60.0
MAX_KINDS: Final = 100
_ACCEPT: Final = "socket.accept() out of system resource"
"""The beginning of asyncio's message, which comes a hundred times a second."""


class LoopFaults:
    """For `loop.set_exception_handler`."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s: Final = now_s
        self._kinds: Final[dict[str, tuple[float, int]]] = {}
        """By kind: when it was logged last, and how often it occurred since."""

    def __call__(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.report(str(context.get("message", "")), context.get("exception"))

    def report(self, message: str, error: BaseException | None) -> None:
        """Log a fault, unless one of its kind was logged lately."""
        kind = f"{message[:80]} {type(error).__name__}"
        times = self._times(kind)
        if not times:
            return
        if message.startswith(_ACCEPT):
            log.error("connections cannot be accepted", reason=str(error), times=times)
        else:
            log.error(message or "a fault on the event loop", times=times, exc_info=error)

    def _times(self, kind: str) -> int:
        """How often the kind occurred since it was logged last if it is to be logged now; else 0."""
        now = self._now_s()
        logged_at, times = self._kinds.get(kind, (-MIN_INTERVAL_S, 0))
        if now - logged_at < MIN_INTERVAL_S:
            self._kinds[kind] = logged_at, times + 1
            return 0
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = now, 0
        return times + 1
