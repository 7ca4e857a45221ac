"""Look-ups that cannot fail on a sound database."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class ChainDataError(Exception):
    """The reader lacks what it must have: the database is broken, not the block. Hence no CkbError."""

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
