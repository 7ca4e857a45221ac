"""A new database over an archive that is there: the bodies stay where they are.

The new database is built beside the old one, which stays untouched. When it is complete it takes the old one's place;
the old one is kept, and so are archive files of which a part must be given up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from struct import error as struct_error
from typing import Final

from consensus.types.blockchain import Header
from storage.chain_store import BLOCKS, DB, ChainStore
from storage.errors import StorageError, from_os_error
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.leveldb_files import locked, verify_database
from storage.log_rescue import copy_database
from storage.recent_contents import RecentContents
from storage.records import BlockRecord
from storage.schema import HEADER, META_ARCHIVE, META_TIP
from storage.segments import (
    BODY,
    HEAD,
    CommitMark,
    Location,
    Readers,
    checked_payload,
    record_head,
    segment_path,
    segments_of,
    sync_directory,
)
from storage.serials import all_slots, current_serial

__all__ = ["Recovery", "RecoveryArchive", "recovering"]

_NEW: Final = "db.new"
_OFFERED_BYTES: Final = 128 << 20
"""Bodies that are kept, since a group of blocks may be attached a second time."""


class RecoveryArchive:
    """An archive whose bodies exist already: `append` returns where the body is. See storage.archive.Archive."""

    def __init__(self, path: Path) -> None:
        self.last_mark: CommitMark | None = None
        self.contents = RecentContents()
        self._path: Final = path
        self._readers: Final = Readers(path)
        self._offered: Final[OrderedDict[bytes, Location]] = OrderedDict()
        self._bytes = 0
        self._known: Final[dict[Location, bytes]] = {}

    def restore(self, raw: bytes, location: Location) -> None:
        """Put a lost body back at its place when the new database is complete."""
        self._known[location] = raw
        self.offer(raw, location)

    def offer(self, raw: bytes, location: Location) -> None:
        """Make a body known that is in the archive, so that `append` finds it."""
        if raw not in self._offered:
            self._bytes += len(raw)
        self._offered[raw] = location
        while self._bytes > _OFFERED_BYTES and len(self._offered) > 1:
            oldest, _ = self._offered.popitem(last=False)
            self._bytes -= len(oldest)

    def append(self, raw: bytes, /) -> Location:
        """Where the body stands. ValueError when it was not offered."""
        location = self._offered.get(raw)
        if location is None:
            raise ValueError("the body was not offered before")
        return location

    def read(self, location: Location, /) -> bytes:
        """See Archive."""
        known = self._known.get(location)
        if known is not None:
            return known
        return checked_payload(self._readers.pread(location, 0, HEAD.size + location.length), location, self._path)

    def read_slice(self, location: Location, start: int, length: int, /) -> bytes:
        """See Archive."""
        if start < 0 or length < 0 or start + length > location.length:
            raise ValueError(f"bytes {start}..{start + length} are outside a record of {location.length} bytes")
        known = self._known.get(location)
        if known is not None:
            return known[start : start + length]
        return self._readers.pread(location, HEAD.size + start, length)

    def put_back(self) -> None:
        """Write what was restored. Raises OSError."""
        for location, raw in self._known.items():
            segment = _own_copy(segment_path(self._path, location.segment))
            with segment.open("r+b") as file:
                file.seek(location.offset)
                file.write(record_head(BODY, raw) + raw)
                file.flush()
                os.fsync(file.fileno())

    def end(self) -> Location:
        """Nothing is appended."""
        return Location(0, 0, 0)

    def take_back(self, to: Location, /) -> None:
        """Nothing was appended."""

    def note_commit(self, mark: CommitMark, /) -> None:
        """Nothing to do: the existing commit marks stay."""

    def flush(self) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """See Archive."""
        self._readers.close()


class Recovery:
    """A database that is being built in the chain's directory `path`, and the old one, locked meanwhile."""

    def __init__(self, path: Path, options: LevelDbOptions) -> None:
        """For `recovering`."""
        self._path: Final = path
        self._database: Final = LevelDbStore(path / _NEW, options)
        self.archive: Final = RecoveryArchive(path / BLOCKS)
        self.store: Final = ChainStore(self._database, path, lambda *_: self.archive)

    def old_tip(self, options: LevelDbOptions) -> Header | None:
        """Tip of the old database; None where its files are damaged or do not tell.

        A copy is read, since opening changes files.
        """
        with tempfile.TemporaryDirectory(prefix="trial-", dir=self._path) as directory:
            trial = Path(directory) / DB
            try:
                copy_database(self._path / DB, trial)
                if any(verify_database(trial)):
                    return None
                with closing(LevelDbStore(trial, options)) as store:
                    packed = store.get(HEADER + (store.get(META_TIP) or b""))
                return None if packed is None else Header.parse(BlockRecord.unpack(packed).header)
            except (OSError, StorageError, struct_error, ValueError):
                return None

    def put_in_place(self, serial: int, *, give_up_rest: bool) -> list[Path]:
        """Make it the database; what was there before is kept under the paths that are returned.

        Commits go on behind number `serial`, the highest that the archive tells of. With `give_up_rest` bodies behind
        the last one that the new database knows may go, and segments that are missing are replaced by empty ones; the
        archive as it was is kept. Raises StorageError.
        """
        self._database.write_batch(all_slots(max(serial, current_serial(self._database))), sync=True)
        packed = self._database.get(META_ARCHIVE)
        self.store.close()
        suffix = _unused_suffix(self._path)
        kept = []
        try:
            if give_up_rest and packed is not None:
                kept.append(self._path / f"{BLOCKS}.{suffix}")
                _keep_archive(self._path / BLOCKS, kept[-1], Location.unpack(packed))
                self.archive.put_back()
            kept.append(self._path / f"{DB}.{suffix}")
            (self._path / DB).rename(kept[-1])
            (self._path / _NEW).rename(self._path / DB)
            sync_directory(self._path)
        except OSError as error:
            raise from_os_error(self._path, error) from error
        return kept


def _unused_suffix(path: Path) -> str:
    """Tells when it was put aside."""
    now = time.strftime("before-%Y%m%d-%H%M%S")
    count, suffix = 1, now
    while any((path / f"{name}.{suffix}").exists() for name in (BLOCKS, DB)):
        count += 1
        suffix = f"{now}-{count}"
    return suffix


@contextmanager
def recovering(path: Path, options: LevelDbOptions) -> Iterator[Recovery]:
    """Begin to build a new database in the chain's directory `path`. What is not put in place is removed at the end.

    Raises DatabaseLocked while a node runs there, StorageError.
    """
    with locked(path / DB):
        shutil.rmtree(path / _NEW, ignore_errors=True)
        try:
            recovery = Recovery(path, options)
            with closing(recovery.store):
                yield recovery
        finally:
            shutil.rmtree(path / _NEW, ignore_errors=True)


def _keep_archive(blocks: Path, aside: Path, last: Location) -> None:
    """Link all segments into a directory aside; the one that is written next becomes a copy of its own."""
    blocks.mkdir(exist_ok=True)
    aside.mkdir()
    there = segments_of(blocks)
    for number in there:
        os.link(segment_path(blocks, number), segment_path(aside, number))
    sync_directory(aside)
    for number in range(last.segment):
        if number not in there:
            segment_path(blocks, number).touch()
    _own_copy(segment_path(blocks, last.segment))
    sync_directory(blocks)


def _own_copy(path: Path) -> Path:
    """Make a file that shares its content with a link one of its own; a missing one is made empty."""
    copy = path.with_suffix(".copy")
    path.touch()
    with path.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    return copy.replace(path)
