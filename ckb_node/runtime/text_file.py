"""Texts that users write: bounded, UTF-8 with or without a byte order mark, from regular files."""

from __future__ import annotations

import stat
from pathlib import Path

from ckb_node.runtime.errors import CommandError

BOM = b"\xef\xbb\xbf"


class TextFileError(CommandError):
    """A file is no text that can be read; the message names it."""


def read_text(path: Path, limit: int, *, only_regular: bool = True) -> str:
    """The text of a file of at most `limit` bytes. FileNotFoundError; TextFileError for all else.

    `only_regular` refuses pipes and devices before they are opened, which might never return.
    """
    try:
        if only_regular and not stat.S_ISREG(path.stat().st_mode):
            raise TextFileError(f"{path}: is a directory" if path.is_dir() else f"{path}: not a regular file")
        with path.open("rb") as file:
            return decode(file.read(limit + 1), limit, str(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TextFileError(f"{path}: {error.strerror or error}") from error


def decode(data: bytes, limit: int, name: str) -> str:
    """The text of some bytes. TextFileError when they are too many or no UTF-8."""
    if len(data) > limit:
        raise TextFileError(f"{name}: larger than {limit} bytes")
    try:
        return data.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        raise TextFileError(f"{name}: not UTF-8 text") from None
