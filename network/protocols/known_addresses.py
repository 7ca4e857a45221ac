"""Which addresses a peer probably knows: a filter of fixed size that forgets slowly.

A stable Bloom filter (Deng and Rafiei, 2006) with the reference's parameters: 5000 cells that count down from 7,
3 % false positives. The reference keys it in one place with the address, in another with address and flags, so that it
tells peers their own address; here the address alone is the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from random import Random
from typing import Final

__all__ = ["KnownAddresses"]

CELLS: Final = 5000
FULL: Final = 7
HASHES: Final = 6
"""⌈log₂ (1 / 0.03)⌉"""
DECAY: Final = 49
"""Cells that are counted down with each insertion, so that false positives stay at 3 %."""

_COUNT_DOWN: Final = bytes(max(value - 1, 0) for value in range(256))
_SALT_SIZE: Final = 16


class KnownAddresses:
    """About 5 kB."""

    __slots__ = ("_cells", "_rng", "_salt")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._salt: Final = rng.randbytes(_SALT_SIZE)
        self._cells: Final = bytearray(CELLS)

    def add(self, key: bytes) -> None:
        self._decay()
        for cell in self._places(key):
            self._cells[cell] = FULL

    def update(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self.add(key)

    def __contains__(self, key: bytes) -> bool:
        return all(self._cells[cell] for cell in self._places(key))

    def _decay(self) -> None:
        start = self._rng.randrange(CELLS)
        end = start + DECAY
        cells = self._cells
        cells[start:end] = cells[start:end].translate(_COUNT_DOWN)
        if end > CELLS:
            cells[: end - CELLS] = cells[: end - CELLS].translate(_COUNT_DOWN)

    def _places(self, key: bytes) -> Iterator[int]:
        digest = blake2b(key, digest_size=16, key=self._salt).digest()
        first, step = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
        return ((first + turn * step) % CELLS for turn in range(HASHES))
