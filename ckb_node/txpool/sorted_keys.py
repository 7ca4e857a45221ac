"""A sorted set that changes often: the pool's orders by fee rate, for miners and for eviction."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=tuple[Any, ...] | bytes)

BUCKET_SIZE = 512
"""A full bucket splits at twice this; a change costs two searches and a move within one bucket."""


class SortedKeys(Generic[Key]):
    """Distinct keys in ascending order. Keys that are present are removed by value, so owners remember theirs."""

    def __init__(self) -> None:
        self._buckets: list[list[Key]] = []
        self._highest: list[Key] = []
        self._size = 0

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
        """Descending, what is there at the time of the call."""
        buckets = [bucket[:] for bucket in reversed(self._buckets)]
        return (key for bucket in buckets for key in reversed(bucket))

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
        bucket = self._buckets[at]
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
        del bucket[position]
        if bucket:
            self._highest[at] = bucket[-1]
        else:
            del self._buckets[at], self._highest[at]
