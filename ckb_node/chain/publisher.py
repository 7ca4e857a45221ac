"""Calls listeners on the event loop without blocking it: one slice of time per turn of the loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

SLICE_S = 0.005
"""Listeners run for so long before the event loop does something else."""

Call = Callable[[], Iterator[None] | None]
"""Calls one listener with one event. A long one is a generator, which may be interrupted at each `yield`."""

_END = object()


class Publisher:
    """Makes calls in order, as many in a turn of the event loop as a slice of time holds. Belongs to the loop's thread.

    A call that fails is reported to the loop's exception handler, and the others are made all the same.
    """

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._running: Iterator[None] | None = None
        self._is_scheduled = False

    def add(self, calls: Iterable[Call]) -> None:
        """Make these after all that were added before."""
        self._calls.extend(calls)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and (self._running is not None or self._calls):
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Make calls, and go on with one that works in steps, for a slice of time."""
        self._is_scheduled = False
        deadline = time.perf_counter() + SLICE_S
        try:
            while self._running is not None or self._calls:
                running, self._running = self._running, None
                if running is None:
                    running = self._calls.popleft()()
                if running is not None and not _advance(running, deadline):
                    self._running = running
                if time.perf_counter() >= deadline:
                    return
        finally:
            self._schedule()


def _advance(running: Iterator[None], deadline: float) -> bool:
    """Go on until then; True when that was all."""
    while next(running, _END) is not _END:
        if time.perf_counter() >= deadline:
            return False
    return True
