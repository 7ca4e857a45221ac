"""Roots of generated code against the plain tree."""

from __future__ import annotations

from random import Random

import pytest

from consensus.crypto.merkle import merkle_root
from consensus.kernels.merkle import KERNEL, MIN_LEAVES, fast_merkle_root
from consensus.kernels.merkle_code import MAX_LEAVES
from consensus.kernels.runtime import KernelLengthError

COUNTS = (0, 1, 2, 3, 7, MIN_LEAVES - 1, MIN_LEAVES, 17, 100, 1001, MAX_LEAVES - 1, MAX_LEAVES, MAX_LEAVES + 1)


def some_leaves(count: int) -> list[bytes]:
    random = Random(count)
    return [random.randbytes(32) for _ in range(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_roots(count: int) -> None:
    leaves = some_leaves(count)
    assert fast_merkle_root(leaves) == merkle_root(leaves)


def test_small_trees_by_generated_code() -> None:
    """And nothing of a larger tree is left over."""
    fast_merkle_root(some_leaves(300))
    for count in range(2, 70):
        leaves = some_leaves(count)
        assert KERNEL.here().root(leaves) == merkle_root(leaves)


def test_the_most_by_generated_code(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = some_leaves(MAX_LEAVES)
    expected = merkle_root(leaves)
    monkeypatch.setattr("consensus.kernels.merkle.merkle_root", None)
    assert fast_merkle_root(leaves) == expected


def test_leaves_of_another_size() -> None:
    leaves = some_leaves(MIN_LEAVES)
    with pytest.raises(KernelLengthError):
        fast_merkle_root([*leaves, b"short"])
