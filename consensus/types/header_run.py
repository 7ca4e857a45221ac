"""Headers in a row, as peers send them: thousands are read, hashed and compared together, no object for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct as ByteStruct
from typing import Any, Final, overload

from consensus.codec.layout import HEADER_SIZE
from consensus.crypto.hashing import ckb_hash
from consensus.types.header import Header

__all__ = ["HeaderRun"]

_COLUMNS: Final = "<IIQQQ32s"
"""The first fields of a header: those that its rules look at."""
_ROW: Final = ByteStruct(f"{_COLUMNS}{HEADER_SIZE - ByteStruct(_COLUMNS).size}x")
_NO_COLUMNS: Final[tuple[Any, ...]] = ((),) * 6


@dataclass(frozen=True, slots=True, eq=False)
class HeaderRun(Sequence[Header]):
    """Headers in order; their bytes, hashes and fields stand each in a row of its own. A Header is made of one when it
    is asked for. Each has bytes of its own, so that none keeps the others in memory."""

    raws: list[bytes]
    hashes: list[bytes]
    versions: tuple[int, ...]
    compact_targets: tuple[int, ...]
    timestamps: tuple[int, ...]
    numbers: tuple[int, ...]
    epochs: tuple[int, ...]
    """Packed."""
    parent_hashes: tuple[bytes, ...]

    @classmethod
    def parse(cls, raw: bytes) -> HeaderRun:
        """Serialised headers that stand end to end. Raises struct.error when the last one is not whole."""
        columns = _columns(raw)
        raws = [raw[at : at + HEADER_SIZE] for at in range(0, len(raw), HEADER_SIZE)]
        return cls(raws, [ckb_hash(each) for each in raws], *columns)

    @classmethod
    def of(cls, headers: Sequence[Header]) -> HeaderRun:
        """Of whatever sequence."""
        if isinstance(headers, HeaderRun):
            return headers
        raws = [header.raw for header in headers]
        return cls(raws, [header.hash for header in headers], *_columns(b"".join(raws)))

    def __len__(self) -> int:
        return len(self.raws)

    @overload
    def __getitem__(self, at: int) -> Header: ...
    @overload
    def __getitem__(self, at: slice) -> HeaderRun: ...
    def __getitem__(self, at: int | slice) -> Header | HeaderRun:
        if isinstance(at, slice):
            return HeaderRun(
                self.raws[at],
                self.hashes[at],
                self.versions[at],
                self.compact_targets[at],
                self.timestamps[at],
                self.numbers[at],
                self.epochs[at],
                self.parent_hashes[at],
            )
        header = Header.trusted(self.raws[at])
        header.hash = self.hashes[at]
        return header

    def first_gap(self) -> int | None:
        """Index of the first header, but for the very first, whose parent is not the one before it."""
        if self.parent_hashes[1:] == tuple(self.hashes[:-1]):
            return None
        pairs = zip(self.parent_hashes[1:], self.hashes, strict=False)
        return next(at for at, (parent, before) in enumerate(pairs, start=1) if parent != before)


def _columns(raw: bytes) -> tuple[Any, ...]:
    return tuple(zip(*_ROW.iter_unpack(raw), strict=True)) or _NO_COLUMNS
