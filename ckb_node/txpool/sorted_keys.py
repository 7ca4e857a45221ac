"""A sorted set that changes often: the pool's orders by fee rate, for miners and for eviction."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=tuple[Any, ...] | bytes)

BUCKET_SIZE = 512
"""A full bucket splits at twice this; a change costs two searches and a move within one bucket."""
FEW = 16
"""Of one bucket so many keys are changed one by one; for more, it is gone through once."""


class SortedKeys(Generic[Key]):
    """Distinct keys in ascending order. Keys that are present are removed by value, so owners remember theirs."""

    def __init__(self) -> None:
        self._buckets: list[list[Key]] = []
        self._highest: list[Key] = []
        self._size = 0
        self._walked: set[int] = set()
        """Ids of buckets that somebody may walk: they are copied when they change."""

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Key]:
        """Ascending. Nothing may change meanwhile."""
        for bucket in self._buckets:
            yield from bucket

    def __reversed__(self) -> Iterator[Key]:
        """Descending. Nothing may change meanwhile."""
        for bucket in reversed(self._buckets):
            yield from reversed(bucket)

    def descending_as_now(self) -> Iterator[Key]:
        """Descending, what is there at the time of the call. No key is copied: callers may be many."""
        buckets = self._buckets[:]
        self._walked = set(map(id, buckets))
        return (key for bucket in reversed(buckets) for key in reversed(bucket))

    def _to_change(self, at: int) -> list[Key]:
        """A bucket that nobody else walks."""
        bucket = self._buckets[at]
        if id(bucket) in self._walked:
            self._walked.discard(id(bucket))
            self._buckets[at] = bucket = bucket[:]
        return bucket

    def count_above(self, key: Key) -> int:
        """How many keys are higher."""
        at = bisect_right(self._highest, key)
        if at == len(self._buckets):
            return 0
        bucket = self._buckets[at]
        return sum(map(len, self._buckets[at:])) - bisect_right(bucket, key)

    def first(self) -> Key | None:
        """The lowest key."""
        return self._buckets[0][0] if self._buckets else None

    def add(self, key: Key) -> None:
        """Insert a key that is not there."""
        self._size += 1
        if not self._buckets:
            self._buckets.append([key])
            self._highest.append(key)
            return
        at = min(bisect_left(self._highest, key), len(self._buckets) - 1)
        bucket = self._to_change(at)
        insort(bucket, key)
        if len(bucket) > 2 * BUCKET_SIZE:
            self._buckets.insert(at + 1, bucket[BUCKET_SIZE:])
            self._highest.insert(at + 1, bucket[-1])
            del bucket[BUCKET_SIZE:]
        self._highest[at] = bucket[-1]

    def remove(self, key: Key) -> None:
        """Take a key out; KeyError when it is not there."""
        at = bisect_left(self._highest, key)
        bucket = self._buckets[at] if at < len(self._buckets) else []
        position = bisect_left(bucket, key)
        if position == len(bucket) or bucket[position] != key:
            raise KeyError(key)
        self._size -= 1
        bucket = self._to_change(at)
        del bucket[position]
        if bucket:
            self._highest[at] = bucket[-1]
        else:
            del self._buckets[at], self._highest[at]

    def remove_all(self, keys: Collection[Key]) -> None:
        """Take many out; KeyError when one is not there."""
        for at, group in self._by_bucket(keys):
            if len(group) <= FEW:
                for key in group:
                    self.remove(key)
                continue
            bucket, gone = self._buckets[at] if self._buckets else [], set(group)
            left = [each for each in bucket if each not in gone]
            if len(left) + len(group) != len(bucket):
                raise KeyError(group)
            self._size -= len(group)
            self._put_bucket(at, left)

    def add_all(self, keys: Collection[Key]) -> None:
        """Insert many that are not there."""
        if not self._buckets and keys:
            self._buckets, self._highest = [[]], [max(keys)]
        for at, group in self._by_bucket(keys):
            if len(group) <= FEW:
                for key in group:
                    self.add(key)
                continue
            self._size += len(group)
            self._put_bucket(at, sorted(self._buckets[at] + group))

    def _by_bucket(self, keys: Collection[Key]) -> Sequence[tuple[int, list[Key]]]:
        """Keys by the place of the bucket that they are in, or belong into; from the last one, so that changes there
        move none that are still to come."""
        last = len(self._buckets) - 1

        def place(key: Key) -> int:
            return min(bisect_left(self._highest, key), last)

        return [(at, list(group)) for at, group in groupby(sorted(keys), place)][::-1]

    def _put_bucket(self, at: int, keys: list[Key]) -> None:
        """These in the place of the ones there were, in as many buckets as they need."""
        size = len(keys) if len(keys) <= 2 * BUCKET_SIZE else BUCKET_SIZE
        buckets = [keys[first : first + size] for first in range(0, len(keys), size or 1)]
        self._buckets[at : at + 1] = buckets
        self._highest[at : at + 1] = [each[-1] for each in buckets]
