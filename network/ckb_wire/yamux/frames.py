"""Frames of yamux: a header of 12 bytes, and data behind it in frames of kind DATA.

The header: version (0), kind, flags u16, stream id u32, length u32, all big endian. What `length` means is told at each
kind. The specification is hashicorp's; limits are the reference's.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

__all__ = [
    "ACK",
    "DATA",
    "FIN",
    "GO_AWAY",
    "HEADER",
    "HEADER_SIZE",
    "INITIAL_WINDOW",
    "MAX_DATA",
    "MAX_WINDOW",
    "PING",
    "RST",
    "SYN",
    "WINDOW_UPDATE",
    "GoAwayCode",
    "go_away",
    "ping",
    "window_update",
]

HEADER: Final = Struct(">HHII")
"""Version and kind are read as one number: as the version is 0, it is the kind."""
HEADER_SIZE: Final = HEADER.size

DATA: Final = 0
"""`length` bytes follow; they count against the stream's window."""
WINDOW_UPDATE: Final = 1
"""The receiver of this frame may send `length` bytes more."""
PING: Final = 2
"""With SYN a question, with ACK the answer; `length` is a number of the asker's choice. Stream id 0."""
GO_AWAY: Final = 3
"""The session ends; `length` is a GoAwayCode. Stream id 0."""

SYN: Final = 1
"""Opens the stream."""
ACK: Final = 2
"""Accepts the stream."""
FIN: Final = 4
"""The sender will send no more data."""
RST: Final = 8
"""The stream is gone; with ACK: it was never accepted."""

INITIAL_WINDOW: Final = 256 << 10
"""Bytes that each side may send on a new stream."""
MAX_WINDOW: Final = 1 << 20
"""Bytes of a stream that this side lets come before they are used up; told when a stream opens."""
MAX_DATA: Final = 1 << 20
"""Bytes of a data frame that the reference accepts."""


class GoAwayCode(IntEnum):
    """Why a session ends."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


def window_update(flags: int, stream_id: int, delta: int) -> bytes:
    """Also what carries the flags of streams that have nothing to send."""
    return HEADER.pack(WINDOW_UPDATE, flags, stream_id, delta)


def ping(flags: int, value: int) -> bytes:
    """SYN asks, ACK answers with the same value."""
    return HEADER.pack(PING, flags, 0, value)


def go_away(code: GoAwayCode) -> bytes:
    """The last frame of a session."""
    return HEADER.pack(GO_AWAY, 0, 0, code)
