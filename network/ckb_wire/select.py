"""Which protocol a stream is for: its opener names one and the versions it knows, the other side picks one or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.codec.molecule import BYTES, BYTES_VEC, Field, Table, field
from consensus.errors import MoleculeError
from network.framing import LENGTH_SIZE, frame

__all__ = ["MAX_SELECT", "SelectError", "SelectReader", "Selection", "common_version", "select_frame"]

MAX_SELECT: Final = 1024
"""Bytes of such a message. The reference's limit is 8 MiB; names and versions have a few dozen."""


class SelectError(ValueError):
    """What came is no such message."""


class ProtocolInfo(Table):
    """The message of both sides."""

    name: Field[bytes] = field(BYTES)
    support_versions: Field[Sequence[bytes]] = field(BYTES_VEC)


@dataclass(frozen=True, slots=True)
class Selection:
    """A protocol's name and versions: all that the opener knows, or the one that was picked, or none."""

    name: str
    versions: tuple[str, ...]


def select_frame(name: str, versions: Iterable[str]) -> bytes:
    """The message with its length."""
    info = ProtocolInfo(name=name.encode(), support_versions=[version.encode() for version in versions])
    return frame(info.raw)


def common_version(ours: Iterable[str], theirs: Iterable[str]) -> str | None:
    """The last in the order of strings that both know."""
    return max(set(ours) & set(theirs), default=None)


class SelectReader:
    """Takes one message from the beginning of a stream."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, start: int, end: int) -> tuple[Selection, int] | None:
        """The message, when it is complete, and where in `data` it ends. SelectError when it is broken or too large."""
        buffer = self._buffer
        at = start
        if len(buffer) < LENGTH_SIZE:
            at = self._take(data, at, end, LENGTH_SIZE)
            if len(buffer) < LENGTH_SIZE:
                return None
        size = int.from_bytes(buffer[:LENGTH_SIZE], "big")
        if size > MAX_SELECT:
            raise SelectError(f"{size} bytes, of at most {MAX_SELECT}")
        at = self._take(data, at, end, LENGTH_SIZE + size)
        if len(buffer) < LENGTH_SIZE + size:
            return None
        return parse_selection(bytes(buffer[LENGTH_SIZE:])), at

    def _take(self, data: bytes, at: int, end: int, size: int) -> int:
        stop = min(end, at + size - len(self._buffer))
        self._buffer += data[at:stop]
        return stop


def parse_selection(body: bytes) -> Selection:
    """The message without its length; SelectError."""
    try:
        info = ProtocolInfo.parse(body, compatible=True)
        return Selection(info.name.decode(), tuple(version.decode() for version in info.support_versions))
    except (MoleculeError, UnicodeDecodeError) as error:
        raise SelectError(str(error)) from None
