"""Tells by its first bytes whether a connection speaks HTTP (for a WebSocket) or secio: both come on one port.

A secio stream begins with a length below 16 MiB, so with a zero byte, which is in no method of HTTP. So one byte is
mostly enough. What is neither is called secio, whose handshake refuses it by its first length.
"""

from __future__ import annotations

from enum import Enum
from string import ascii_letters, digits
from typing import Final

__all__ = ["SNIFF_SIZE", "Wire", "sniff"]

SNIFF_SIZE: Final = 16
"""Bytes after which it is always clear."""
_TOKEN: Final = frozenset((ascii_letters + digits + "!#$%&'*+-.^_`|~").encode())
"""What a method may consist of (RFC 9110, 5.6.2)."""
_SPACE: Final = 0x20


class Wire(Enum):
    """What is spoken on a fresh connection."""

    SECIO = "secio"
    HTTP = "http"


def sniff(start: bytes | bytearray | memoryview) -> Wire | None:
    """`start` is all that the connection has brought; None: not yet clear."""
    for at, byte in enumerate(start[:SNIFF_SIZE]):
        if byte == _SPACE and at:
            return Wire.HTTP
        if byte not in _TOKEN:
            return Wire.SECIO
    return Wire.HTTP if len(start) >= SNIFF_SIZE else None
