"""Raw snappy of messages: the block format, without the framing that files have."""

from __future__ import annotations

from typing import Final

import cramjam

from network.limits import MAX_UNCOMPRESSED

__all__ = ["COMPRESSED", "COMPRESS_ABOVE", "BrokenCompression", "compress", "decompress"]

COMPRESSED: Final = 0x80
"""Bit of the flag byte before a message; the other bits are ignored."""
COMPRESS_ABOVE: Final = 1024
"""Bytes of a payload from which on a sender compresses."""
MAX_EXPANSION: Final = 22
"""The format's densest element makes 64 bytes of 3: who declares more than this cannot keep it."""

Buffer = bytes | bytearray | memoryview


class BrokenCompression(ValueError):  # noqa: N818 - the condition is its name, as in network.framing
    """What came is no snappy block, or one too large."""


def compress(payload: bytes) -> bytes | None:
    """The compressed payload when it is long enough to try and becomes shorter, else None."""
    if len(payload) <= COMPRESS_ABOVE:
        return None
    compressed = cramjam.snappy.compress_raw(payload)
    return bytes(compressed) if len(compressed) < len(payload) else None


def decompress(compressed: Buffer, most: int = MAX_UNCOMPRESSED) -> bytes:
    """At most so many bytes; the size that the block declares is checked before any memory is taken."""
    try:
        declared = cramjam.snappy.decompress_raw_len(compressed)
    except cramjam.DecompressionError as error:
        raise BrokenCompression(str(error)) from None
    if declared > most or declared > MAX_EXPANSION * len(compressed):
        raise BrokenCompression(f"{declared} bytes in {len(compressed)}")
    try:
        return bytes(cramjam.snappy.decompress_raw(compressed))
    except cramjam.DecompressionError as error:
        raise BrokenCompression(str(error)) from None
