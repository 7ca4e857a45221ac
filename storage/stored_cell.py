"""A live cell that is decoded lazily: most rules read little but its capacity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus.codec.layout import (
    OUTPUT_HEADERS,
    OUTPUT_LOCK_AND_TYPE,
    SCRIPT_ARGS_AT,
    SCRIPT_CODE_HASH_AT,
    SCRIPT_HEADERS,
)
from consensus.lazy import lazy
from consensus.types.blockchain import SHANNONS_PER_BYTE, CellOutput
from consensus.types.core import CellMeta, TransactionInfo
from storage.records import INLINE_DATA, CellRecord, cell_head, cell_info, inline_data

__all__ = ["StoredCell"]


class StoredCell(CellMeta):
    """A CellMeta over its packed record. Output, hash and data are unpacked when they are asked for.

    What each input is asked for are slots: quicker than the properties whose place they take.
    """

    __slots__ = ("__dict__", "_load", "_occupied", "_output_at", "_packed", "capacity", "has_type", "is_of_cellbase")
    capacity: int
    has_type: bool
    is_of_cellbase: bool

    def __init__(self, out_point: bytes, packed: bytes, load: Callable[[CellRecord], bytes]) -> None:
        """`load` reads the data of a record."""
        self.out_point = out_point
        self._packed: Final = packed
        self._load: Final = load
        self._data = None
        data_size, index, self._output_at, output_size, type_at, self.capacity = cell_head(packed)
        self.data_size, self.is_of_cellbase, self.has_type = data_size, index == 0, type_at != output_size
        # As CellOutput.occupied_capacity.
        headers = OUTPUT_HEADERS if type_at == output_size else OUTPUT_HEADERS + SCRIPT_HEADERS
        self._occupied: Final[int] = (output_size - headers + data_size) * SHANNONS_PER_BYTE

    @lazy
    def _record(self) -> CellRecord:
        return CellRecord.unpack(self._packed)

    @lazy
    def info(self) -> TransactionInfo:
        return cell_info(self._packed)

    @lazy
    def output(self) -> CellOutput:
        return CellOutput.trusted(self._packed[self._output_at :])

    @lazy
    def data_hash(self) -> bytes:
        return self._record.data_hash

    def _load_data(self) -> bytes:
        return inline_data(self._packed) if self.data_size <= INLINE_DATA else self._load(self._record)

    @property
    def type_code(self) -> bytes:
        at = self._output_at + self._lock_and_type[1]
        return self._packed[at + SCRIPT_CODE_HASH_AT : at + SCRIPT_ARGS_AT] if self.has_type else b""

    @property
    def lock_size(self) -> int:
        lock_at, type_at = self._lock_and_type
        return type_at - lock_at

    @property
    def _lock_and_type(self) -> tuple[int, int]:
        """Where they begin in the output."""
        lock_at, type_at = OUTPUT_LOCK_AND_TYPE.unpack_from(self._packed, self._output_at)
        return lock_at, type_at

    def occupied_capacity(self) -> int:
        return self._occupied
