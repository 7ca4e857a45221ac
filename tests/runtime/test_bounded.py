"""BoundedMap against a plain list that is searched, and the order in which entries leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckb_node.runtime.bounded import BoundedMap

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "use", "get", "pop"]), st.integers(0, 6), st.binary(max_size=12)), max_size=60
)


class Model:
    """The same as a list of pairs, first to leave first."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.max_count, self.max_bytes = max_count, max_bytes
        self.pairs: list[tuple[int, bytes]] = []

    def find(self, key: int) -> bytes | None:
        return next((value for each, value in self.pairs if each == key), None)

    def pop(self, key: int) -> bytes | None:
        value = self.find(key)
        self.pairs = [pair for pair in self.pairs if pair[0] != key]
        return value

    def use(self, key: int) -> bytes | None:
        value = self.pop(key)
        if value is not None:
            self.pairs.append((key, value))
        return value

    def put(self, key: int, value: bytes) -> list[tuple[int, bytes]]:
        self.pop(key)
        self.pairs.append((key, value))
        left = []
        while len(self.pairs) > self.max_count or sum(len(each) for _, each in self.pairs) > self.max_bytes:
            left.append(self.pairs.pop(0))
        return left


@given(STEPS, st.integers(1, 5), st.integers(0, 30))
def test_it_does_as_a_list_would(steps: list[tuple[str, int, bytes]], max_count: int, max_bytes: int) -> None:
    ours: BoundedMap[int, bytes] = BoundedMap(max_count=max_count, max_bytes=max_bytes, size_of=len)
    model = Model(max_count, max_bytes)
    for step, key, value in steps:
        match step:
            case "put":
                assert list(ours.put(key, value)) == model.put(key, value)
            case "use":
                assert ours.use(key) == model.use(key)
            case "get":
                assert ours.get(key) == model.find(key)
            case "pop":
                assert ours.pop(key) == model.pop(key)
        assert list(ours.items()) == model.pairs
        assert (len(ours), list(ours)) == (len(model.pairs), [each for each, _ in model.pairs])
        assert ours.size_bytes == sum(len(each) for _, each in model.pairs)
        assert (key in ours) == (model.find(key) is not None)


def test_a_bound_of_entries_alone() -> None:
    ours: BoundedMap[str, int] = BoundedMap(max_count=2)
    for key in "abc":
        ours.put(key, ord(key))
    assert list(ours) == ["b", "c"]
    ours.clear()
    assert not len(ours)


def test_a_value_that_is_too_large_leaves_with_all_before_it() -> None:
    ours: BoundedMap[str, bytes] = BoundedMap(max_bytes=4, size_of=len)
    ours.put("a", b"1")
    assert list(ours.put("b", b"12345")) == [("a", b"1"), ("b", b"12345")]
    assert ours.size_bytes == 0


def test_a_replaced_value_keeps_its_place() -> None:
    ours: BoundedMap[str, int] = BoundedMap(max_count=2)
    ours.put("a", 1)
    ours.put("b", 2)
    ours.replace("a", 3)
    assert list(ours.items()) == [("a", 3), ("b", 2)]
    with pytest.raises(KeyError):
        ours.replace("c", 4)
