"""Choices read from bytes, so that a fuzzer's bytes become a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Cursor:
    """Reads from the front; behind the end all is zero."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def number(self) -> int:
        """u16, so that one choice reaches sizes above a byte."""
        return self.byte() << 8 | self.byte()

    def choose(self, options: Sequence[T]) -> T:
        return options[self.byte() % len(options)]

    def take(self, size: int) -> bytes:
        """At most so many bytes."""
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        return self.take(len(self._data))


def cut(data: bytes, step: int) -> list[bytes]:
    """Pieces of `step` bytes; 0: all in one."""
    step = step or len(data) or 1
    return [data[at : at + step] for at in range(0, len(data), step)]
