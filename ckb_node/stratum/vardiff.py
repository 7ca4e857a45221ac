"""How hard a miner's shares are: it should find one about every `interval` seconds. No clock in here.

Difficulty is counted in hashes: the number that a share takes on average, 2²⁵⁶ / target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consensus.crypto.difficulty import HASH_SPACE, U256_MAX

DIFFICULTY_ONE: Final = 1 << 32
"""Hashes of a share of difficulty 1, whose target is 2²²⁴."""
WINDOW_SHARES: Final = 6
"""So many are expected between two looks; by chance one in a hundred miners has more than twice as many."""
HASTY_SHARES: Final = 4 * WINDOW_SHARES
"""A miner that found so many is looked at before its time."""
MAX_STEP: Final = 4.0
TOLERATED: Final = 1.5
"""A rate that is off by less changes nothing."""


def hashes_of(difficulty: float) -> int:
    """Of a difficulty as miners count it."""
    return max(1, round(difficulty * DIFFICULTY_ONE))


def share_target(hashes: int) -> int:
    """What a share's hash must not exceed."""
    return min(HASH_SPACE // hashes, U256_MAX)


def target_hashes(target: int) -> int:
    """Hashes that a share of this target takes on average, at least 1."""
    return max(1, HASH_SPACE // (target + 1))


def shown_difficulty(target: int) -> float:
    """As miners count it; without a fraction where it has none."""
    difficulty = HASH_SPACE / (target + 1) / DIFFICULTY_ONE
    return int(difficulty) if difficulty.is_integer() else difficulty


@dataclass(frozen=True, slots=True)
class VardiffRules:
    """`interval_s` between two shares; the rest in hashes a share."""

    interval_s: float
    start: int
    least: int
    most: int

    def bounded(self, hashes: float) -> int:
        """The nearest that is allowed."""
        return round(min(max(hashes, self.least), self.most))


class Vardiff:
    """Of one connection. Times are seconds of a monotonic clock."""

    def __init__(self, rules: VardiffRules, now_s: float) -> None:
        self._rules: Final = rules
        self._set(rules.start)
        self._since, self._shares, self._work = now_s, 0, 0

    def suggest(self, hashes: int, now_s: float) -> None:
        """The miner knows how fast it is: go on from there."""
        self._set(hashes)
        self._begin(now_s)

    def note(self, hashes: int) -> None:
        """A share that took so many hashes on average is right."""
        self._shares += 1
        self._work += hashes

    def look(self, now_s: float) -> bool:
        """Whether the difficulty has changed."""
        elapsed = now_s - self._since
        if elapsed < WINDOW_SHARES * self._rules.interval_s and self._shares < HASTY_SHARES:
            return False
        # Without a share the rate is not known, only that it is low: one share at most was nearly there.
        wanted = max(self._work, self.hashes / MAX_STEP) * self._rules.interval_s / max(elapsed, 1e-3)
        before = self.hashes
        self._begin(now_s)
        if before / TOLERATED <= wanted <= before * TOLERATED:
            return False
        self._set(min(max(wanted, before / MAX_STEP), before * MAX_STEP))
        return self.hashes != before

    def _set(self, hashes: float) -> None:
        self.hashes = self._rules.bounded(hashes)
        self.target = share_target(self.hashes)

    def _begin(self, now_s: float) -> None:
        self._since, self._shares, self._work = now_s, 0, 0
