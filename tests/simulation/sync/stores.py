"""Disks of simulated nodes: databases in memory that outlive their node, can be copied, and can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from storage.archive import MemoryArchive
from storage.chain_store import ChainStore
from storage.errors import DiskFull
from storage.kv import Change
from storage.memory import MemoryStore

_PATH: Final = Path(":memory:")


class SimDisk(MemoryStore):
    """A database in memory. While `is_full` nothing can be written."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False

    def prepare_batch(self, changes: Iterable[Change], /, *, sync: bool) -> Callable[[], None]:
        if self.is_full:
            raise DiskFull(_PATH, "no space left on the simulated device")
        return super().prepare_batch(changes, sync=sync)

    def copied(self) -> SimDisk:
        """Another disk with the same content."""
        copy = SimDisk()
        copy._data, copy._order, copy._moved = dict(self._data), list(self._order), set(self._moved)
        return copy


class SimStore:
    """A chain's database and the disk below it."""

    def __init__(self, disk: SimDisk | None = None, archive: MemoryArchive | None = None) -> None:
        self.disk: Final = disk or SimDisk()
        self._archive: Final = archive or MemoryArchive()
        self.chain: Final = ChainStore(self.disk, _PATH, lambda *_: self._archive)

    def copied(self) -> SimStore:
        """Another database with the same content: a chain that many nodes begin with is made once."""
        archive = MemoryArchive()
        archive._records.update(self._archive._records)
        archive._end = self._archive._end
        return SimStore(self.disk.copied(), archive)
