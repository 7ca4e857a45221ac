"""Messages on a stream of bytes, each behind its length: u32, big endian, as on all wires of CKB. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["LENGTH_SIZE", "FrameTooLarge", "Frames", "frame"]

LENGTH_SIZE: Final = 4
"""Bytes of the length, which does not count itself."""


class FrameTooLarge(ValueError):  # noqa: N818 - the condition is its name, as in storage.errors
    """A length above the limit; the stream cannot be read any further. Both in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a frame of {size} bytes, of at most {limit}")
        self.size, self.limit = size, limit


def frame(body: bytes) -> bytes:
    """The body behind its length. OverflowError from 4 GiB on."""
    return len(body).to_bytes(LENGTH_SIZE, "big") + body


class Frames:
    """Cuts a stream into bodies. It holds at most one unfinished frame and the bytes of one `feed`."""

    def __init__(self, max_size: int) -> None:
        """`max_size` of a body, in bytes."""
        self._max_size: Final = max_size
        self._buffer: Final = bytearray()

    @property
    def is_inside(self) -> bool:
        """A frame has begun and is not complete: a stream that ends here is cut."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete now, to be used up before the next call. Raises FrameTooLarge as soon as the
        length is there, before the body is."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= LENGTH_SIZE:
            size = int.from_bytes(buffer[start : start + LENGTH_SIZE], "big")
            if size > self._max_size:
                raise FrameTooLarge(size, self._max_size)
            end = start + LENGTH_SIZE + size
            if end > len(buffer):
                break
            yield bytes(buffer[start + LENGTH_SIZE : end])
            start = end
        del buffer[:start]
