"""Reading an archive from its files alone, for opening, checks and rescue.

Nothing is taken on trust: a record counts when its checksum fits. What a body says is for the rules to judge.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from storage.errors import (
    ArchiveBehindDatabase,
    ArchiveUnknown,
    DatabaseBehindArchive,
    StorageCorrupt,
    from_os_error,
)
from storage.segments import (
    BODY,
    FREED,
    HEAD,
    MARK,
    MARK_SIZE,
    MAX_RECORD_SIZE,
    CommitMark,
    Location,
    checked_payload,
    segment_path,
    segments_of,
)

__all__ = ["DAMAGED", "Found", "Tail", "check_tail", "scan"]

DAMAGED: Final = b"CKB?"
_SEARCH_SIZE: Final = 1 << 20
_START: Final = Location(0, 0, 0)


class Found(NamedTuple):
    """A record of kind BODY or MARK with its payload, or FREED without.

    Or DAMAGED: a stretch of bytes that is no whole record. A damaged stretch of length 0 is a segment that is missing.
    """

    kind: bytes
    location: Location
    payload: bytes

    @property
    def mark(self) -> CommitMark:
        """Of a MARK."""
        return CommitMark.unpack(self.payload)


def scan(path: Path, first: Location = _START) -> Iterator[Found]:
    """Everything from the place of `first` on, in order; behind damage it goes on with the next whole record.

    Raises StorageError when a file cannot be read.
    """
    segments = segments_of(path)
    for number in range(first.segment, max(segments, default=-1) + 1):
        offset = first.offset if number == first.segment else 0
        if number not in segments:
            yield Found(DAMAGED, Location(number, 0, 0), b"")
            continue
        yield from _scan_segment(path, number, offset)


def _scan_segment(path: Path, number: int, offset: int) -> Iterator[Found]:
    file_path = segment_path(path, number)
    try:
        with file_path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while offset < size:
                found = _record_at(file, number, offset, size)
                if found is None:
                    end = _next_record(file, number, offset, size)
                    found = Found(DAMAGED, Location(number, offset, end - offset), b"")
                    offset = end
                else:
                    offset = found.location.end
                yield found
    except OSError as error:
        raise from_os_error(file_path, error) from error


def _head_at(file: BinaryIO, number: int, offset: int, size: int) -> tuple[bytes, Location, int] | None:
    """Kind, place and checksum that a plausible head claims; None when there is none."""
    file.seek(offset)
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    kind, length, checksum = HEAD.unpack(head)
    location = Location(number, offset, length)
    is_plausible = length == MARK_SIZE if kind == MARK else kind in (BODY, FREED) and 0 < length <= MAX_RECORD_SIZE
    if not is_plausible or location.end > size:
        return None
    return kind, location, checksum


def _record_at(file: BinaryIO, number: int, offset: int, size: int) -> Found | None:
    head = _head_at(file, number, offset, size)
    if head is None:
        return None
    kind, location, checksum = head
    if kind == FREED:
        return Found(kind, location, b"")
    payload = file.read(location.length)
    return Found(kind, location, payload) if zlib.crc32(payload) == checksum else None


def _next_record(file: BinaryIO, number: int, offset: int, size: int) -> int:
    """Where the next whole record begins behind a bad one, or the end of the file.

    The place that the bad one's head tells comes first: what looks like a record within a body is not one.
    """
    head = _head_at(file, number, offset, size)
    if head is not None:
        end = head[1].end
        if end == size or _record_at(file, number, end, size) is not None:
            return end
    offset += 1
    while offset < size:
        file.seek(offset)
        chunk = file.read(_SEARCH_SIZE)
        at = chunk.find(BODY[:2])  # with which every kind begins
        if at < 0:
            offset += max(len(chunk) - 1, 1)
        elif _record_at(file, number, offset + at, size) is not None:
            return offset + at
        else:
            offset += at + 1
    return size


class Tail(NamedTuple):
    """The archive behind the last body that the database knows. Only commit marks count there."""

    end: int
    """Where the segment of that body is to end."""
    mark: CommitMark | None
    """The last mark before that end."""


def check_tail(path: Path, last: Location | None, serial: int) -> Tail:
    """Compare the archive with a database whose last commit is number `serial` and whose last body is `last`.

    Raises ArchiveBehindDatabase when a segment or that body is not there whole, DatabaseBehindArchive when a mark tells
    of later commits, ArchiveUnknown when the database is empty but the archive holds more than one body, which is what
    a first commit may leave that was cut short; StorageCorrupt when the last body has changed.
    """
    if last is None:
        last = _START
        bodies = 0
    else:
        bodies = -1
        _check_last(path, last)
    start = last if last.length == 0 else Location(last.segment, last.end, 0)
    tail = Tail(start.offset, None)
    is_sound = True
    for found in _tail_records(path, start):
        if found.kind == MARK:
            mark = found.mark
            if mark.serial > serial:
                raise DatabaseBehindArchive(path.parent / "db", path, serial, mark.serial, mark.tip_number)
            if is_sound and found.location.segment == last.segment:
                tail = Tail(found.location.end, mark)
            continue
        is_sound = False
        if bodies >= 0:
            bodies += 1
            if bodies > 1:
                raise ArchiveUnknown(path, f"it holds blocks, and the database {path.parent / 'db'} is empty")
    return tail


def _tail_records(path: Path, start: Location) -> Iterator[Found]:
    """As `scan`, but stops in each segment at the first damaged record: an interrupted write leaves one, and no
    acknowledged record follows it."""
    for number in segments_of(path):
        if number < start.segment:
            continue
        for found in _scan_segment(path, number, start.offset if number == start.segment else 0):
            if found.kind == DAMAGED:
                break
            yield found


def _check_last(path: Path, last: Location) -> None:
    there = set(segments_of(path))
    for number in range(last.segment):
        if number not in there:
            raise ArchiveBehindDatabase(segment_path(path, number), "the segment is missing")
    current = segment_path(path, last.segment)
    if not current.is_file():
        raise ArchiveBehindDatabase(current, "the segment is missing")
    size = current.stat().st_size
    if size < last.end:
        raise ArchiveBehindDatabase(current, f"the database knows {last.end} bytes of this segment but it has {size}")
    if last.length > MAX_RECORD_SIZE:
        raise StorageCorrupt(current, f"record at {last.offset} claims {last.length} bytes")
    with current.open("rb") as file:
        record = os.pread(file.fileno(), last.end - last.offset, last.offset)
    if record[: HEAD.size] != HEAD.pack(FREED, last.length, HEAD.unpack_from(record)[2]):
        checked_payload(record, last, path)
