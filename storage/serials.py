"""Numbers the commits, so that a hole in the database's log is noticed.

After a power cut LevelDB skips unreadable log records and goes on behind them: an unsynced commit may vanish while a
later one stays, which would leave an inconsistent chain. Each commit therefore puts its serial number into one
of SLOTS slots; at open the last SLOTS serials must be there without a gap. The log holds far fewer commits of blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from storage.errors import StorageCorrupt
from storage.kv import Pair, Reader
from storage.schema import COMMIT_SERIAL, META_SERIAL

__all__ = ["SLOTS", "all_slots", "check_serials", "current_serial", "serial_changes"]

SLOTS: Final = 1 << 15


def serial_changes(serial: int) -> tuple[Pair, Pair]:
    """The changes that go into commit number `serial` (from 1)."""
    packed = serial.to_bytes(8, "little")
    return (META_SERIAL, packed), (COMMIT_SERIAL + (serial % SLOTS).to_bytes(2, "big"), packed)


def all_slots(serial: int) -> list[Pair]:
    """The rows of a database that has made all commits up to number `serial`."""
    packed = ((each % SLOTS, each.to_bytes(8, "little")) for each in range(max(1, serial - SLOTS + 1), serial + 1))
    rows = [(COMMIT_SERIAL + slot.to_bytes(2, "big"), value) for slot, value in packed]
    return [*rows, (META_SERIAL, serial.to_bytes(8, "little"))]


def current_serial(reader: Reader) -> int:
    """Serial of the last commit that the reader includes, 0 before the first."""
    return int.from_bytes(reader.get(META_SERIAL) or b"", "little")


def check_serials(reader: Reader, path: Path) -> None:
    """StorageCorrupt if one of the last SLOTS commits is missing."""
    last = current_serial(reader)
    found = {int.from_bytes(value, "little") for _, value in reader.iterator(prefix=COMMIT_SERIAL)}
    missing = set(range(max(1, last - SLOTS + 1), last + 1)) ^ found
    if missing:
        raise StorageCorrupt(path, f"commit {min(missing)} of {last} was lost from the database's log")
