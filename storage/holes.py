"""Punching holes into files, where the system and the file system support it."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["punch_hole"]

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_PAGE: Final = 4096


def punch_hole(fd: int, start: int, end: int) -> bool:
    """Give the whole pages between two offsets back; they read as zeros then. False where that is not possible."""
    start, end = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
    if end <= start:
        return True
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None:
        return False
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return bool(fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, end - start) == 0)
