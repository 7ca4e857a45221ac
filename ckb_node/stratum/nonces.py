"""Which part of the 16 nonce bytes is whose: a miner searches what follows the first bytes, which are its own.

The bytes stand in the hashed message as they are written in hex; `header.nonce` is the number that they are
little-endian.
"""

from __future__ import annotations

import secrets
from typing import Final

from ckb_node.stratum.limits import OWN_TIMES

NONCE_BYTES: Final = 16
PREFIX_BYTES: Final = 4
"""That no two connections share."""
_NUMBERS: Final = 1 << 8 * PREFIX_BYTES


class NonceSpace:
    """Numbers of connections, not used again before all others were."""

    def __init__(self, first: int | None = None) -> None:
        """By default they begin anywhere: jobs of a former run may still be worked on."""
        self._next = secrets.randbelow(_NUMBERS) if first is None else first % _NUMBERS
        self._used: Final[set[int]] = set()

    def take(self) -> int:
        """A number for a connection."""
        while self._next in self._used:
            self._next = (self._next + 1) % _NUMBERS
        number, self._next = self._next, (self._next + 1) % _NUMBERS
        self._used.add(number)
        return number

    def give_back(self, number: int) -> None:
        """The connection has ended."""
        self._used.discard(number)


class TimeSpace:
    """For miners that choose all of the nonce: each gets a header with another time, in milliseconds after the
    template's. The smallest that is free, since blocks must not be of the future."""

    def __init__(self) -> None:
        self._used: Final[set[int]] = set()
        self._least_free = 1

    def take(self) -> int | None:
        """None when all are in use."""
        offset = self._least_free
        if offset > OWN_TIMES:
            return None
        self._used.add(offset)
        while self._least_free in self._used:
            self._least_free += 1
        return offset

    def give_back(self, offset: int) -> None:
        """The connection has ended."""
        self._used.discard(offset)
        self._least_free = min(self._least_free, offset)


def nonce1_of(number: int, size: int) -> bytes:
    """The first bytes of the nonces of a connection; `size` of 4 or more, 0 for none."""
    return number.to_bytes(PREFIX_BYTES, "big").ljust(size, b"\0") if size else b""


def nonce_number(nonce: bytes) -> int:
    """`header.nonce` of 16 bytes as they are hashed."""
    return int.from_bytes(nonce, "little")
