"""A database whose log is damaged: go back to before the damage, if nothing that counts is lost by it.

A power cut may leave the last record incomplete; that commit was never acknowledged. Bit rot may damage the middle,
with acknowledged commits behind it. The files look alike, so the caller's `check` decides by what it knows of the last
commit.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from storage.errors import LogDamaged, from_os_error
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.leveldb_files import logs_of

__all__ = ["copy_database", "open_before_damage", "open_derived"]

Check = Callable[[LevelDbStore], None]
"""Looks at the database as it was before the damage; raises StorageError if acknowledged commits are missing."""


def open_derived(path: Path, options: LevelDbOptions) -> LevelDbStore:
    """Open a database that its owner rebuilds from another, so a lost log end is harmless. Raises StorageError."""
    try:
        return LevelDbStore(path, options)
    except LogDamaged as damaged:
        _cut(path, damaged)
        return LevelDbStore(path, options)


def open_before_damage(path: Path, options: LevelDbOptions, damaged: LogDamaged, check: Check) -> LevelDbStore:
    """Open with the damaged log cut, if `check` agrees; otherwise its error is raised and nothing was changed.

    The log as it was stays beside the database, named after it with `.damaged`.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="trial-", dir=path.parent) as directory:
            trial = Path(directory) / "db"
            copy_database(path, trial)
            _cut(trial, LogDamaged(trial / damaged.path.name, damaged.offset))
            store = LevelDbStore(trial, options)
            try:
                check(store)
            finally:
                store.close()
    except OSError as error:
        raise from_os_error(path, error) from error
    _cut(path, damaged)
    return LevelDbStore(path, options)


def copy_database(path: Path, to: Path) -> None:
    """A copy that shares the tables, which nobody ever changes. Raises OSError."""
    to.mkdir()
    for file in path.iterdir():
        if file.suffix in (".ldb", ".sst"):
            os.link(file, to / file.name)
        elif file.name != "LOCK":
            shutil.copy2(file, to / file.name)


def _cut(path: Path, damaged: LogDamaged) -> None:
    """Cut a log where its damage begins, and take away the logs that follow it."""
    try:
        for log in logs_of(path):
            if log.name < damaged.path.name:
                continue
            shutil.copy2(log, path.parent / f"{log.name}.damaged")
            if log.name > damaged.path.name:
                log.unlink()
                continue
            with log.open("r+b") as file:
                file.truncate(damaged.offset)
                os.fsync(file.fileno())
    except OSError as error:
        raise from_os_error(damaged.path, error) from error
