"""Typed errors of the storage room: each names the path it is about and the reason in one line."""
# ruff: noqa: N818  (names say what is wrong: DiskFull, not DiskFullError)

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

__all__ = [
    "ArchiveBehindDatabase",
    "ArchiveUnknown",
    "ChainMismatch",
    "DatabaseLocked",
    "DiskFull",
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
    """Something is wrong with the bytes on disk, or with getting them there."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path: Final = Path(path)
        self.reason: Final = reason
        super().__init__(f"{path}: {reason}")


class DatabaseLocked(StorageError):
    """Another process (or this one) has the database open."""


class NotWritable(StorageError):
    """The path can't be created or written: permissions, a read-only disk, a file where a directory should be."""


class DiskFull(StorageError):
    """No space (or quota, or file size limit) left for the write."""


class StorageCorrupt(StorageError):
    """Stored bytes fail their checksum or break their own format."""


class StorageClosed(StorageError):
    """Used after close()."""


class WritesRefused(StorageError):
    """An earlier write failed, so the end of the log is unknown; reading goes on, writing needs a new open."""


class ArchiveBehindDatabase(StorageError):
    """The database points at a block that the archive does not hold (files deleted or restored from older ones)."""

    def __init__(self, path: Path | str, known_end: int, actual_end: int) -> None:
        self.known_end: Final = known_end
        self.actual_end: Final = actual_end
        super().__init__(path, f"the database knows {known_end} bytes of this segment but it has {actual_end}")


class ArchiveUnknown(StorageError):
    """The archive holds far more than one unfinished commit, and the database knows nothing of it."""


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
