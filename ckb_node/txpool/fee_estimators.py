"""Fee rates by what blocks have done: two algorithms, one of which `[fee_estimator] algorithm` may name.

Rates are in shannons per 1000 weight units, times in blocks. Both give what the reference's give from the same history,
except that the tables here are bounded whatever the pool holds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple, Protocol

from ckb_node.txpool.limits import MAX_FLOWED, MAX_TRACKED
from ckb_node.txpool.views import FeeEstimateError

LOWEST_FEE_RATE: Final = 1000
BLOCK_BYTES: Final = 597_000
"""Of mainnet."""
MIN_TARGET, MAX_TARGET = 5, 128

NOT_READY: Final = "not ready"
LACK_DATA: Final = "lack of empirical data"
NO_RATE: Final = "no proper fee rate"


class Algorithm(Enum):
    """Names as in the configuration."""

    CONFIRMATION_FRACTION = "ConfirmationFraction"
    WEIGHT_UNITS_FLOW = "WeightUnitsFlow"


class Paying(NamedTuple):
    """A transaction as the estimators see it."""

    rate: int
    weight: int


class Waiting:
    """What waits in the pool, by bucket: as small as it is, however many transactions there are."""

    def __init__(self) -> None:
        self._weights = Counter[int]()

    def add(self, rate: int, weight: int) -> None:
        self._weights[bucket_of(rate)] += weight

    def __iter__(self) -> Iterator[Paying]:
        return (Paying(lowest_rate_of(bucket), weight) for bucket, weight in self._weights.items())


class FeeEstimator(Protocol):
    """Hears what the pool and the chain do, in order."""

    @property
    def looks_at_pool(self) -> bool:
        """Whether an estimate depends on what waits in the pool now."""
        ...

    def accepted(self, tx_hash: bytes, paying: Paying) -> None:
        """A transaction has come into the pool as pending."""
        ...

    def rejected(self, tx_hash: bytes) -> None:
        """It has left the pool without being committed."""
        ...

    def committed(self, number: int, tx_hashes: Iterable[bytes]) -> None:
        """A block of the main chain."""
        ...

    def estimate(self, target: int, pool: Iterable[Paying]) -> int:
        """The rate that is committed within `target` blocks. Raises FeeEstimateError."""
        ...


# ---------------------------------------------------------------- confirmation fraction

MAX_CONFIRM_BLOCKS: Final = 1000
MIN_SAMPLES: Final = 20
MIN_CONFIRM_RATE: Final = 0.85
_BUCKETS, _SPAN = 200, 10_000.0
_HALF_LIFE: Final = 100
FADED_AWAY: Final = 1e-9
"""Counts below this are forgotten: all of a bucket together are less than a millionth of one transaction."""


def _bucket_bounds() -> list[int]:
    """Upper bounds of the buckets, growing by the same factor from the lowest rate to _SPAN times that."""
    spacing = math.exp(math.log(_SPAN) / _BUCKETS)
    bounds, bound = list[int](), float(LOWEST_FEE_RATE)
    while bound <= LOWEST_FEE_RATE * _SPAN:
        bounds.append(int(bound))
        bound *= spacing
    return bounds


class _Tracked(NamedTuple):
    height: int
    bucket: int
    rate: int


class FadingCounts:
    """How many were counted after so many blocks. All fade alike, so a block multiplies one number: `_scale`, by which
    what was counted before the last block is to be multiplied."""

    __slots__ = ("_before", "_now", "_scale")

    def __init__(self) -> None:
        self._now: dict[int, int] = {}
        self._before: dict[int, float] = {}
        self._scale = 1.0

    def __len__(self) -> int:
        return len(self._before) + len(self._now)

    def count(self, blocks: int) -> None:
        self._now[blocks] = self._now.get(blocks, 0) + 1

    def fade(self, factor: float) -> None:
        """Another block has come."""
        if self._now:
            for blocks, count in self._now.items():
                self._before[blocks] = self._before.get(blocks, 0.0) + count / self._scale
            self._now.clear()
        self._scale *= factor

    def forget(self) -> None:
        """Without what has faded away; takes time by all that is kept."""
        faded = ((blocks, count * self._scale) for blocks, count in self._before.items())
        self._before = {blocks: count for blocks, count in faded if count >= FADED_AWAY}
        self._scale = 1.0

    def within(self, blocks: int) -> float:
        """After at most so many blocks."""
        before = sum(count for after, count in self._before.items() if after <= blocks)
        return before * self._scale + sum(count for after, count in self._now.items() if after <= blocks)

    def after(self, blocks: int) -> float:
        """After exactly so many."""
        return self._before.get(blocks, 0.0) * self._scale + self._now.get(blocks, 0)


class ConfirmationFraction:
    """Of each rate, how many of the transactions that came were committed within so many blocks; old samples fade.

    The reference's tables of MAX_CONFIRM_BLOCKS rows, kept as differences where a row is the sum of those up to it, and
    without what is zero.
    """

    looks_at_pool: Final = False

    def __init__(self, bounds: Sequence[int] | None = None) -> None:
        self._bounds = list(bounds or _bucket_bounds())
        count = len(self._bounds)
        self._confirmed = [FadingCounts() for _ in range(count)]
        """By bucket: how many were confirmed after exactly so many blocks."""
        self._failed = [FadingCounts() for _ in range(count)]
        """The same of those that were given up."""
        self._counts, self._rates = [0.0] * count, [0] * count
        self._unconfirmed: dict[int, Counter[int]] = {}
        """By height: how many of each bucket came then and are not committed."""
        self._tracked: dict[bytes, _Tracked] = {}
        self._best = 0

    # what happens

    def accepted(self, tx_hash: bytes, paying: Paying) -> None:
        bucket = bisect_left(self._bounds, paying.rate)
        if tx_hash in self._tracked or bucket == len(self._bounds) or len(self._tracked) >= MAX_TRACKED:
            return
        self._tracked[tx_hash] = _Tracked(self._best, bucket, paying.rate)
        self._unconfirmed.setdefault(self._best, Counter())[bucket] += 1

    def rejected(self, tx_hash: bytes) -> None:
        tracked = self._forget(tx_hash)
        if tracked is not None and 0 < (age := self._best - tracked.height) <= MAX_CONFIRM_BLOCKS:
            self._failed[tracked.bucket].count(age)

    def committed(self, number: int, tx_hashes: Iterable[bytes]) -> None:
        """Blocks that take the place of others teach nothing."""
        if number <= self._best:
            return
        self._best = number
        self._unconfirmed.pop(number - MAX_CONFIRM_BLOCKS, None)
        self._fade()
        for tx_hash in tx_hashes:
            tracked = self._forget(tx_hash)
            if tracked is not None and (blocks := number - tracked.height) > 0:
                self.note(blocks, tracked.rate)

    def note(self, blocks: int, rate: int) -> None:
        """A transaction of this rate was committed after so many blocks."""
        bucket = bisect_left(self._bounds, rate)
        if bucket < len(self._bounds):
            if blocks <= MAX_CONFIRM_BLOCKS:
                self._confirmed[bucket].count(blocks)
            self._counts[bucket] += 1
            self._rates[bucket] += rate

    def _forget(self, tx_hash: bytes) -> _Tracked | None:
        tracked = self._tracked.pop(tx_hash, None)
        if tracked is not None and (came := self._unconfirmed.get(tracked.height)) is not None:
            came[tracked.bucket] -= 1
        return tracked

    def _fade(self) -> None:
        factor = math.exp(math.log(0.5) / _HALF_LIFE)
        for table in (*self._confirmed, *self._failed):
            table.fade(factor)
        bucket = self._best % len(self._bounds)  # one bucket a block is cleared
        self._confirmed[bucket].forget()
        self._failed[bucket].forget()
        self._counts = [each * factor for each in self._counts]
        self._rates = [int(each * factor) for each in self._rates]

    # what follows from it

    def estimate(self, target: int, pool: Iterable[Paying] = ()) -> int:
        del pool
        return self.median(target, MIN_SAMPLES, MIN_CONFIRM_RATE)

    def median(self, blocks: int, samples: int, rate: float) -> int:
        """The median of the cheapest range of buckets of which enough were committed in time."""
        if blocks < 3 or samples == 0:
            raise FeeEstimateError(LACK_DATA)
        first, last = self._cheapest(blocks, samples, rate)
        half = sum(self._counts[first : last + 1]) / 2
        for bucket in range(first, last + 1):
            count = self._counts[bucket]
            if count >= half > 0:
                return max(int(self._rates[bucket] / count), self._bounds[0])
            half -= count
        raise FeeEstimateError(NO_RATE)

    def _cheapest(self, blocks: int, samples: int, rate: float) -> tuple[int, int]:
        """The first range that has enough samples, of which the wanted part was committed in time."""
        confirmed = [table.within(blocks) for table in self._confirmed]
        missed = [table.after(blocks) for table in self._failed]  # as the reference counts them
        late = self._unconfirmed_in_row(blocks - 1)
        first, good, bad, count = 0, 0.0, 0.0, 0.0
        for last in range(len(self._bounds)):
            good, bad, count = good + confirmed[last], bad + missed[last] + late[last], count + self._counts[last]
            while int(count) >= samples:
                if good / (count + bad) >= rate:
                    return first, last
                good, bad = good - confirmed[first], bad - missed[first] - late[first]
                count -= self._counts[first]
                first += 1
        raise FeeEstimateError(NO_RATE)

    def _unconfirmed_in_row(self, row: int) -> Counter[int]:
        """As the reference reads its ring of MAX_CONFIRM_BLOCKS rows: by place, not by age."""
        height = self._best - (self._best - row) % MAX_CONFIRM_BLOCKS
        return self._unconfirmed.get(height, Counter())


# ---------------------------------------------------------------- flow of weight units

BLOCK_SHARE: Final = (85, 100)
"""How full blocks are when many transactions wait: proposals limit them."""
_STEPS: Final = ((10, 1), (30, 2), (60, 5), (90, 10), (115, 20), (135, 50))
"""Up to this bucket, each is so many thousand shannons wide; later ones 100 thousand."""


def lowest_rate_of(bucket: int) -> int:
    """The lowest rate that belongs to a bucket."""
    rate = start = 0
    for end, width in _STEPS:
        if bucket <= end:
            return 1000 * (rate + (bucket - start) * width)
        rate, start = rate + (end - start) * width, end
    return 1000 * (rate + (bucket - start) * 100)


def bucket_of(rate: int) -> int:
    """The last bucket whose lowest rate is not above it."""
    low = start = 0
    for end, width in _STEPS:
        high = low + (end - start) * width
        if rate <= 1000 * high:
            return start + (rate - 1000 * low) // (1000 * width)
        low, start = high, end
    return start + (rate - 1000 * low) // 100_000


class WeightUnitsFlow:
    """What waits now and what flowed in lately, against what blocks can take."""

    looks_at_pool: Final = True

    def __init__(self) -> None:
        self._first = self._tip = 0
        self._flowed: dict[int, Counter[int]] = {}
        """By height: weight that came in each bucket while it was the tip's."""
        self._kept = 0
        """Buckets of all heights."""

    def accepted(self, tx_hash: bytes, paying: Paying) -> None:
        del tx_hash
        if not self._tip:
            return
        bucket, came = bucket_of(paying.rate), self._flowed.setdefault(self._tip, Counter())
        is_new = bucket not in came
        if not is_new or self._kept < MAX_FLOWED:
            self._kept += is_new
            came[bucket] += paying.weight

    def rejected(self, tx_hash: bytes) -> None:
        """It has flowed in all the same."""

    def committed(self, number: int, tx_hashes: Iterable[bytes]) -> None:
        del tx_hashes
        self._first = self._first or number
        self._tip = number
        oldest = number - _history_of(MAX_TARGET)
        for height in [each for each in self._flowed if each < oldest]:
            self._kept -= len(self._flowed.pop(height))

    def estimate(self, target: int, pool: Iterable[Paying]) -> int:
        blocks = _history_of(target)
        if blocks > self._tip - self._first:
            raise FeeEstimateError(LACK_DATA)
        waiting = Counter[int]()
        for rate, weight in pool:
            waiting[bucket_of(rate)] += weight
        if not waiting:
            return LOWEST_FEE_RATE
        flowed = Counter[int]()
        for height, came in self._flowed.items():
            if height >= self._tip - blocks:
                flowed.update(came)
        share, whole = BLOCK_SHARE
        room = BLOCK_BYTES * share // whole * target
        highest = max(waiting)
        waits = flows = full = 0
        for bucket in sorted((each for each in {*waiting, *flowed} if each <= highest), reverse=True):
            waits, flows = waits + waiting[bucket], flows + flowed[bucket]
            if waits + flows // blocks * target > room:
                full = bucket
                break
        # Buckets that hold nothing are not looked at: somebody may pay a million times what others do.
        if full == highest:
            raise FeeEstimateError(NO_RATE)
        return lowest_rate_of(full + 1)


def _history_of(target: int) -> int:
    """Blocks that are looked back at."""
    return 2 * max(target, MIN_TARGET)


def make_estimator(algorithm: Algorithm) -> FeeEstimator:
    return ConfirmationFraction() if algorithm is Algorithm.CONFIRMATION_FRACTION else WeightUnitsFlow()


__all__ = [
    "NOT_READY",
    "Algorithm",
    "ConfirmationFraction",
    "FeeEstimator",
    "Paying",
    "Waiting",
    "WeightUnitsFlow",
    "make_estimator",
]
