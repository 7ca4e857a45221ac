"""A set of which a random member costs one step. Its order follows from what was done with it: a seed repeats a run."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence, ValuesView
from random import Random
from typing import Final, Generic, TypeVar

__all__ = ["Pools", "RandomSet", "in_random_order"]

T = TypeVar("T", bound=Hashable)
U = TypeVar("U")


class RandomSet(Generic[T]):
    def __init__(self) -> None:
        self._items: Final = list[T]()
        self._places: Final = dict[T, int]()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __contains__(self, item: T) -> bool:
        return item in self._places

    def add(self, item: T) -> None:
        if item not in self._places:
            self._places[item] = len(self._items)
            self._items.append(item)

    def discard(self, item: T) -> None:
        """The last one takes its place."""
        place = self._places.pop(item, None)
        if place is None:
            return
        last = self._items.pop()
        if place < len(self._items):
            self._items[place] = last
            self._places[last] = place

    def some(self, rng: Random, count: int) -> Sequence[T]:
        """`count` random members of a set that has any; one may be drawn several times."""
        return [self._items[int(rng.random() * len(self._items))] for _ in range(count)]

    def in_random_order(self, rng: Random) -> Iterator[T]:
        """All members as they are now; what is not asked for costs nothing but a copy."""
        return in_random_order(list(self._items), rng)


class Pools(Generic[T]):
    """Sets by name; an empty one is not there."""

    def __init__(self) -> None:
        self._pools: Final = dict[str, RandomSet[T]]()
        self._sizes: Final = dict[str, int]()

    def __len__(self) -> int:
        return len(self._pools)

    def values(self) -> ValuesView[RandomSet[T]]:
        return self._pools.values()

    def add(self, name: str, item: T) -> None:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = RandomSet()
        pool.add(item)
        self._sizes[name] = len(pool)

    def discard(self, name: str, item: T) -> None:
        pool = self._pools[name]
        pool.discard(item)
        self._sizes[name] = len(pool)
        if not pool:
            del self._pools[name], self._sizes[name]

    def largest(self) -> RandomSet[T]:
        """Of at least one."""
        return self._pools[max(self._sizes, key=self._sizes.__getitem__)]


def in_random_order(items: list[U], rng: Random) -> Iterator[U]:
    """The items of a list, which is shuffled on the way."""
    for left in range(len(items), 0, -1):
        place = int(rng.random() * left)
        items[place], items[left - 1] = items[left - 1], items[place]
        yield items[left - 1]
