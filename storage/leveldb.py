"""The LevelDB engine of the key-value interface."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import plyvel

from storage.errors import (
    DatabaseLocked,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    WritesRefused,
    from_os_error,
)
from storage.kv import BatchWriter, Change, Pair, key_range
from storage.leveldb_files import IN_USE, is_unmade, refuse_damaged

__all__ = ["LevelDbOptions", "LevelDbSnapshot", "LevelDbStore"]

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LevelDbOptions:
    """Sizes in bytes. By default nothing is compressed: hashes don't shrink, and trying costs a tenth of the import.

    But LevelDB caches compressed blocks alone; others are checked again at each read, which takes as long as the rest.
    """

    write_buffer: int = 32 * _MIB
    block_cache: int = 64 * _MIB
    table_size: int = 32 * _MIB
    max_open_files: int = 400
    bloom_bits_per_key: int = 10
    is_compressed: bool = False
    cure: str = ""
    """What the operator can do when the database is damaged."""


class _Place(NamedTuple):
    """What the errors of a database say."""

    path: Path
    cure: str


class LevelDbSnapshot:
    """A LevelDB snapshot, every block that it reads from the disk verified; see storage.kv.Snapshot."""

    def __init__(self, place: _Place, snapshot: Any) -> None:
        self._place: Final = place
        self._snapshot: Final = snapshot

    def get(self, key: bytes, /) -> bytes | None:
        """The value at the snapshot's moment, or None."""
        try:
            value: bytes | None = self._snapshot.get(key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            _raise_typed(self._place, error)
        return value

    def iterator(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Pair]:
        """See storage.kv.Reader."""
        return _iterate(self._place, self._snapshot, key_range(prefix, start, stop), reverse)

    def close(self) -> None:
        """Release the snapshot."""
        self._snapshot.close()


class LevelDbStore(BatchWriter):
    """An open LevelDB directory; see storage.kv.KeyValueStore.

    After a write has failed, every further write raises WritesRefused: LevelDB's log may end in half a record then,
    and what would be written behind it could be lost at the next open. Reading goes on.
    """

    def __init__(self, path: Path, options: LevelDbOptions | None = None) -> None:
        """Open or create. Raises DatabaseLocked, NotWritable, DiskFull, LogDamaged, StorageCorrupt or StorageError."""
        options = options or LevelDbOptions()
        self._path: Final = path
        self._place: Final = _Place(path, options.cure)
        self._write_failure: str | None = None
        self._write_lock: Final = threading.Lock()
        self._db: Final = _open(self._place, options)

    @property
    def path(self) -> Path:
        """The database directory."""
        return self._path

    def get(self, key: bytes, /) -> bytes | None:
        """The value, or None."""
        try:
            value: bytes | None = self._db.get(key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            _raise_typed(self._place, error)
        return value

    def iterator(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Pair]:
        """See storage.kv.Reader."""
        return _iterate(self._place, self._db, key_range(prefix, start, stop), reverse)

    def prepare_batch(self, changes: Iterable[Change], /, *, sync: bool) -> Callable[[], None]:
        """See storage.kv.KeyValueStore. Raises StorageClosed.

        The call raises DiskFull, WritesRefused, StorageClosed or another StorageError.
        """
        try:
            batch = self._db.write_batch(sync=sync)
            put, delete = batch.put, batch.delete
            for key, value in changes:
                if value is None:
                    delete(key)
                else:
                    put(key, value)
        except (plyvel.Error, RuntimeError) as error:
            _raise_typed(self._place, error)
        return partial(self._write, batch)

    def _write(self, batch: Any) -> None:
        with self._write_lock:
            self._refuse_after_failure()
            try:
                batch.write()
            except plyvel.Error as error:
                typed = _typed(self._place, error)
                self._write_failure = typed.reason
                raise typed from error
            except RuntimeError as error:
                _raise_typed(self._place, error)

    def snapshot(self) -> LevelDbSnapshot:
        """A consistent view of now."""
        try:
            return LevelDbSnapshot(self._place, self._db.snapshot())
        except (plyvel.Error, RuntimeError) as error:
            _raise_typed(self._place, error)

    def close(self) -> None:
        """Close and release the lock. Waits for a thread that writes, whose memory LevelDB would free under it."""
        with self._write_lock:
            self._db.close()

    def _refuse_after_failure(self) -> None:
        if self._write_failure is not None:
            raise WritesRefused(self._path, f"a write failed before ({self._write_failure}); open the database again")


def _open(place: _Place, options: LevelDbOptions) -> Any:
    path = place.path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(path, error) from error
    try:
        _refuse_headless(path)
        if (path / "CURRENT").exists():
            refuse_damaged(path)
    except StorageCorrupt as error:
        error.advise(options.cure)
        raise
    try:
        return plyvel.DB(
            os.fspath(path),
            create_if_missing=True,
            # Without it a compaction copies damaged rows into a table whose checksums are right again.
            paranoid_checks=True,
            compression="snappy" if options.is_compressed else None,
            write_buffer_size=options.write_buffer,
            lru_cache_size=options.block_cache,
            max_file_size=options.table_size,
            max_open_files=options.max_open_files,
            bloom_filter_bits=options.bloom_bits_per_key,
        )
    except plyvel.Error as error:
        raise _typed(place, error) from error


def _refuse_headless(path: Path) -> None:
    """Without its CURRENT file LevelDB takes the directory for new and deletes the tables in it: say so instead."""
    if (path / "CURRENT").exists() or is_unmade(path):
        return
    rest = next((file for kind in ("MANIFEST-*", "*.ldb", "*.log") for file in path.glob(kind)), None)
    if rest is not None:
        raise StorageCorrupt(path / "CURRENT", f"the file is missing but {rest.name} is there")


def _iterate(place: _Place, source: Any, bounds: tuple[bytes, bytes | None], reverse: bool) -> Iterator[Pair]:
    """Start the LevelDB iterator now (it pins the state it sees), hand its pairs out later."""
    start, stop = bounds
    if stop is not None and stop <= start:
        return iter(())
    try:
        if reverse:
            return _pairs_down(place, source.iterator(stop=stop, reverse=True, verify_checksums=True), start)
        return _pairs_up(place, source, source.iterator(start=start, stop=stop, verify_checksums=True), start)
    except (plyvel.Error, RuntimeError) as error:
        _raise_typed(place, error)


def _pairs_up(place: _Place, source: Any, pairs: Any, start: bytes) -> Iterator[Pair]:
    """plyvel takes an unreadable last block for the end of the keys. So at the end a raw iterator, which reports
    errors, checks why iteration stopped."""
    pair = (start, b"")
    try:
        for pair in pairs:
            yield pair
        raw = source.raw_iterator(verify_checksums=True)
        try:
            raw.seek(pair[0])
            if raw.valid():
                raw.next()
        finally:
            raw.close()
    except (plyvel.Error, RuntimeError) as error:
        _raise_typed(place, error)
    finally:
        pairs.close()


def _pairs_down(place: _Place, pairs: Any, start: bytes) -> Iterator[Pair]:
    """Keys down to `start`, compared here: plyvel's reverse iterator skips the only key of a range if it equals
    `start`."""
    try:
        for pair in pairs:
            if pair[0] < start:
                return
            yield pair
    except (plyvel.Error, RuntimeError) as error:
        _raise_typed(place, error)
    finally:
        pairs.close()


def _raise_typed(place: _Place, error: Exception) -> NoReturn:
    raise _typed(place, error) from error


def _typed(place: _Place, error: Exception) -> StorageError:
    """Map a plyvel error, whose only content is LevelDB's message, to the typed one."""
    path, cure = place
    if isinstance(error, RuntimeError):
        return StorageClosed(path, "the database is closed")
    text = _message(error)
    if isinstance(error, plyvel.CorruptionError):
        return StorageCorrupt(path, text).advise(cure)
    if "lock " in text and ("already held" in text or "temporarily unavailable" in text):
        return DatabaseLocked(path, IN_USE)
    for number in _ERRNO_BY_TEXT:
        if text.endswith(os.strerror(number)):
            return from_os_error(path, OSError(number, os.strerror(number)))
    if text.endswith(os.strerror(errno.ENOENT)):
        return StorageCorrupt(path, f"a database file is missing ({text})").advise(cure)
    if text.endswith((os.strerror(errno.EINVAL), os.strerror(errno.ENODEV))):  # how reading past a file's end fails
        return StorageCorrupt(path, f"a database file is not as it was written ({text})").advise(cure)
    return StorageError(path, text)


_ERRNO_BY_TEXT: Final = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
)


def _message(error: Exception) -> str:
    raw = error.args[0] if error.args else b""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    return re.sub(r"\s+", " ", text).strip()
