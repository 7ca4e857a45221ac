"""What a miner's operator wants to see: rate, what was taken and refused, and luck."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from ckb_node.miner.work import Tally
from ckb_node.runtime.log_text import shown

WINDOW_S: Final = 10.0
"""The rate is that of so long."""
MAX_REASONS: Final = 32
"""Different reasons for refusals that are counted by themselves; a pool could invent new ones for ever."""
MAX_REASON_CHARS: Final = 100
_OTHER: Final = "others"
_TEMPERATURES: Final = ((-2.0, "cold"), (-1.0, "cool"), (1.0, "even"), (2.0, "warm"), (math.inf, "hot"))
"""Of luck, by how many standard deviations it is above what was expected."""


class Figures:
    """Counted since the start."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` in seconds."""
        self.found = self.accepted = 0
        self.rejected: Final[Counter[str]] = Counter()
        self.number: int | None = None
        self.state = "starting"
        self.tally = Tally()
        self._now: Final = now
        self._begun: Final = now()
        self._samples: Final[deque[tuple[float, int]]] = deque([(self._begun, 0)])

    def reject(self, reason: str) -> None:
        """Count a refusal."""
        key = shown(reason, MAX_REASON_CHARS)
        self.rejected[key if key in self.rejected or len(self.rejected) < MAX_REASONS else _OTHER] += 1

    def sample(self, tally: Tally) -> None:
        """Note what the workers did up to now."""
        now = self._now()
        self.tally = tally
        self._samples.append((now, tally.nonces))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Nonces a second, lately."""
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0

    @property
    def refusals(self) -> int:
        """Of all reasons."""
        return self.rejected.total()

    def line(self, unit: str, *, has_luck: bool) -> str:
        """All of it; `unit` is what is found: blocks or shares."""
        parts = [self.state]
        if self.number is not None:
            parts.append(f"block {self.number}")
        if has_luck:
            parts.append(f"{rate_text(self.rate)}")
        counts = f"{self.accepted} {unit} accepted"
        parts.append(f"{counts}, {self.refusals} refused" if self.rejected else counts)
        if has_luck:
            parts.append(luck_text(self.found, self.tally.expected))
        return " · ".join(parts)

    def summary(self, unit: str) -> str:
        """At the end, with the reasons of refusals."""
        seconds = max(self._now() - self._begun, 1e-6)
        reasons = "".join(f"; refused {count}: {reason}" for reason, count in self.rejected.most_common())
        mean = rate_text(self.tally.nonces / seconds)
        return f"{self.accepted} {unit} accepted in {seconds:.0f} s, {mean} on average{reasons}"


def rate_text(rate: float) -> str:
    """`5.21 M nonces/s`."""
    for unit, name in ((1e9, "G "), (1e6, "M "), (1e3, "k ")):
        if rate >= unit:
            return f"{rate / unit:.2f} {name}nonces/s"
    return f"{rate:.0f} nonces/s"


def luck_text(found: int, expected: float) -> str:
    """What was found against what was expected; how far apart they may be depends on how many there are."""
    if expected < 1:
        return f"luck: {found} found, {expected:.2g} expected"
    deviations = (found - expected) / math.sqrt(expected)
    temperature = next(name for limit, name in _TEMPERATURES if deviations < limit)
    return f"luck {found / expected:.0%}, {temperature} ({found} found, {expected:.1f} expected)"
