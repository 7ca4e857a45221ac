"""What headers alone show of the rule of epochs: how easy the next target may be at most (RFC 20, decision on headers).

The next epoch depends on the uncles of the one that ends, and those are in blocks. But there are only so many, and the
next length, which headers show, leaves few counts possible. So of each next epoch there is a least difficulty that any
valid chain has. Who sends headers below it sends no valid chain, and need not be believed for long: without this rule a
header costs nothing and a disk is soon full of them.

Every bound here errs on the side of easier targets: a valid chain passes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from consensus.codec.layout import U64_MAX
from consensus.crypto.difficulty import HASH_SPACE, compact_to_difficulty, compact_to_target, difficulty_to_compact
from consensus.errors import EpochError
from consensus.params import Consensus
from consensus.rules.epoch import (
    TAU,
    EpochTargetMismatchError,
    expected_blocks_at_ideal_rate,
    expected_blocks_when_bounded,
    has_permanent_difficulty,
    length_bounds,
    next_length,
    permanent_length,
)

_MS_PER_S = 1000
_MANTISSA_BYTES = 3


class EpochLengthError(EpochError):
    """No number of uncles gives the next epoch this length."""

    def __init__(self, before: int, length: int) -> None:
        super().__init__(f"an epoch of {length} blocks cannot follow one of {before} blocks that took so long")
        self.before, self.length = before, length


class EpochDurationError(EpochError):
    """The last block of an epoch is older than the last one of the epoch before. Milliseconds."""

    def __init__(self, duration_ms: int) -> None:
        super().__init__(f"an epoch took {duration_ms} ms")
        self.duration_ms = duration_ms


class TargetTooEasyError(EpochError):
    """The next epoch is easier than it can be, however many uncles there were. Compact targets."""

    def __init__(self, easiest: int, actual: int) -> None:
        super().__init__(f"the epoch's target is {actual:#x}, {easiest:#x} is the easiest that may be")
        self.easiest, self.actual = easiest, actual


@dataclass(frozen=True, slots=True)
class EpochFacts:
    """What headers show of an epoch. `hash_rate`: no chain that shows the same has less as the hash rate that the
    epoch's target was computed from; per second."""

    length: int
    compact_target: int
    hash_rate: int


def facts_of(consensus: Consensus, length: int, compact_target: int) -> EpochFacts:
    """Of an epoch whose ancestors nobody looks at."""
    return EpochFacts(length, compact_target, _least_hash_rate(consensus, length, compact_target))


def verify_next_epoch(
    consensus: Consensus, epoch: EpochFacts, duration_ms: int, length: int, compact_target: int
) -> EpochFacts:
    """RFC 20 "Computing the Outputs", as far as headers show it: the epoch after one that took `duration_ms`.

    Raises EpochLengthError, EpochDurationError, EpochTargetMismatchError, TargetTooEasyError.
    """
    if duration_ms < 0:
        raise EpochDurationError(duration_ms)
    if has_permanent_difficulty(consensus):
        return _verify_permanent(consensus, epoch, length, compact_target)
    shortest, longest = length_bounds(consensus, epoch.length)
    duration_s = max(duration_ms // _MS_PER_S, 1)
    if shortest > longest or _may_overflow(consensus, epoch.length):  # of no chain that is in earnest
        return EpochFacts(length, compact_target, 1)
    if not shortest <= length <= longest:
        raise EpochLengthError(epoch.length, length)
    first, last = _uncle_counts(consensus, epoch.length, duration_s, length)
    if first > last:
        raise EpochLengthError(epoch.length, length)
    rate = _dampened(compact_to_difficulty(epoch.compact_target) * (epoch.length + first) // duration_s, epoch)
    blocks = _most_blocks(consensus, epoch.length, duration_s, length, first, last)
    difficulty = int(rate * consensus.epoch_duration_target_s / blocks)
    easiest = difficulty_to_compact(max(difficulty, 1))
    if compact_target > easiest:
        raise TargetTooEasyError(easiest, compact_target)
    return EpochFacts(length, compact_target, max(rate, _least_hash_rate(consensus, length, compact_target)))


def _verify_permanent(consensus: Consensus, epoch: EpochFacts, length: int, compact_target: int) -> EpochFacts:
    if length != permanent_length(consensus):
        raise EpochLengthError(epoch.length, length)
    if compact_target != epoch.compact_target:
        raise EpochTargetMismatchError(epoch.compact_target, compact_target)
    return EpochFacts(length, compact_target, epoch.hash_rate)


def _may_overflow(consensus: Consensus, length: int) -> bool:
    """The wanted length is cut to 64 bits, and then more uncles need not mean a shorter epoch."""
    return consensus.epoch_duration_target_s * length * (length + 1) > U64_MAX


def _uncle_counts(consensus: Consensus, length: int, duration_s: int, following: int) -> tuple[int, int]:
    """The fewest and the most uncles with which an epoch is followed by one of `following` blocks; the first is larger
    when there are none. More uncles mean a shorter next epoch, none the longest."""
    low, high = 0, consensus.max_uncles * length
    first = _least(low, high, lambda uncles: next_length(consensus, length, uncles, duration_s)[0] <= following)
    above = _least(low, high, lambda uncles: next_length(consensus, length, uncles, duration_s)[0] < following)
    return first, above - 1


def _most_blocks(consensus: Consensus, length: int, duration_s: int, following: int, first: int, last: int) -> Fraction:
    """The most blocks, uncles included, that the next epoch may have been expected to have.

    The estimate rises with the uncles up to a pole, behind which it is that of the ideal rate.
    """

    def is_behind_pole(uncles: int) -> bool:
        target = consensus.epoch_duration_target_s
        return uncles > 0 and (length + uncles) * target * length <= uncles * duration_s * following

    pole = _least(first, last, is_behind_pole)
    most = expected_blocks_at_ideal_rate(consensus, following)
    if pole > first:
        most = max(most, expected_blocks_when_bounded(consensus, length, pole - 1, duration_s, following))
    return most


def _dampened(rate: int, epoch: EpochFacts) -> int:
    """The least of what the rate may be, dampened by any rate before that is not below that of `epoch`."""
    before = epoch.hash_rate
    if rate < before // TAU:
        return max(before // TAU, 1)
    return max(min(rate, max(before, 1) * TAU), 1)


def _least_hash_rate(consensus: Consensus, length: int, compact_target: int) -> int:
    """An epoch's difficulty is what its hash rate gives in its time, divided by at least as many blocks as it has."""
    difficulty = _least_difficulty(compact_target)
    if difficulty <= 1:  # 1 is also what less is rounded up to
        return 0
    return -(-difficulty * length // consensus.epoch_duration_target_s)


def _least_difficulty(compact_target: int) -> int:
    """The least of all difficulties that have this compact target: it keeps three bytes of the target.

    The easiest target of all is that of difficulty 1, too, whose own would be one more than 256 bits hold.
    """
    exponent, target = compact_target >> 24, compact_to_target(compact_target)
    next_target = target + (1 << 8 * max(0, exponent - _MANTISSA_BYTES))
    return HASH_SPACE // next_target + 1 if next_target < HASH_SPACE else 1


def _least(low: int, high: int, condition: Callable[[int], bool]) -> int:
    """The least number from `low` to `high` with a condition that holds for all above it, too; one above `high` when
    there is none."""
    return bisect_left(range(low, high + 1), True, key=condition) + low
