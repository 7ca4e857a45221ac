"""The sealed frames of secio in a stream of bytes. Those that arrive whole are handed on without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from network.framing import LENGTH_SIZE, FrameTooLarge

__all__ = ["RecordReader"]

LENGTH: Final = Struct(">I")


class RecordReader:
    """Cuts a stream into sealed frames. It holds at most the bytes of one unfinished frame that have come."""

    __slots__ = ("_max_size", "_partial")

    def __init__(self, max_size: int) -> None:
        """`max_size` of what is behind a length, in bytes."""
        self._max_size: Final = max_size
        self._partial = bytearray()

    @property
    def held_bytes(self) -> int:
        """Bytes of the unfinished frame."""
        return len(self._partial)

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """The frames that are complete now, without lengths; each to be used up before the next. Raises FrameTooLarge
        as soon as a length is there."""
        at, end = 0, len(data)
        if self._partial:
            at = self._fill(data)
            frame = self._partial
            if not self._is_complete(frame):
                return
            self._partial = bytearray()
            yield memoryview(frame)[LENGTH_SIZE:]
        while end - at >= LENGTH_SIZE:
            stop = at + LENGTH_SIZE + self._size(data, at)
            if stop > end:
                break
            yield data[at + LENGTH_SIZE : stop]
            at = stop
        self._partial += data[at:]

    def _fill(self, data: memoryview) -> int:
        """Add to the unfinished frame what belongs to it; gives where that ends."""
        partial = self._partial
        at = max(0, min(LENGTH_SIZE - len(partial), len(data)))
        partial += data[:at]
        if len(partial) < LENGTH_SIZE:
            return at
        stop = at + LENGTH_SIZE + self._size(partial, 0) - len(partial)
        partial += data[at:stop]
        return min(stop, len(data))

    def _is_complete(self, frame: bytearray) -> bool:
        return len(frame) >= LENGTH_SIZE and len(frame) == LENGTH_SIZE + self._size(frame, 0)

    def _size(self, data: bytearray | memoryview, at: int) -> int:
        size: int = LENGTH.unpack_from(data, at)[0]
        if size > self._max_size:
            raise FrameTooLarge(size, self._max_size)
        return size
