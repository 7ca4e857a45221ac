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
    """Sets by name; an empty one is not there. The largest is found in one step."""

    def __init__(self) -> None:
        self._pools: Final = dict[str, RandomSet[T]]()
        self._by_size: Final = dict[int, dict[str, None]]()
        self._largest = 0

    def __len__(self) -> int:
        return len(self._pools)

    def values(self) -> ValuesView[RandomSet[T]]:
        return self._pools.values()

    def add(self, name: str, item: T) -> None:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = RandomSet()
        before = len(pool)
        pool.add(item)
        self._sized(name, before, len(pool))

    def discard(self, name: str, item: T) -> None:
        pool = self._pools[name]
        before = len(pool)
        pool.discard(item)
        self._sized(name, before, len(pool))
        if not pool:
            del self._pools[name]

    def largest(self) -> RandomSet[T]:
        """Of at least one."""
        return self._pools[next(iter(self._by_size[self._largest]))]

    def _sized(self, name: str, before: int, after: int) -> None:
        """Sizes change by one: when the only largest one shrinks, it is among the next."""
        if before == after:
            return
        if before:
            same = self._by_size[before]
            del same[name]
            if not same:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[name] = None
        if after > self._largest or self._largest not in self._by_size:
            self._largest = after


def in_random_order(items: list[U], rng: Random) -> Iterator[U]:
    """The items of a list, which is shuffled on the way."""
    for left in range(len(items), 0, -1):
        place = int(rng.random() * left)
        items[place], items[left - 1] = items[left - 1], items[place]
        yield items[left - 1]
