"""A map with a bound of entries, of bytes, or of both: the first entries leave."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterator, Sequence, ValuesView
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def _no_size(_: object) -> int:
    return 0


class BoundedMap(Generic[K, V]):
    """In order of `put`, and so first in, first out; read by `use` instead of `get`, the least recently used leaves.

    Not safe from several threads. `cachetools` does the same at nearly twice the cost, without telling what left.
    """

    def __init__(
        self,
        *,
        max_count: int | None = None,
        max_bytes: int | None = None,
        size_of: Callable[[V], int] = _no_size,
    ) -> None:
        """`size_of` a value in bytes; it must not change while the value is here."""
        self._max_count: Final = math.inf if max_count is None else max_count
        self._max_bytes: Final = math.inf if max_bytes is None else max_bytes
        self._size_of: Final = size_of
        self._values: Final[OrderedDict[K, V]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        """Keys, first to leave first."""
        return iter(self._values)

    def get(self, key: K) -> V | None:
        """The value, which stays where it is in the order."""
        return self._values.get(key)

    def use(self, key: K) -> V | None:
        """The value, which is the last to leave from now on."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def values(self) -> ValuesView[V]:
        """First to leave first."""
        return self._values.values()

    def items(self) -> ItemsView[K, V]:
        """First to leave first."""
        return self._values.items()

    def put(self, key: K, value: V) -> Sequence[tuple[K, V]]:
        """Keep a value as the newest, in the place of one with this key. What left to make room: the value itself,
        too, when it is larger than `max_bytes`."""
        if key in self._values:
            self.pop(key)
        self._values[key] = value
        self.size_bytes += self._size_of(value)
        if len(self._values) <= self._max_count and self.size_bytes <= self._max_bytes:
            return ()
        return self._shrink()

    def replace(self, key: K, value: V) -> None:
        """Put a value of the same size in the place of one that is here. Raises KeyError."""
        if key not in self._values:
            raise KeyError(key)
        self._values[key] = value

    def _shrink(self) -> list[tuple[K, V]]:
        left = []
        while len(self._values) > self._max_count or self.size_bytes > self._max_bytes:
            key, value = self._values.popitem(last=False)
            self.size_bytes -= self._size_of(value)
            left.append((key, value))
        return left

    def pop(self, key: K) -> V | None:
        """Take a value out; None when there is none."""
        if key not in self._values:
            return None
        value = self._values.pop(key)
        self.size_bytes -= self._size_of(value)
        return value

    def clear(self) -> None:
        """Take everything out."""
        self._values.clear()
        self.size_bytes = 0
