"""Targets of shares, as pools write them: hexadecimal digits, or a difficulty."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Final

from ckb_node.miner.pool_login import PoolError
from consensus.crypto.difficulty import U256_MAX

DIFFICULTY_ONE: Final = 1 << 224
"""Such a target has a share of difficulty 1."""
_TARGET: Final = re.compile(r"[0-9a-fA-F]{1,64}", re.ASCII)


def target_of_text(text: Any, *, is_little_endian: bool) -> int:
    """From up to 64 digits, with or without 0x. Raises PoolError, for the target 0 too."""
    digits = text.removeprefix("0x") if isinstance(text, str) else ""
    if not _TARGET.fullmatch(digits):
        raise PoolError("a target is no text of 64 hexadecimal digits")
    if is_little_endian:
        digits = bytes.fromhex(digits.rjust(64, "0"))[::-1].hex()
    target = int(digits, 16)
    if target == 0:
        raise PoolError("a target is 0, which no nonce meets")
    return target


def target_of_difficulty(difficulty: Any) -> int:
    """2²²⁴ divided by a number above 0. Raises PoolError."""
    is_number = isinstance(difficulty, int) or (isinstance(difficulty, float) and math.isfinite(difficulty))
    if not is_number or isinstance(difficulty, bool) or difficulty <= 0:
        raise PoolError("a difficulty is no number above 0")
    target = int(DIFFICULTY_ONE / Fraction(difficulty))
    if target == 0:
        raise PoolError("a difficulty is larger than any target has")
    return min(target, U256_MAX)
