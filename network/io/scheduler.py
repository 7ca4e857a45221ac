"""Time as the event loop has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from network.peer import Timer

__all__ = ["LoopScheduler"]


class LoopScheduler:
    """Satisfies network.peer.Scheduler. Belongs to the event loop."""

    def __init__(self) -> None:
        self._loop: Final = asyncio.get_running_loop()

    def now(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """What escapes from `call` goes to the loop's exception handler; the loop goes on."""
        return self._loop.call_later(delay, call)
