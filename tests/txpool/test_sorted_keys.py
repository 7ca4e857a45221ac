"""The sorted set behind the pool's orders, against a sorted list."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckb_node.txpool import sorted_keys as ranking
from ckb_node.txpool.sorted_keys import SortedKeys


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BUCKET_SIZE", 4)
    monkeypatch.setattr(ranking, "FEW", 2)


@given(st.lists(st.integers(0, 60)))
def test_equals_a_sorted_list(numbers: list[int]) -> None:
    """Each number comes in when it is not there and goes when it is."""
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    model: set[tuple[int]] = set()
    for number in numbers:
        key = (number,)
        if key in model:
            model.remove(key)
            ranks.remove(key)
        else:
            model.add(key)
            ranks.add(key)
        assert list(ranks) == sorted(model)
        assert list(reversed(ranks)) == sorted(model, reverse=True)
        assert ranks.first() == min(model, default=None)
        assert len(ranks) == len(model)
        for place in range(-1, 62):
            assert ranks.count_above((place,)) == sum(each > (place,) for each in model)


@given(st.lists(st.sets(st.integers(0, 200))))
def test_many_at_once_equal_a_sorted_list(changes: list[set[int]]) -> None:
    """Of each set those come in that are not there, and the others go."""
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    model: set[tuple[int]] = set()
    for numbers in changes:
        keys = {(number,) for number in numbers}
        gone, come = keys & model, keys - model
        ranks.remove_all(gone)
        ranks.add_all(come)
        model ^= keys
        assert list(ranks) == sorted(model)
        assert len(ranks) == len(model)
        assert [ranks.count_above(key) for key in sorted(model)] == [*range(len(model))][::-1]
        ranks.add((201,))
        ranks.remove((201,))


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("there", [0, 40])
def test_of_many_one_that_is_not_there(count: int, there: int) -> None:
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    ranks.add_all([(2 * number,) for number in range(there)])
    with pytest.raises(KeyError):
        ranks.remove_all([*((2 * number,) for number in range(min(count, there))), (3,)])


def test_what_is_there_now_is_walked_whatever_changes() -> None:
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    for number in range(50):
        ranks.add((number,))
    walked = ranks.descending_as_now()
    first = next(walked)
    for number in range(50):
        ranks.remove((number,))
        ranks.add((number + 100,))
    assert [first, *walked] == [(number,) for number in reversed(range(50))]


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 60)))))
def test_all_who_walk_see_what_was_there_at_their_time(steps: list[tuple[bool, set[int]]]) -> None:
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    model: set[tuple[int]] = set()
    walks: list[tuple[list[tuple[int]], Iterator[tuple[int]]]] = []
    for is_one_by_one, numbers in steps:
        keys = {(number,) for number in numbers}
        gone, come = keys & model, keys - model
        if is_one_by_one:
            for key in gone:
                ranks.remove(key)
            for key in come:
                ranks.add(key)
        else:
            ranks.remove_all(gone)
            ranks.add_all(come)
        model ^= keys
        walks.append((sorted(model, reverse=True), ranks.descending_as_now()))
        next(walks[len(walks) // 2][1], None)  # some have begun
        walks[len(walks) // 2][0][:1] = []
    assert all(list(walk) == expected for expected, walk in walks)
    assert list(ranks) == sorted(model)


def test_who_walks_copies_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each caller of `get_raw_tx_pool` had a copy of the pool's order."""
    monkeypatch.setattr(ranking, "BUCKET_SIZE", 512)
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    ranks.add_all([(2 * number,) for number in range(50_000)])
    tracemalloc.start()
    try:
        walks = []
        for number in range(100):
            ranks.add((1000 * number + 1,))
            walks.append(ranks.descending_as_now())
        assert tracemalloc.get_traced_memory()[0] < 2 << 20
    finally:
        tracemalloc.stop()
    assert [sum(1 for _ in walk) for walk in walks] == [50_001 + n for n in range(100)]


def test_many_keys_in_any_order() -> None:
    keys = [(number,) for number in range(2000)]
    random.Random(1).shuffle(keys)
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    for key in keys:
        ranks.add(key)
    assert list(ranks) == sorted(keys)
    for key in keys[:1500]:
        ranks.remove(key)
    assert list(ranks) == sorted(keys[1500:])


def test_a_key_that_is_not_there() -> None:
    ranks: SortedKeys[tuple[int]] = SortedKeys()
    with pytest.raises(KeyError):
        ranks.remove((1,))
    ranks.add((1,))
    for missing in (0, 2):
        with pytest.raises(KeyError):
            ranks.remove((missing,))
    assert list(ranks) == [(1,)]
