"""Compact target, target, difficulty. Literals: ckb `util/types/src/utilities/tests/difficulty.rs`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.crypto.difficulty import (
    U256_MAX,
    compact_to_difficulty,
    compact_to_target,
    difficulty_to_compact,
    difficulty_to_target,
    target_to_compact,
    target_to_difficulty,
)


@pytest.mark.parametrize(
    ("compact", "target"),
    [
        (0x0, 0),
        (0x123456, 0),
        (0x1003456, 0),
        (0x2000056, 0),
        (0x3000000, 0),
        (0x4000000, 0),
        (0x923456, 0),
        (0x1803456, 0x80),
        (0x2800056, 0x8000),
        (0x3800000, 0x800000),
        (0x4800000, 0x80000000),
        (0x1020000, 0x2),
        (0x1FEDCBA, 0xFE),
        (0x2123456, 0x1234),
        (0x3123456, 0x123456),
        (0x4123456, 0x12345600),
        (0x4923456, 0x92345600),
        (0x4923400, 0x92340000),
        (0x20123456, 0x123456 << 232),
        (0x20FFFFFF, 0xFFFFFF << 232),
    ],
)
def test_compact_to_target(compact: int, target: int) -> None:
    assert compact_to_target(compact) == target


@pytest.mark.parametrize(
    ("target", "compact"),
    [
        (0, 0),
        (0x2, 0x1020000),
        (0xFE, 0x1FE0000),
        (0x1234, 0x2123400),
        (0x123456, 0x3123456),
        (0x12345600, 0x4123456),
        (0x92345600, 0x4923456),
        (0x92340000, 0x4923400),
        (0x123456 << 232, 0x20123456),
        (1, 0x1010000),
        (U256_MAX, 0x20FFFFFF),
    ],
)
def test_target_to_compact(target: int, compact: int) -> None:
    assert target_to_compact(target) == compact


@pytest.mark.parametrize("compact", [0xFF123456, 0x21000001, 0x22000001, 0x23000001])
def test_an_exponent_above_32_has_no_target(compact: int) -> None:
    assert compact_to_target(compact) == 0
    assert compact_to_difficulty(compact) == 0


def test_extremes() -> None:
    assert compact_to_difficulty(0x1010000) == U256_MAX
    assert difficulty_to_compact(U256_MAX) == 0x1010000
    assert compact_to_difficulty(0x20FFFFFF) == 1
    assert difficulty_to_compact(1) == 0x20FFFFFF
    assert compact_to_difficulty(0x20800000) == 2
    assert difficulty_to_target(2) == 1 << 255


def test_difficulty_of_real_targets() -> None:
    """Genesis targets of mainnet (0x08a97e followed by 23 bytes) and testnet (0x015555 followed by 27 bytes)."""
    assert compact_to_difficulty(0x1A08A97E) == (1 << 256) // (0x08A97E * 256**23)
    assert compact_to_difficulty(0x1E015555) == (1 << 256) // (0x015555 * 256**27) == 12_582_960


@given(st.integers(min_value=1, max_value=U256_MAX))
def test_compact_keeps_the_three_highest_bytes(target: int) -> None:
    kept = compact_to_target(target_to_compact(target))
    assert kept <= target
    dropped_bits = max((target.bit_length() + 7) // 8 - 3, 0) * 8
    assert kept == target >> dropped_bits << dropped_bits


@given(st.integers(min_value=2, max_value=U256_MAX))
def test_difficulty_is_the_quotient(number: int) -> None:
    assert target_to_difficulty(number) == difficulty_to_target(number) == (1 << 256) // number
