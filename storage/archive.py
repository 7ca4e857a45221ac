"""The block archive: bodies of blocks in append-only segment files (see `storage.segments`).

The database decides which bodies count: bodies behind the last one that it knows belong to an interrupted commit and
are cut off at open. After each commit the archive also records a commit mark, so that a lost or rolled-back database is
detected before anything is cut. The database's lock guards the archive too: open the database first.

Records are gathered in memory and written many at a time: a system call for each small block would cost a tenth of the
time that its rules take. They are in the file before `flush` or `sync` returns, and before anybody reads them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from storage.archive_scan import DAMAGED, check_tail, scan
from storage.errors import StorageClosed, StorageCorrupt, StorageError, WritesRefused, from_os_error
from storage.recent_contents import RecentContents
from storage.segments import (
    BODY,
    HEAD,
    LOCATION_SIZE,
    MARK,
    MAX_RECORD_SIZE,
    CommitMark,
    Handle,
    Location,
    Readers,
    Segment,
    checked_payload,
    record_head,
    segment_path,
    segments_of,
    sync_directory,
)

__all__ = ["LOCATION_SIZE", "Archive", "BlockArchive", "CommitMark", "Location", "MemoryArchive"]

DEFAULT_SEGMENT_SIZE: Final = 256 << 20
_GATHERED: Final = 256 << 10
"""Bytes of records in memory from which on they are written before the next is added."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Archive(Protocol):
    """What the chain store needs of an archive."""

    last_mark: CommitMark | None
    """The last note of a commit when the archive was opened."""
    contents: RecentContents
    """Parts of bodies that were read lately; the hash of each was verified."""

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

    def end(self) -> Location:
        """Where the next record will begin; its length says nothing."""

    def take_back(self, to: Location, /) -> None:
        """Forget what was appended from there on, which nothing points at. What was left in a full segment stays."""

    def note_commit(self, mark: CommitMark, /) -> None:
        """Record a commit mark. Never fails: the commit itself is durable already."""

    def close(self) -> None:
        """Close; further use raises StorageClosed."""


class BlockArchive:
    """The archive on disk. One thread appends; any thread reads, or syncs what was appended before."""

    def __init__(
        self, path: Path, last: Location | None, serial: int = 0, *, segment_size: int = DEFAULT_SEGMENT_SIZE
    ) -> None:
        """Open or create the directory `path` and cut what lies behind `last`, the last body the database knows, whose
        last commit has number `serial`.

        Raises what `check_tail` does, NotWritable, DiskFull or StorageError; nothing was cut then.
        """
        if not 0 < segment_size <= 1 << 31:
            raise ValueError(f"segment size {segment_size} is not within 1..2**31")
        self._path: Final = path
        self._segment_size: Final = segment_size
        self._readers: Final = Readers(path)
        self.contents = RecentContents()
        self._closed = False
        self._sync_failure: str | None = None
        self._writing: Final = threading.Lock()
        self._syncing: Final = threading.Lock()
        """Whoever needs both takes `_writing` first."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            end, mark = check_tail(path, last, serial)
            self.last_mark: CommitMark | None = mark
            number = 0 if last is None else last.segment
            for later in reversed(segments_of(path)):  # from the last one down, so that a kill leaves no gap
                if later > number:
                    segment_path(path, later).unlink()
            self._segment = Segment(path, number, end, 0)
            os.ftruncate(self._segment.file.fd, end)
            sync_directory(path)
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
        head = record_head(BODY, raw)
        with self._writing:
            self._refuse_writes_if_unfit()
            segment, end = self._segment, self._segment.end
            if end > 0 and end + HEAD.size + len(raw) > self._segment_size:
                segment = self._roll()
            elif end - segment.written >= _GATHERED:
                segment.write()
            return segment.add(head, raw)

    def read(self, location: Location, /) -> bytes:
        """See Archive. Raises StorageCorrupt if the record is missing, cut or changed; what `flush` does, if it was
        not written yet."""
        self._flush_for(location)
        return checked_payload(self._readers.pread(location, 0, HEAD.size + location.length), location, self._path)

    def read_slice(self, location: Location, start: int, length: int, /) -> bytes:
        """See Archive. Raises ValueError for a slice outside the payload, StorageCorrupt if the file ends before; what
        `flush` does, if the record was not written yet."""
        _check_slice(location, start, length)
        self._flush_for(location)
        return self._readers.pread(location, HEAD.size + start, length)

    def flush(self) -> None:
        """See Archive."""
        with self._writing:
            self._refuse_writes_if_unfit()
            self._segment.write()

    def _flush_for(self, location: Location) -> None:
        """Flush if the record is not in the file yet. Any thread: the segment of a known location exists."""
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

    def end(self) -> Location:
        """See Archive."""
        with self._writing:
            return Location(self._segment.number, self._segment.end, 0)

    def take_back(self, to: Location, /) -> None:
        """See Archive."""
        with self._writing:
            if not self._closed:
                self._segment.take_back(to.offset if self._segment.number == to.segment else 0)

    def note_commit(self, mark: CommitMark, /) -> None:
        """See Archive. It is in the file at once, and on the disk with what is synced next."""
        payload = mark.pack()
        with self._writing, contextlib.suppress(StorageError):
            self._refuse_writes_if_unfit()
            self._segment.add(record_head(MARK, payload), payload)
            self._segment.write()

    def records(self) -> Iterator[tuple[Location, bytes]]:
        """All bodies from the first on, each verified. Raises StorageCorrupt at what is no whole record."""
        self.flush()
        for found in scan(self._path):
            if found.kind == DAMAGED:
                path = segment_path(self._path, found.location.segment)
                raise StorageCorrupt(path, f"no whole record at {found.location.offset}")
            if found.kind == BODY:
                yield found.location, found.payload

    def close(self) -> None:
        """See Archive. Does not sync. Waits for writes and syncs, whose descriptor must not be closed under them."""
        with self._writing, self._syncing:
            self._closed = True
            self._readers.close()
            self._segment.file.close()

    def _roll(self) -> Segment:
        """Leave the current segment, written and synced, and begin the next."""
        segment = self._segment
        segment.write()
        with self._only_sync(segment.path):
            os.fdatasync(segment.file.fd)
        try:
            fresh = Segment(self._path, segment.number + 1, 0, os.O_TRUNC)
            directory = Handle(os.open(self._path, _DIRECTORY))
        except OSError as error:
            raise from_os_error(segment_path(self._path, segment.number + 1), error) from error
        with self._only_sync(self._path):
            os.fsync(directory.fd)
        self._segment = fresh
        return fresh

    @contextlib.contextmanager
    def _only_sync(self, path: Path) -> Iterator[None]:
        """One sync at a time, and none after a failed one: the kernel reports a write error to one fsync only, so a
        concurrent or later fsync would succeed although data were lost."""
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

    last_mark: CommitMark | None = None

    def __init__(self) -> None:
        self.contents = RecentContents()
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

    def end(self) -> Location:
        """See Archive."""
        return Location(0, self._end, 0)

    def take_back(self, to: Location, /) -> None:
        """See Archive."""
        for number in range(to.offset, self._end):
            del self._records[number]
        self._end = to.offset

    def note_commit(self, mark: CommitMark, /) -> None:
        """Nothing to do: an archive in memory is never opened again."""

    def close(self) -> None:
        """Drop everything."""
        self._records.clear()


def _check_slice(location: Location, start: int, length: int) -> None:
    if start < 0 or length < 0 or start + length > location.length:
        raise ValueError(f"bytes {start}..{start + length} are outside a record of {location.length} bytes")
