"""Look-ups that fail only if the database is damaged."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class ChainDataError(Exception):
    """The database lacks a required row. Not a CkbError: the block is not at fault."""

    def __init__(self, what: str, key: bytes | int) -> None:
        shown = f"0x{key.hex()}" if isinstance(key, bytes) else str(key)
        super().__init__(f"the chain data lacks {what} of {shown}")
        self.what = what
        self.key = key


def require(value: T | None, what: str, key: bytes | int) -> T:
    """The value, ChainDataError when it is None. `what` and `key` name it: `require(ext, "block ext", block_hash)`."""
    if value is None:
        raise ChainDataError(what, key)
    return value
