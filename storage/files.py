"""Small files that are replaced whole: the saved pool, the node's key, the configuration."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final

__all__ = ["set_aside", "sync_directory", "write_whole"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_DIRECTORY: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file, or make it and the directories above it: whatever happens, the old or the new content is there.

    It is on the disk when this returns. Raises OSError; the file is as before then, and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)  # of a process that was killed
    try:
        with os.fdopen(os.open(temporary, _NEW, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk. Raises OSError."""
    descriptor = os.open(path, _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file so that it is kept and a new one can take its place; its new name. Raises OSError."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists() and not aside.is_symlink():
            path.rename(aside)
            sync_directory(path.parent)
            return aside
    raise AssertionError("itertools.count ended")
