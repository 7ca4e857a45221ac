"""What others may use up of this node: allowances that refill with time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

K = TypeVar("K")


class Allowance:
    """A bucket of units that refills evenly (a token bucket). It may be overdrawn: then nothing is allowed until it is
    above zero again."""

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`rate` in units per second; at most `burst` units at once; full at the beginning."""
        self.rate, self.burst = rate, burst
        self._left, self._at = burst, now

    def left(self, now: float) -> float:
        """Units that may be used now; negative when overdrawn."""
        if now > self._at:
            self._left = min(self.burst, self._left + (now - self._at) * self.rate)
            self._at = now
        return self._left

    def spend(self, units: float, now: float) -> None:
        self._left = self.left(now) - units

    def wait(self, now: float) -> float:
        """Seconds until anything is allowed again; 0.0 when it is."""
        left = self.left(now)
        return 0.0 if left > 0 else (1.0 - left) / self.rate


class Allowances(Generic[K]):
    """An allowance for each key (an address, a group of addresses), as many as are worth a memory."""

    def __init__(self, rate: float, burst: float, *, max_keys: int) -> None:
        """Beyond `max_keys` those that were used the longest ago are forgotten, that is: full again."""
        self._rate, self._burst = rate, burst
        self._max_keys: Final = max_keys
        self._allowances: Final[OrderedDict[K, Allowance]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._allowances)

    def left(self, key: K, now: float) -> float:
        """Units that may be used now."""
        allowance = self._allowances.get(key)
        return self._burst if allowance is None else allowance.left(now)

    def spend(self, key: K, units: float, now: float) -> None:
        allowance = self._allowances.pop(key, None) or Allowance(self._rate, self._burst, now)
        allowance.spend(units, now)
        self._allowances[key] = allowance
        while len(self._allowances) > self._max_keys:
            self._allowances.popitem(last=False)
