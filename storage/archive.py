"""Append-only segment files for block bodies.

A record is a 12-byte head (magic `CKBR`, payload length u32 LE, CRC-32 of the payload u32 LE) and the raw payload.
Records fill `blocks-00000.dat`, `blocks-00001.dat`, … in order; a segment that would pass the size limit is left and
the next one begun. The database, not the archive, says which records count: whatever lies behind the last record it
knows is the rest of a commit that never happened, and is cut off at open. The database's lock guards the archive too:
open the database first.

Records are gathered in memory and written many at a time: a system call for each small block would cost a tenth of the
time that its rules take. They are in the file before `flush` or `sync` returns, and before anybody reads them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, Protocol

from storage.errors import (
    ArchiveBehindDatabase,
    ArchiveUnknown,
    StorageClosed,
    StorageCorrupt,
    WritesRefused,
    from_os_error,
)

__all__ = ["LOCATION_SIZE", "Archive", "BlockArchive", "Location", "MemoryArchive"]

_HEAD: Final = Struct("<4sII")
_MAGIC: Final = b"CKBR"
_LOCATION: Final = Struct("<III")
LOCATION_SIZE: Final = _LOCATION.size
DEFAULT_SEGMENT_SIZE: Final = 256 << 20
MAX_RECORD_SIZE: Final = 64 << 20
"""Largest payload in bytes: far above any block, far below what could hurt to allocate."""
_GATHERED: Final = 256 << 10
"""Bytes of records in memory from which on they are written before the next is added."""
_OPEN_SEGMENTS: Final = 64
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
        return self.offset + _HEAD.size + self.length


class Archive(Protocol):
    """What the chain store needs of an archive."""

    def append(self, raw: bytes, /) -> Location:
        """Store a payload behind the last one. Not safe from a kill before `flush`, nor from a power cut before `sync`.

        The disk may say only then that it is full; what was appended stays to be written, and no later call succeeds
        without it.
        """

    def read(self, location: Location, /) -> bytes:
        """The whole payload, checksum verified."""

    def read_slice(self, location: Location, start: int, length: int, /) -> bytes:
        """Bytes `start` to `start + length` of the payload, checksum not verified."""

    def flush(self) -> None:
        """Return when all that was appended is in the file: the system has it."""

    def sync(self) -> None:
        """Return when all that was appended is on the disk."""

    def close(self) -> None:
        """Close; further use raises StorageClosed."""


class _Segment:
    """The segment that grows: what is in its file, and what was gathered to stand behind that.

    What was gathered says itself where it belongs, and comes and goes by one step: whatever cuts a change short, as
    Ctrl-C does, no later record comes to stand elsewhere than its location says.
    """

    def __init__(self, directory: Path, number: int, written: int, flags: int) -> None:
        """Open its file, of which `written` bytes count."""
        self.number: Final = number
        self.path: Final = _segment_path(directory, number)
        self.written = written
        self.gathered: list[tuple[Location, bytes, bytes]] = []
        """Heads and payloads, in order; it may be that some of the first are in the file already."""
        self.file: Final = _Handle(os.open(self.path, _WRITE | flags, 0o644))

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
            while done < len(data):  # a nearly full disk, or a signal: the next write goes on or says why not
                done += os.pwrite(self.file.fd, data[done:] if done else data, start + done)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self.file.fd, self.written)
            raise from_os_error(self.path, error) from error
        self.written = end
        self.gathered = []


class BlockArchive:
    """The archive on disk. One thread appends; any thread reads, or syncs what was appended before."""

    def __init__(self, path: Path, last: Location | None, *, segment_size: int = DEFAULT_SEGMENT_SIZE) -> None:
        """Open or create the directory `path` and cut what lies behind `last`, the last record the database knows.

        Raises ArchiveBehindDatabase if `last` is not there whole, ArchiveUnknown if there is no `last` but more than
        one segment, NotWritable, DiskFull or StorageError.
        """
        if not 0 < segment_size <= 1 << 31:
            raise ValueError(f"segment size {segment_size} is not within 1..2**31")
        self._path: Final = path
        self._segment_size: Final = segment_size
        self._readers: Final = _Readers(path)
        self._closed = False
        self._sync_failure: str | None = None
        self._writing: Final = threading.Lock()
        self._syncing: Final = threading.Lock()
        """Whoever needs both takes `_writing` first."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            end = _cut_tail(path, last)
            self._segment = _Segment(path, 0 if last is None else last.segment, end, 0)
            os.ftruncate(self._segment.file.fd, end)
            _sync_directory(path)
        except OSError as error:
            raise from_os_error(path, error) from error

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    def append(self, raw: bytes, /) -> Location:
        """See Archive. On an error (ValueError for an impossible size, DiskFull, StorageError) nothing was appended."""
        if not 0 < len(raw) <= MAX_RECORD_SIZE:
            raise ValueError(f"record of {len(raw)} bytes is not within 1..{MAX_RECORD_SIZE}")
        head = _HEAD.pack(_MAGIC, len(raw), zlib.crc32(raw))
        with self._writing:
            self._refuse_writes_if_unfit()
            segment, end = self._segment, self._segment.end
            if end > 0 and end + _HEAD.size + len(raw) > self._segment_size:
                segment = self._roll()
            elif end - segment.written >= _GATHERED:
                segment.write()
            return segment.add(head, raw)

    def read(self, location: Location, /) -> bytes:
        """See Archive. Raises StorageCorrupt if the record is missing, cut or changed; what `flush` does, if it was
        not written yet."""
        self._flush_for(location)
        return _checked_payload(self._readers.pread(location, 0, _HEAD.size + location.length), location, self._path)

    def read_slice(self, location: Location, start: int, length: int, /) -> bytes:
        """See Archive. Raises ValueError for a slice outside the payload, StorageCorrupt if the file ends before; what
        `flush` does, if the record was not written yet."""
        _check_slice(location, start, length)
        self._flush_for(location)
        return self._readers.pread(location, _HEAD.size + start, length)

    def flush(self) -> None:
        """See Archive."""
        with self._writing:
            self._refuse_writes_if_unfit()
            self._segment.write()

    def _flush_for(self, location: Location) -> None:
        """The record is to be read. Any thread: who knows of a record knows that its segment was begun."""
        segment = self._segment
        if location.segment == segment.number and location.end > segment.written:
            self.flush()

    def sync(self) -> None:
        """See Archive. Segments left behind were synced when they were left.

        After a failed sync the system may have dropped the unwritten pages, so a second try would prove nothing:
        every further append and sync raises WritesRefused.
        """
        self.flush()
        segment = self._segment  # what was appended before is in it, or in one that was left since
        with self._only_sync(segment.path):
            os.fdatasync(segment.file.fd)

    def records(self) -> Iterator[tuple[Location, bytes]]:
        """All records from the first on, each verified; for checks and rescue. Raises StorageCorrupt at a bad one."""
        self.flush()
        for segment in range(self._segment.number + 1):
            is_last = segment == self._segment.number
            end = self._segment.end if is_last else _segment_path(self._path, segment).stat().st_size
            offset = 0
            while offset < end:
                head = self._readers.pread(Location(segment, offset, 0), 0, _HEAD.size)
                location = Location(segment, offset, _HEAD.unpack(head)[1])
                if location.end > end:
                    raise StorageCorrupt(_segment_path(self._path, segment), f"record at {offset} passes the end")
                yield location, self.read(location)
                offset = location.end

    def close(self) -> None:
        """See Archive. Does not sync. Waits for who writes or syncs: their file must not become another's."""
        with self._writing, self._syncing:
            self._closed = True
            self._readers.close()
            self._segment.file.close()

    def _roll(self) -> _Segment:
        """Leave the current segment, written and synced, and begin the next."""
        segment = self._segment
        segment.write()
        with self._only_sync(segment.path):
            os.fdatasync(segment.file.fd)
        try:
            fresh = _Segment(self._path, segment.number + 1, 0, os.O_TRUNC)
            directory = _Handle(os.open(self._path, _DIRECTORY))
        except OSError as error:
            raise from_os_error(_segment_path(self._path, segment.number + 1), error) from error
        with self._only_sync(self._path):
            os.fsync(directory.fd)
        self._segment = fresh
        return fresh

    @contextlib.contextmanager
    def _only_sync(self, path: Path) -> Iterator[None]:
        """One sync at a time, none after one that failed: the system reports a failure once, and who asks beside or
        after the one who is told must not take silence for success."""
        with self._syncing:
            self._refuse_writes_if_unfit()
            try:
                yield
            except OSError as error:
                self._sync_failure = error.strerror or str(error)
                raise from_os_error(path, error) from error

    def _refuse_writes_if_unfit(self) -> None:
        if self._closed:
            raise StorageClosed(self._path, "the archive is closed")
        if self._sync_failure is not None:
            raise WritesRefused(self._path, f"a sync failed before ({self._sync_failure}); open the archive again")


class MemoryArchive:
    """The archive's twin in memory: one endless segment."""

    def __init__(self) -> None:
        self._records: Final[dict[int, bytes]] = {}
        self._end = 0

    def append(self, raw: bytes, /) -> Location:
        """See Archive."""
        if not 0 < len(raw) <= MAX_RECORD_SIZE:
            raise ValueError(f"record of {len(raw)} bytes is not within 1..{MAX_RECORD_SIZE}")
        # Offsets are u32 on disk, so the twin counts records instead of bytes and never runs out in practice.
        location = Location(0, self._end, len(raw))
        self._records[self._end] = raw
        self._end += 1
        return location

    def read(self, location: Location, /) -> bytes:
        """See Archive."""
        raw = self._records.get(location.offset)
        if raw is None or len(raw) != location.length:
            raise StorageCorrupt(":memory:", f"no record at {location}")
        return raw

    def read_slice(self, location: Location, start: int, length: int, /) -> bytes:
        """See Archive."""
        _check_slice(location, start, length)
        return self.read(location)[start : start + length]

    def flush(self) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Drop everything."""
        self._records.clear()


class _Handle:
    """A file descriptor that closes with its last user, so that a reader never meets a descriptor closed under it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class _Readers:
    """The segments last read from, kept open; bounded, since a mainnet archive has more of them than a process may."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._lock: Final = threading.Lock()
        self._open: Final[OrderedDict[int, _Handle]] = OrderedDict()
        self._closed = False

    def pread(self, location: Location, skip: int, length: int) -> bytes:
        """`length` bytes from `skip` behind the record's start; bounded by MAX_RECORD_SIZE."""
        segment, offset, _ = location
        path = _segment_path(self._path, segment)
        if length > _HEAD.size + MAX_RECORD_SIZE:
            raise StorageCorrupt(path, f"record at {offset} claims {length} bytes")
        try:
            handle = self._handle(segment)  # named, so that it stays open until the read is done
            data = os.pread(handle.fd, length, offset + skip)
        except FileNotFoundError as error:
            raise StorageCorrupt(path, "the segment is missing") from error
        except OSError as error:
            raise from_os_error(path, error) from error
        if len(data) != length:
            raise StorageCorrupt(path, f"the file ends within the record at {offset}")
        return data

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._open.clear()

    def _handle(self, segment: int) -> _Handle:
        with self._lock:
            if self._closed:
                raise StorageClosed(self._path, "the archive is closed")
            handle = self._open.get(segment)
            if handle is None:
                handle = self._open[segment] = _Handle(os.open(_segment_path(self._path, segment), _READ))
                if len(self._open) > _OPEN_SEGMENTS:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(segment)
            return handle


def _segment_path(path: Path, segment: int) -> Path:
    return path / f"blocks-{segment:05d}.dat"


def _checked_payload(record: bytes, location: Location, path: Path) -> bytes:
    magic, length, checksum = _HEAD.unpack_from(record)
    payload = record[_HEAD.size :]
    if magic != _MAGIC or length != location.length:
        raise StorageCorrupt(
            _segment_path(path, location.segment), f"no record of {location.length} bytes at {location.offset}"
        )
    if zlib.crc32(payload) != checksum:
        raise StorageCorrupt(
            _segment_path(path, location.segment), f"checksum of the record at {location.offset} differs"
        )
    return payload


def _check_slice(location: Location, start: int, length: int) -> None:
    if start < 0 or length < 0 or start + length > location.length:
        raise ValueError(f"bytes {start}..{start + length} are outside a record of {location.length} bytes")


def _cut_tail(path: Path, last: Location | None) -> int:
    """Check that `last` is there whole, remove later segments; return where the last segment is to end."""
    segments = sorted(path.glob("blocks-*.dat"))
    if last is None:
        if len(segments) > 1:
            raise ArchiveUnknown(
                path, f"{len(segments)} segments, none known to the database; move them away to begin anew"
            )
        return 0
    current = _segment_path(path, last.segment)
    size = current.stat().st_size if current.exists() else 0
    if size < last.end:
        raise ArchiveBehindDatabase(current, last.end, size)
    with current.open("rb") as file:
        _checked_payload(
            os.pread(file.fileno(), min(last.end - last.offset, _HEAD.size + MAX_RECORD_SIZE), last.offset), last, path
        )
    # From the last one down, so that a kill in between leaves no gap.
    for later in reversed(segments):
        if later.name > current.name:
            later.unlink()
    return last.end


def _sync_directory(path: Path) -> None:
    directory = _Handle(os.open(path, _DIRECTORY))  # named, so that it stays open until it is synced
    os.fsync(directory.fd)
