"""Which file of a LevelDB directory is damaged: read and verified here, file by file.

LevelDB says "checksum mismatch" and no name, and some damage ends the process in it. This reads the files alone and
changes nothing. Formats (LevelDB's `doc/log_format.md`, `doc/table_format.md`): a log is blocks of 32 KiB with
records of a 7-byte head (masked CRC-32C u32, length u16, type u8); a table ends in a 48-byte footer that points at its
index, whose values point at the data blocks, each followed by its type (0 plain, 1 Snappy) and masked CRC-32C.
MANIFEST is a log whose records say which tables count.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

import cramjam
import google_crc32c

from storage.errors import DatabaseLocked, LogDamaged, StorageCorrupt, from_os_error

__all__ = [
    "IN_USE",
    "Damage",
    "is_unmade",
    "live_tables",
    "locked",
    "log_damage",
    "logs_of",
    "refuse_damaged",
    "table_damage",
    "verify_database",
]

_BLOCK_SIZE: Final = 32 << 10
_RECORD_HEAD: Final = Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_FOOTER_SIZE: Final = 48
_MAGIC: Final = bytes.fromhex("57fb808b247547db")
_U32: Final = Struct("<I")
_PLAIN, _SNAPPY = 0, 1
_MAX_INDEX_BYTES: Final = 64 << 20
"""Of an unpacked index block, which has a key for each few KiB of a table."""
_COMPARATOR, _LOG, _NEXT_FILE, _LAST_SEQUENCE, _POINTER, _DELETED, _NEW, _PREVIOUS_LOG = 1, 2, 3, 4, 5, 6, 7, 9


class Damage(NamedTuple):
    """A file that is not as LevelDB wrote it."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


Progress = Callable[[int], None]
"""Takes the bytes that were verified."""

_UNMADE: Final = frozenset({"LOCK", "LOG", "LOG.old", "MANIFEST-000001", "000001.dbtmp"})


def is_unmade(directory: Path) -> bool:
    """There is no database yet: nothing, or what is left when the process was killed while it made one."""
    return not directory.exists() or {file.name for file in directory.iterdir()} <= _UNMADE


def verify_database(directory: Path, progress: Progress = lambda _: None) -> Iterator[Damage]:
    """Each damaged file but logs, see `log_damage`. The database must not be open. Raises StorageError when a file
    cannot be read."""
    try:
        tables = live_tables(directory)
    except StorageCorrupt as error:
        yield Damage(error.path, error.reason)
        return
    for number, size in sorted(tables.items()):
        path = _table_path(directory, number)
        reason = table_damage(path, size)
        if reason is not None:
            yield Damage(path, reason)
        progress(size)


def refuse_damaged(directory: Path) -> None:
    """The cheap checks before the database is opened: CURRENT, MANIFEST, the sizes of tables, and the logs.

    Raises LogDamaged or StorageCorrupt, naming the file; DatabaseLocked when the database is open meanwhile, since its
    files change then.
    """
    try:
        _refuse_damaged(directory)
    except StorageCorrupt:
        if _is_locked(directory):
            raise DatabaseLocked(directory, IN_USE) from None
        raise


def _refuse_damaged(directory: Path) -> None:
    for number, size in live_tables(directory).items():
        path = _table_path(directory, number)
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            raise StorageCorrupt(path, "the file is missing" if found is None else _size_reason(found, size))
    for log in logs_of(directory):
        offset = log_damage(log)
        if offset is not None:
            raise LogDamaged(log, offset)


IN_USE: Final = (
    "in use by another process (or opened twice by this one): stop the node that runs on this directory first"
)

_TRY_LOCK: Final = """
import fcntl, sys
with open(sys.argv[1], "ab") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def _is_locked(directory: Path) -> bool:
    """A child process asks: closing the file in this process would release a lock that it holds."""
    lock = directory / "LOCK"
    if not lock.exists():
        return False
    child = subprocess.run(
        [sys.executable, "-I", "-c", _TRY_LOCK, os.fspath(lock)], stderr=subprocess.DEVNULL, timeout=60, check=False
    )
    return child.returncode != 0


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep others from opening the database, which this process has not open. Raises DatabaseLocked, StorageError."""
    lock = directory / "LOCK"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with lock.open("ab") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                raise DatabaseLocked(directory, IN_USE) from error
            yield
    except OSError as error:
        raise from_os_error(lock, error) from error


def logs_of(directory: Path) -> list[Path]:
    """The write-ahead logs, oldest first."""
    return sorted(directory.glob("*.log"), key=lambda path: (len(path.name), path.name))


# ------------------------------------------------------------ logs


def log_damage(path: Path) -> int | None:
    """Offset of the first record that is not whole, None when all are.

    A record that the end of the file cuts is none: it was being written when the process was killed, as LevelDB has it.
    """
    return next((start for start, _, payload in _log_records(_read(path)) if payload is None), None)


def _log_records(data: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """Start, end and payload of each logical record; of a damaged one the payload is None, and nothing follows."""
    at, start, parts = 0, 0, list[bytes]()
    while at + _RECORD_HEAD.size <= len(data):
        left = _BLOCK_SIZE - at % _BLOCK_SIZE
        if left < _RECORD_HEAD.size:
            at += left
            continue
        checksum, length, kind = _RECORD_HEAD.unpack_from(data, at)
        if not parts:
            start = at
        end = at + _RECORD_HEAD.size + length
        if end > len(data) and length <= left - _RECORD_HEAD.size:
            return  # cut by the end of the file
        if (checksum, length, kind) == (0, 0, 0) and data[at:].strip(b"\0") == b"" and not parts:
            return  # nothing but zeros up to the end
        follows = kind in (_MIDDLE, _LAST)
        if (
            length > left - _RECORD_HEAD.size
            or kind not in (_FULL, _FIRST, _MIDDLE, _LAST)
            or follows != bool(parts)
            or _masked_crc(data[at + 6 : end]) != checksum
        ):
            yield start, at, None
            return
        parts.append(data[at + _RECORD_HEAD.size : end])
        at = end
        if kind in (_FULL, _LAST):
            yield start, at, b"".join(parts)
            parts = []


# ------------------------------------------------------------ which tables count


def live_tables(directory: Path) -> dict[int, int]:
    """Sizes in bytes by number of the tables that MANIFEST names. Raises StorageCorrupt naming CURRENT or MANIFEST."""
    current = directory / "CURRENT"
    name = _read(current)
    if not name.startswith(b"MANIFEST-") or not name.endswith(b"\n") or not name[9:-1].isdigit():
        raise StorageCorrupt(current, "it does not name a MANIFEST")
    manifest = directory / name[:-1].decode("ascii")
    if not manifest.is_file():
        raise StorageCorrupt(manifest, "the file is missing, though CURRENT names it")
    tables, seen = dict[int, int](), set[int]()
    for start, _, edit in _log_records(_read(manifest)):
        if edit is None:
            raise StorageCorrupt(manifest, f"the record at {start} is damaged")
        try:
            seen |= _apply_edit(edit, tables)
        except (IndexError, ValueError) as error:
            raise StorageCorrupt(manifest, f"the record at {start} is no edit") from error
    if not seen.issuperset((_LOG, _NEXT_FILE, _LAST_SEQUENCE)):
        raise StorageCorrupt(manifest, "its begin is missing")
    return tables


def _apply_edit(edit: bytes, tables: dict[int, int]) -> set[int]:
    """Change the tables as an edit says; the tags that it has."""
    at, seen = 0, set[int]()
    while at < len(edit):
        tag, at = _varint(edit, at)
        seen.add(tag)
        if tag == _COMPARATOR:
            _, at = _text(edit, at)
        elif tag in (_LOG, _NEXT_FILE, _LAST_SEQUENCE, _PREVIOUS_LOG):
            _, at = _varint(edit, at)
        elif tag == _POINTER:
            _, at = _varint(edit, at)
            _, at = _text(edit, at)
        elif tag == _DELETED:
            _, at = _varint(edit, at)
            number, at = _varint(edit, at)
            tables.pop(number, None)
        elif tag == _NEW:
            _, at = _varint(edit, at)
            number, at = _varint(edit, at)
            tables[number], at = _varint(edit, at)
            _, at = _text(edit, at)
            _, at = _text(edit, at)
        else:
            raise ValueError(f"unknown tag {tag}")
    return seen


def _table_path(directory: Path, number: int) -> Path:
    old = directory / f"{number:06d}.sst"
    return old if old.exists() else directory / f"{number:06d}.ldb"


# ------------------------------------------------------------ tables


def table_damage(path: Path, expected_size: int) -> str | None:
    """What is wrong with a table, None when all of it is as it was written."""
    if not path.is_file():
        return "the file is missing"
    data = _read(path)
    if len(data) != expected_size:
        return _size_reason(len(data), expected_size)
    footer = data[-_FOOTER_SIZE:]
    if len(footer) < _FOOTER_SIZE or not footer.endswith(_MAGIC):
        return "its footer is damaged"
    try:
        meta_offset, at = _varint(footer, 0)
        meta_size, at = _varint(footer, at)
        index_offset, at = _varint(footer, at)
        index_size, at = _varint(footer, at)
        if footer[at : -len(_MAGIC)].strip(b"\0"):
            return "its footer is damaged"
        places = [(meta_offset, meta_size), (index_offset, index_size)]
        for offset, size in places:
            if not _is_sound(data, offset, size):
                return f"its block at {offset} is damaged"
        blocks = [*_handles(data, meta_offset, meta_size), *_handles(data, index_offset, index_size)]
    except (IndexError, ValueError):
        return "its index is damaged"
    bad = next((offset for offset, size in blocks if not _is_sound(data, offset, size)), None)
    return None if bad is None else f"its block at {bad} is damaged"


def _size_reason(found: int, expected: int) -> str:
    return f"it has {found} bytes, {expected} were written"


def _is_sound(data: bytes, offset: int, size: int) -> bool:
    end = offset + size + 1
    return end + 4 <= len(data) and _masked_crc(data[offset:end]) == _U32.unpack_from(data, end)[0]


def _handles(data: bytes, offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Places that the values of an index block name: offset and size of blocks."""
    block = _unpacked(data[offset : offset + size], data[offset + size])
    restarts = _U32.unpack_from(block, len(block) - 4)[0] if len(block) >= 4 else -1
    end = len(block) - 4 - 4 * restarts
    if restarts < 0 or end < 0:
        raise ValueError("the restarts are damaged")
    at = 0
    while at < end:
        _, at = _varint(block, at)
        key_size, at = _varint(block, at)
        value_size, at = _varint(block, at)
        at += key_size
        block_offset, after = _varint(block, at)
        yield block_offset, _varint(block, after)[0]
        at += value_size


def _unpacked(block: bytes, kind: int) -> bytes:
    """The content of a block of a table, which the indexer's have compressed. ValueError."""
    if kind == _PLAIN:
        return block
    if kind != _SNAPPY:
        raise ValueError(f"compressed as {kind}, which this program never does to its tables")
    try:
        if cramjam.snappy.decompress_raw_len(block) > _MAX_INDEX_BYTES:
            raise ValueError("larger than any index")
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise ValueError("not Snappy") from error


# ------------------------------------------------------------ parts


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 64 bits and where it ends. IndexError, ValueError."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _varint(data, at)
    if at + size > len(data):
        raise ValueError("a text passes the end")
    return data[at : at + size], at + size


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise StorageCorrupt(path, "the file is missing") from error
    except OSError as error:
        raise from_os_error(path, error) from error
