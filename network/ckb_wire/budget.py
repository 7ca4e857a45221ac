"""What a peer may cost beyond the bytes that it sends: frames that carry nothing, each of which costs as much time as a
kilobyte of data."""

from __future__ import annotations

from typing import Final

__all__ = ["FrameBudget"]


class FrameBudget:
    """A bucket of tokens. It fills with time and with traffic, since honest peers acknowledge what they get."""

    __slots__ = ("_burst", "_last_fill", "_per_second", "_tokens", "_traffic")

    BYTES_PER_TOKEN: Final = 1024

    def __init__(self, burst: int, per_second: float, now: float) -> None:
        """`burst` tokens at once, `per_second` for ever; one more for each KiB of traffic."""
        self._burst: Final = burst
        self._per_second: Final = per_second
        self._tokens = float(burst)
        self._last_fill = now
        self._traffic = 0

    def add_traffic(self, size: int) -> None:
        """Note bytes that went either way."""
        self._traffic += size

    def spend(self, cost: int, now: float) -> bool:
        """Take tokens; False when there are too few."""
        self._tokens -= cost
        if self._tokens >= 0:
            return True
        earned = (now - self._last_fill) * self._per_second + self._traffic / self.BYTES_PER_TOKEN
        self._tokens = min(self._burst, self._tokens + earned)
        self._last_fill, self._traffic = now, 0
        return self._tokens >= 0
