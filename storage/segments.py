"""Segment files of the block archive, and the records in them.

A record is a 12-byte head (magic, payload length u32 LE, CRC-32 of the payload u32 LE) and the raw payload. There are
two kinds: bodies of blocks (`CKBR`), and marks of commits (`CKBM`, see `CommitMark`); a body that was given up has
`CKfb` in its head, and its room was given back to the disk. Records fill `blocks-00000.dat`,
`blocks-00001.dat`, … in order.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from storage.errors import StorageClosed, StorageCorrupt, from_os_error
from storage.holes import punch_hole

__all__ = [
    "BODY",
    "FREED",
    "HEAD",
    "LOCATION_SIZE",
    "MARK",
    "MARK_SIZE",
    "MAX_RECORD_SIZE",
    "CommitMark",
    "Handle",
    "Location",
    "Readers",
    "Segment",
    "checked_payload",
    "free_body",
    "record_head",
    "segment_path",
    "segments_of",
    "sync_directory",
]

HEAD: Final = Struct("<4sII")
BODY: Final = b"CKBR"
MARK: Final = b"CKBM"
FREED: Final = b"CKfb"
"""Two bytes from BODY, so that no single damaged byte makes a body look given up."""
_LOCATION: Final = Struct("<III")
LOCATION_SIZE: Final = _LOCATION.size
MAX_RECORD_SIZE: Final = 64 << 20
"""Largest payload in bytes: far above any block, small enough to allocate safely."""
_OPEN_SEGMENTS: Final = 64
_MARK: Final = Struct("<QQ32sB")
MARK_SIZE: Final = _MARK.size
_READ = os.O_RDONLY | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Location(NamedTuple):
    """Where a record is: segment number, offset of its head in bytes, payload length in bytes."""

    segment: int
    offset: int
    length: int

    def pack(self) -> bytes:
        """Three u32 LE, 12 bytes."""
        return _LOCATION.pack(self.segment, self.offset, self.length)

    @classmethod
    def unpack(cls, packed: bytes) -> Location:
        """The inverse of `pack`; raises struct.error when not 12 bytes."""
        return cls(*_LOCATION.unpack(packed))

    @property
    def end(self) -> int:
        """Offset of the first byte behind the record."""
        return self.offset + HEAD.size + self.length


class CommitMark(NamedTuple):
    """The archive's note of a commit: number `serial` was durable in the database, with this tip.

    It is written after the commit, so that a lost or rolled-back database is detected.
    `is_at_rest` when every body before the mark belongs to this commit or an earlier one; otherwise bodies of the
    next may stand before it.
    """

    serial: int
    tip_number: int
    tip_hash: bytes
    is_at_rest: bool

    def pack(self) -> bytes:
        """49 bytes: serial u64 LE, height of the tip u64 LE, its hash, one byte 1 or 0."""
        return _MARK.pack(*self)

    @classmethod
    def unpack(cls, packed: bytes) -> CommitMark:
        """The inverse of `pack`; raises struct.error when not 49 bytes."""
        serial, number, tip_hash, is_at_rest = _MARK.unpack(packed)
        return cls(serial, number, tip_hash, bool(is_at_rest))


class Segment:
    """The segment that grows: what is in its file, and what was gathered to stand behind that.

    Each gathered record has its location, and is added or removed in one step: even if an exception such as Ctrl-C
    interrupts a change, later records are written where their locations say.
    """

    def __init__(self, directory: Path, number: int, written: int, flags: int) -> None:
        """Open its file, of which `written` bytes count."""
        self.number: Final = number
        self.path: Final = segment_path(directory, number)
        self.written = written
        self.gathered: list[tuple[Location, bytes, bytes]] = []
        """Heads and payloads, in order; it may be that some of the first are in the file already."""
        self.file: Final = Handle(os.open(self.path, _WRITE | flags, 0o644))

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.gathered[-1][0].end if self.gathered else self.written

    def add(self, head: bytes, raw: bytes) -> Location:
        """Gather a record behind the last."""
        location = Location(self.number, self.end, len(raw))
        self.gathered.append((location, head, raw))
        return location

    def write(self) -> None:
        """Write what was gathered; on a failure take the part that was written away again, and keep all of it."""
        if not self.gathered:
            return
        start, end = self.gathered[0][0].offset, self.end
        data, done = b"".join([part for _, *parts in self.gathered for part in parts]), 0
        try:
            while done < len(data):  # a short write (full disk, signal): the next call goes on or raises
                done += os.pwrite(self.file.fd, data[done:] if done else data, start + done)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self.file.fd, self.written)
            raise from_os_error(self.path, error) from error
        self.written = end
        self.gathered = []

    def take_back(self, offset: int) -> None:
        """Forget the records from `offset` on. What cannot be cut off is written over."""
        self.gathered = [each for each in self.gathered if each[0].offset < offset]
        if self.written > offset:
            self.written = offset
            with contextlib.suppress(OSError):
                os.ftruncate(self.file.fd, offset)


class Handle:
    """A file descriptor that is closed with its last reference, never while a reader uses it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor now."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class Readers:
    """The segments last read from, kept open; bounded, since a mainnet archive has more of them than a process may."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._lock: Final = threading.Lock()
        self._open: Final[OrderedDict[int, Handle]] = OrderedDict()
        self._closed = False

    def pread(self, location: Location, skip: int, length: int) -> bytes:
        """`length` bytes from `skip` behind the record's start; bounded by MAX_RECORD_SIZE."""
        segment, offset, _ = location
        path = segment_path(self._path, segment)
        if length > HEAD.size + MAX_RECORD_SIZE:
            raise StorageCorrupt(path, f"record at {offset} claims {length} bytes")
        try:
            handle = self._handle(segment)  # the name keeps the descriptor open until the read is done
            data = os.pread(handle.fd, length, offset + skip)
        except FileNotFoundError as error:
            raise StorageCorrupt(path, "the segment is missing") from error
        except OSError as error:
            raise from_os_error(path, error) from error
        if len(data) != length:
            raise StorageCorrupt(path, f"the file ends within the record at {offset}")
        return data

    def close(self) -> None:
        """Close the files when their last reads end; further use raises StorageClosed."""
        with self._lock:
            self._closed = True
            self._open.clear()

    def _handle(self, segment: int) -> Handle:
        with self._lock:
            if self._closed:
                raise StorageClosed(self._path, "the archive is closed")
            handle = self._open.get(segment)
            if handle is None:
                handle = self._open[segment] = Handle(os.open(segment_path(self._path, segment), _READ))
                if len(self._open) > _OPEN_SEGMENTS:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(segment)
            return handle


def segment_path(path: Path, segment: int) -> Path:
    """The file of a segment."""
    return path / f"blocks-{segment:05d}.dat"


def record_head(magic: bytes, payload: bytes) -> bytes:
    """The head of a record."""
    return HEAD.pack(magic, len(payload), zlib.crc32(payload))


def segments_of(path: Path) -> list[int]:
    """Numbers of the segments that are there, lowest first."""
    names = (file.name[7:-4] for file in path.glob("blocks-*.dat"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def checked_payload(record: bytes, location: Location, path: Path) -> bytes:
    """The payload of a BODY record of the expected length. Raises StorageCorrupt if it or its checksum differs."""
    magic, length, checksum = HEAD.unpack_from(record)
    payload = record[HEAD.size :]
    if magic != BODY or length != location.length:
        raise StorageCorrupt(
            segment_path(path, location.segment), f"no record of {location.length} bytes at {location.offset}"
        )
    if zlib.crc32(payload) != checksum:
        raise StorageCorrupt(
            segment_path(path, location.segment), f"checksum of the record at {location.offset} differs"
        )
    return payload


def free_body(path: Path, location: Location) -> None:
    """Give up the body at a place. Harmless when it was given up before; raises StorageError."""
    file_path = segment_path(path, location.segment)
    try:
        handle = Handle(os.open(file_path, os.O_RDWR | os.O_CLOEXEC))
        kind, length, _ = HEAD.unpack(os.pread(handle.fd, HEAD.size, location.offset))
        if kind not in (BODY, FREED) or length != location.length:
            raise StorageCorrupt(file_path, f"no record of {location.length} bytes at {location.offset}")
        os.pwrite(handle.fd, FREED, location.offset)
        os.fdatasync(handle.fd)  # or a power cut could leave a body of zeros
        punch_hole(handle.fd, location.offset + HEAD.size, location.end)
    except struct_error as error:
        raise StorageCorrupt(file_path, f"the file ends within the record at {location.offset}") from error
    except OSError as error:
        raise from_os_error(file_path, error) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    directory = Handle(os.open(path, _DIRECTORY))  # the name keeps the descriptor open until it is synced
    os.fsync(directory.fd)
