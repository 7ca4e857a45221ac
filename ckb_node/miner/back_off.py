"""How long a miner waits before it tries a source again that failed."""

from __future__ import annotations

from random import Random
from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0


class BackOff:
    """Pauses that double, each shortened by up to a half at random: miners do not come back all at once."""

    def __init__(self, rng: Random, first_s: float | None = None, longest_s: float = LONGEST_S) -> None:
        self._rng: Final = rng
        self._first_s: Final = FIRST_S if first_s is None else first_s
        self._longest_s: Final = longest_s
        self._next_s = self._first_s

    def next(self) -> float:
        """Seconds."""
        pause = self._next_s * (0.5 + self._rng.random() / 2)
        self._next_s = min(self._next_s * 2, self._longest_s)
        return pause

    def reset(self) -> None:
        """The source works."""
        self._next_s = self._first_s
