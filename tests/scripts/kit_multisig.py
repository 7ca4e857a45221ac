"""Arguments of multisig locks."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.builders.mock_transactions import Key


def configuration(require_first: int, threshold: int, keys: Sequence[Key], reserved: int = 0) -> bytes:
    return bytes([reserved, require_first, threshold, len(keys)]) + b"".join(key.hash for key in keys)


def epoch(number: int, index: int, length: int, relative: bool = False) -> int:
    return (0xA0 if relative else 0x20) << 56 | length << 40 | index << 24 | number
