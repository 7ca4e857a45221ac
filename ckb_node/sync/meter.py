"""How fast something grows, over the last minutes."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Meter"]

SPACING: Final = 1.0
"""Seconds between two samples that are kept."""


class Meter:
    """Samples of a value that grows; one that falls begins anew. Times in seconds."""

    def __init__(self, window: float) -> None:
        self._window: Final = window
        self._samples: Final[deque[tuple[float, float]]] = deque(maxlen=int(window / SPACING) + 2)

    def add(self, now: float, value: float) -> None:
        """The value at this moment, which is never earlier than the one before."""
        samples = self._samples
        if samples and value < samples[-1][1]:
            samples.clear()
        if len(samples) > 1 and now - samples[-2][0] < SPACING:
            samples.pop()
        samples.append((now, value))
        while len(samples) > 2 and samples[1][0] <= now - self._window:
            samples.popleft()

    def forget(self) -> None:
        """What was measured says nothing of what comes."""
        self._samples.clear()

    @property
    def seconds(self) -> float:
        """How long it has been measured, at most about the window."""
        return self._samples[-1][0] - self._samples[0][0] if self._samples else 0.0

    @property
    def rate(self) -> float:
        """Per second; 0 before two samples."""
        if self.seconds <= 0:
            return 0.0
        return (self._samples[-1][1] - self._samples[0][1]) / self.seconds
