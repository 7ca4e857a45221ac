"""Messages on a protocol's stream: u32 length, big endian, for most protocols a byte of flags, then the payload."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from network.ckb_wire.compression import COMPRESSED, BrokenCompression, compress, decompress
from network.ckb_wire.events import ProtocolFault
from network.framing import LENGTH_SIZE
from network.limits import ProtocolSpec
from network.peer import MessageTooLarge

__all__ = ["BrokenMessage", "MessageReader", "message_frame"]

LENGTH: Final = Struct(">I")
FLAG_SIZE: Final = 1
NO_LIMIT: Final = 1 << 62
VIEWED: Final = 4096
"""Pieces of a message from this size on are kept as views of what they came in."""


class BrokenMessage(ValueError):  # noqa: N818 - the condition is its name, as in network.framing
    """The stream of a protocol cannot be read any further."""

    def __init__(self, fault: ProtocolFault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault


def message_frame(protocol: ProtocolSpec, payload: bytes) -> tuple[bytes, bytes]:
    """What goes before a payload, and the payload, compressed where that helps. Raises MessageTooLarge, and ValueError
    for an empty payload where a flag byte precedes it: peers take that for a broken stream."""
    if not protocol.has_flag_byte:
        size, body, flag = len(payload), payload, b""
    elif not payload:
        raise ValueError(f"an empty message on {protocol.name}")
    else:
        compressed = compress(payload) if protocol.compresses else None
        body, flag = (payload, b"\x00") if compressed is None else (compressed, b"\x80")
        if compressed is not None and len(payload) > protocol.max_unpacked:
            raise MessageTooLarge(protocol, len(payload), protocol.max_unpacked)
        size = FLAG_SIZE + len(body)
    if size > protocol.max_frame:
        raise MessageTooLarge(protocol, size, protocol.max_frame)
    return size.to_bytes(LENGTH_SIZE, "big") + flag, body


class MessageReader:
    """Cuts a protocol's stream into messages. What it keeps of an unfinished one is at most twice as large as what came
    of it."""

    __slots__ = (
        "_deliver",
        "_flag",
        "_has_flag",
        "_max_size",
        "_max_unpacked",
        "_min_size",
        "_missing",
        "_pieces",
        "_prefix",
        "_prefix_size",
        "held_bytes",
    )

    def __init__(self, protocol: ProtocolSpec, deliver: Callable[[bytes], None]) -> None:
        """`deliver` gets each payload, decompressed."""
        self._deliver: Final = deliver
        self._max_size: Final = protocol.max_frame
        self._max_unpacked: Final = protocol.max_unpacked
        self._has_flag: Final = protocol.has_flag_byte
        self._min_size: Final = FLAG_SIZE + 1 if protocol.has_flag_byte else 0
        self._prefix_size: Final = LENGTH_SIZE + (FLAG_SIZE if protocol.has_flag_byte else 0)
        self._prefix = b""
        """The beginning of a length."""
        self._flag = 0
        self._missing = 0
        """Bytes of the unfinished message that are still to come."""
        self._pieces = list[bytes | bytearray | memoryview]()
        self.held_bytes = 0
        """Bytes of the unfinished message that have come."""

    @property
    def is_inside(self) -> bool:
        """A message has begun and is not complete."""
        return bool(self._missing or self._prefix)

    def feed(self, data: bytes, at: int, end: int, room: int = NO_LIMIT) -> int:
        """The stream's next bytes are data[at:end]. Delivers at most `room` messages, or one, and gives where it has
        stopped: what is behind must be fed again. Raises BrokenMessage."""
        offset = 0
        if self._missing:
            at = self._continue(data, at, end)
            room -= 1
        elif self._prefix:
            offset = at - len(self._prefix)
            data = self._prefix + data[at:end]
            at, end = 0, len(data)
            self._prefix = b""
        prefix_size, has_flag = self._prefix_size, self._has_flag
        while end - at >= prefix_size:
            if room <= 0:
                return at + offset
            room -= 1
            (size,) = LENGTH.unpack_from(data, at)
            if not self._min_size <= size <= self._max_size:
                raise self._bad_size(size)
            start = at + prefix_size
            at += LENGTH_SIZE + size
            if at > end:
                self._flag = data[start - 1] if has_flag else 0
                self._missing = at - start
                self._keep(data, start, end)
                return end + offset
            if has_flag and data[start - 1] & COMPRESSED:
                self._deliver(unpacked(memoryview(data)[start:at], self._max_unpacked))
            else:
                self._deliver(data[start:at])
        self._prefix = data[at:end]
        return end + offset

    def _continue(self, data: bytes, at: int, end: int) -> int:
        stop = min(at + self._missing, end)
        self._keep(data, at, stop)
        if not self._missing:
            body = b"".join(self._pieces)
            self._pieces.clear()
            self.held_bytes = 0
            self._deliver(unpacked(body, self._max_unpacked) if self._flag & COMPRESSED else body)
        return stop

    def _keep(self, data: bytes, at: int, end: int) -> None:
        """A view holds all of `data` in memory; so only pieces that are most of it are viewed."""
        size = end - at
        self._missing -= size
        self.held_bytes += size
        pieces = self._pieces
        if size >= VIEWED and 2 * size >= len(data):
            pieces.append(memoryview(data)[at:end])
            return
        last = pieces[-1] if pieces else None
        if type(last) is not bytearray:
            last = bytearray()
            pieces.append(last)
        last += memoryview(data)[at:end]

    def _bad_size(self, size: int) -> BrokenMessage:
        if size > self._max_size:
            return BrokenMessage(ProtocolFault.TOO_LARGE, f"{size} bytes, of at most {self._max_size}")
        return BrokenMessage(ProtocolFault.TOO_SHORT, f"{size} bytes, of at least {self._min_size}")


def unpacked(compressed: bytes | memoryview, most: int) -> bytes:
    """The payload of a message with the flag COMPRESSED, of so many bytes at most. Raises BrokenMessage."""
    try:
        return decompress(compressed, most)
    except BrokenCompression as error:
        raise BrokenMessage(ProtocolFault.BAD_COMPRESSION, str(error)) from None
