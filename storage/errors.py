"""Typed errors of the storage room: each names the path it is about and the reason in one line."""
# ruff: noqa: N818  (names say what is wrong: DiskFull, not DiskFullError)

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final, Self

__all__ = [
    "ArchiveBehindDatabase",
    "ArchiveUnknown",
    "ChainMismatch",
    "DatabaseBehindArchive",
    "DatabaseLocked",
    "DiskFull",
    "LogDamaged",
    "NotWritable",
    "SchemaTooNew",
    "SpecMismatch",
    "StorageClosed",
    "StorageCorrupt",
    "StorageError",
    "WriterBusy",
    "WritesRefused",
    "from_os_error",
]


class StorageError(Exception):
    """Something is wrong with the bytes on disk, or with getting them there. `cure` says what the operator can do."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path: Final = Path(path)
        self.reason: Final = reason
        self.cure = ""
        super().__init__(path, reason)

    def advise(self, cure: str) -> Self:
        """Say what can be done, unless somebody who knew more has said it."""
        self.cure = self.cure or cure
        return self

    def __str__(self) -> str:
        text = f"{self.path}: {self.reason}"
        return f"{text}. {self.cure}" if self.cure else text


class DatabaseLocked(StorageError):
    """Another process (or this one) has the database open."""


class NotWritable(StorageError):
    """The path can't be created or written: permissions, a read-only disk, a file where a directory should be."""


class DiskFull(StorageError):
    """No space (or quota, or file size limit) left for the write."""


class StorageCorrupt(StorageError):
    """Stored bytes fail their checksum or break their own format."""


class LogDamaged(StorageCorrupt):
    """The database's log is damaged from a record on; nothing behind it can be believed."""

    def __init__(self, path: Path | str, offset: int) -> None:
        self.offset: Final = offset
        super().__init__(path, f"the record at {offset} of this log is damaged")


class StorageClosed(StorageError):
    """Used after close()."""


class WritesRefused(StorageError):
    """An earlier write failed, so the end of the log is unknown; reading goes on, writing needs a new open."""


class ArchiveBehindDatabase(StorageError):
    """The database points at blocks that the archive does not hold (files deleted or restored from older ones)."""


class DatabaseBehindArchive(StorageError):
    """The archive tells of commits that the database does not know (deleted, restored from older, its log damaged)."""

    def __init__(self, path: Path | str, archive: Path | str, known: int, marked: int, tip_number: int) -> None:
        self.archive: Final = Path(archive)
        self.known: Final = known
        self.marked: Final = marked
        self.tip_number: Final = tip_number
        super().__init__(
            path,
            f"the database ends with commit {known}, but the archive {archive} tells of later ones, from commit "
            f"{marked} on, whose tip was block {tip_number}: acknowledged blocks are missing from the database",
        )


class ArchiveUnknown(StorageError):
    """The archive holds what the database knows nothing of: more than one unfinished commit, or another chain."""


class WriterBusy(StorageError):
    """A second transaction was begun before the first ended; the chain has one writer."""


class SchemaTooNew(StorageError):
    """The database was written by a newer version of this program."""

    def __init__(self, path: Path | str, found: int, supported: int) -> None:
        self.found: Final = found
        self.supported: Final = supported
        super().__init__(path, f"schema version {found} is newer than this program's {supported}; upgrade the program")


class SpecMismatch(StorageError):
    """The database was made with other parameters of the same chain."""

    def __init__(self, path: Path | str, stored: bytes, configured: bytes) -> None:
        self.stored: Final = stored
        self.configured: Final = configured
        super().__init__(
            path,
            f"chain_spec_hash mismatch: Config(0x{configured.hex()}), storage(0x{stored.hex()}). The parameters of the "
            "chain spec have changed since these data were made. If that makes no stored block invalid, "
            "`ckb-node run --skip-spec-check` goes on this once and `ckb-node run --overwrite-spec` from now on",
        )


class ChainMismatch(StorageError):
    """The database belongs to another chain: its genesis block differs."""

    def __init__(self, path: Path | str, what: str, stored: bytes, expected: bytes) -> None:
        self.what: Final = what
        self.stored: Final = stored
        self.expected: Final = expected
        super().__init__(path, f"belongs to another chain: {what} is 0x{stored.hex()}, expected 0x{expected.hex()}")
        self.advise(
            "Run with the chain spec, and on a dev chain the version of ckb-node, that these data were made with, or "
            "begin a new chain with `ckb-node init` in another directory. Nothing was changed"
        )


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_WRITABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EEXIST}
)


def from_os_error(path: Path | str, error: OSError) -> StorageError:
    """The typed error for an operating system error met at `path`."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return DiskFull(path, reason)
    if error.errno in _NOT_WRITABLE:
        return NotWritable(path, reason)
    return StorageError(path, reason)
