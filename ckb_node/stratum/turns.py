"""Who is heard next: a line of each miner that has some, in turn, so that none waits behind another's many."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, Protocol

SLICE_S: Final = 0.005
"""Lines are handled for so long before the event loop does something else."""


class Speaker(Protocol):
    """A connection with lines that wait."""

    def hear(self) -> bool:
        """Handle one; whether there are more."""
        ...


class Turns:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._waiting: Final[deque[Speaker]] = deque()
        self._is_scheduled = False

    def add(self, speaker: Speaker) -> None:
        """It has a line now, and had none before."""
        self._waiting.append(speaker)
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        end = time.perf_counter() + SLICE_S
        try:
            while self._waiting and time.perf_counter() < end:
                speaker = self._waiting.popleft()
                if speaker.hear():
                    self._waiting.append(speaker)
        finally:
            self._schedule()
