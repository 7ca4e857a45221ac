"""Generated block filters against the plain ones."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.crypto import golomb
from consensus.kernels.golomb import golomb_coded_set
from consensus.kernels.golomb_code import MAX_ELEMENTS
from consensus.kernels.runtime import KernelLengthError

keys = st.binary(min_size=16, max_size=16)
elements = st.binary(min_size=32, max_size=32)


@given(st.lists(elements, max_size=40, unique=True), keys)
def test_filters(some: list[bytes], key: bytes) -> None:
    assert golomb_coded_set(some, key) == golomb.golomb_coded_set(some, key)


@given(st.lists(elements, max_size=5, unique=True))
def test_the_default_key(some: list[bytes]) -> None:
    assert golomb_coded_set(some) == golomb.golomb_coded_set(some)


@given(elements, st.integers(2, 30), keys)
def test_equal_elements_are_not_told_apart(element: bytes, count: int, key: bytes) -> None:
    """Whoever calls it removes duplicates; if not, both do the same, and the gap of the first is long."""
    some = [element] * count
    assert golomb_coded_set(some, key) == golomb.golomb_coded_set(some, key)


@pytest.mark.parametrize("count", [256, 257, 1000, 5471, 5472, 6000])
def test_sizes_at_which_something_changes(count: int) -> None:
    """Beyond 5,471 elements the product of value and span needs more than 64 + 32 bits."""
    source = random.Random(count)
    some = [source.randbytes(32) for _ in range(count)]
    key = source.randbytes(16)
    assert golomb_coded_set(some, key) == golomb.golomb_coded_set(some, key)


def test_as_many_elements_as_a_call_takes() -> None:
    """All equal in the worst place, so that the code is as long as it can be, and one more than the kernel takes."""
    source = random.Random(45)
    highest = max((source.randbytes(32) for _ in range(2000)), key=lambda e: golomb.siphash(e, bytes(16)))
    for count in (MAX_ELEMENTS, MAX_ELEMENTS + 1):
        some = [highest] * count
        assert golomb_coded_set(some) == golomb.golomb_coded_set(some)


@given(st.lists(elements, min_size=1, max_size=5), st.integers(0, 100).filter(lambda n: n != 32))
@settings(max_examples=30)
def test_other_lengths_are_refused(some: list[bytes], length: int) -> None:
    with pytest.raises(KernelLengthError):
        golomb_coded_set([*some, bytes(length)])


def test_lengths_that_only_add_up_are_refused() -> None:
    with pytest.raises(KernelLengthError):
        golomb_coded_set([bytes(31), bytes(33)])


@pytest.mark.parametrize("length", [0, 15, 17])
def test_other_keys_are_refused(length: int) -> None:
    with pytest.raises(KernelLengthError):
        golomb_coded_set([], bytes(length))
