"""Compact target, target and difficulty of a block (RFC 20, RFC 27).

A target is a 256-bit number that the proof-of-work hash must not exceed; the difficulty is how many hashes a block
costs on average, 2²⁵⁶ / target. Headers keep the target as 32 bits: exponent byte and 3-byte mantissa without a sign,
`mantissa * 256 ** (exponent - 3)`. The way there and back loses precision, and the chain lives with that.
"""

from __future__ import annotations

from functools import lru_cache

HASH_SPACE = 1 << 256
U256_MAX = HASH_SPACE - 1
DIFFICULTY_TWO = 0x2080_0000
"""The compact target of difficulty 2: the easiest that tests use."""

_MANTISSA_BYTES = 3
_MANTISSA_MASK = 0x00FF_FFFF
_MAX_EXPONENT = 32


def compact_to_target(compact: int) -> int:
    """The 256-bit target of a u32; 0 when there is none: a zero mantissa, or an exponent above 32 bytes.

    No hash satisfies such a target, and its difficulty is 0.
    """
    exponent, mantissa = compact >> 24, compact & _MANTISSA_MASK
    if exponent > _MAX_EXPONENT:
        return 0
    if exponent <= _MANTISSA_BYTES:
        return mantissa >> 8 * (_MANTISSA_BYTES - exponent)
    return mantissa << 8 * (exponent - _MANTISSA_BYTES)


def target_to_compact(target: int) -> int:
    """The u32 of a 256-bit target: its three highest bytes, the rest is dropped."""
    exponent = (target.bit_length() + 7) // 8
    if exponent <= _MANTISSA_BYTES:
        mantissa = target << 8 * (_MANTISSA_BYTES - exponent)
    else:
        mantissa = target >> 8 * (exponent - _MANTISSA_BYTES)
    return exponent << 24 | mantissa


def target_to_difficulty(target: int) -> int:
    """⌊2²⁵⁶ / target⌋, at most 2²⁵⁶ - 1; `target` is positive."""
    return min(HASH_SPACE // target, U256_MAX)


def difficulty_to_target(difficulty: int) -> int:
    """⌊2²⁵⁶ / difficulty⌋, at most 2²⁵⁶ - 1; `difficulty` is positive."""
    return min(HASH_SPACE // difficulty, U256_MAX)


@lru_cache(maxsize=64)
def compact_to_difficulty(compact: int) -> int:
    """Difficulty of a header's compact target; 0 when it has no target. All blocks of an epoch share it."""
    target = compact_to_target(compact)
    return target_to_difficulty(target) if target else 0


def difficulty_to_compact(difficulty: int) -> int:
    """Compact target of a positive difficulty."""
    return target_to_compact(difficulty_to_target(difficulty))
