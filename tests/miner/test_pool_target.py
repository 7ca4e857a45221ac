"""Targets in both byte orders, and difficulties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckb_node.miner.pool_login import PoolError
from ckb_node.miner.pool_target import DIFFICULTY_ONE, target_of_difficulty, target_of_text
from consensus.crypto.difficulty import U256_MAX


@given(st.integers(1, U256_MAX), st.booleans())
def test_what_is_written_is_read(target: int, is_little_endian: bool) -> None:
    digits = target.to_bytes(32, "little" if is_little_endian else "big").hex()
    assert target_of_text(digits, is_little_endian=is_little_endian) == target
    assert target_of_text(f"0x{digits}", is_little_endian=is_little_endian) == target


def test_the_chapters_example() -> None:
    text = "0001" + "00" * 30
    assert target_of_text(text, is_little_endian=False) == 1 << 240


@pytest.mark.parametrize("text", [None, 5, "", "0x", "00", "0" * 64, "g" * 64, "f" * 65, "1" * 1_000_000, "-1", "+1"])
def test_texts_that_are_none(text: Any) -> None:
    with pytest.raises(PoolError):
        target_of_text(text, is_little_endian=False)


@pytest.mark.parametrize(
    ("difficulty", "target"),
    [
        (1, DIFFICULTY_ONE),
        (1.0, DIFFICULTY_ONE),
        (2, DIFFICULTY_ONE >> 1),
        (65536, 1 << 208),
        (0.5, DIFFICULTY_ONE << 1),
        (1e-300, U256_MAX),
        (1 << 224, 1),
    ],
)
def test_difficulties(difficulty: float, target: int) -> None:
    assert target_of_difficulty(difficulty) == target


@pytest.mark.parametrize(
    "difficulty", [None, "1", True, 0, -1, -0.5, float("nan"), float("inf"), (1 << 224) + 1, 10**400]
)
def test_difficulties_that_are_none(difficulty: Any) -> None:
    with pytest.raises(PoolError):
        target_of_difficulty(difficulty)
