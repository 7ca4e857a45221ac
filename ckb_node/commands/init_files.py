"""The files that `ckb-node init` writes: all of them, or as it was before."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self


class NewFiles:
    """Files and directories that are taken back when the `with` block ends with an error."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self._undo.pop_all()
        self._undo.close()

    def directory(self, path: Path) -> None:
        """A directory, made with those above it where they are not there. OSError."""
        if path.is_dir():
            return
        if path.parent != path:
            self.directory(path.parent)
        path.mkdir()
        self._undo.callback(_remove_directory, path)

    def write(self, path: Path, data: bytes) -> None:
        """A file with its directory; one that is there is overwritten. OSError."""
        self.directory(path.parent)
        before = path.read_bytes() if path.exists() else None
        self._undo.callback(_restore, path, before)
        path.write_bytes(data)


def _remove_directory(path: Path) -> None:
    with contextlib.suppress(OSError):  # another process has put something into it
        path.rmdir()


def _restore(path: Path, before: bytes | None) -> None:
    with contextlib.suppress(OSError):
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
