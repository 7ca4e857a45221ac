"""A live cell that is decoded lazily: most rules read little but its capacity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus.codec.layout import OUTPUT_HEAD, OUTPUT_HEADERS, SCRIPT_ARGS_AT, SCRIPT_CODE_HASH_AT, SCRIPT_HEADERS
from consensus.lazy import lazy
from consensus.types.blockchain import SHANNONS_PER_BYTE, CellOutput
from consensus.types.core import CellMeta, TransactionInfo
from storage.records import CellRecord, cell_head, cell_info

__all__ = ["StoredCell"]


class StoredCell(CellMeta):
    """A CellMeta over its packed record. Output, hash and data are unpacked when they are asked for."""

    def __init__(self, out_point: bytes, packed: bytes, load: Callable[[CellRecord], bytes]) -> None:
        """`load` reads the data of a record."""
        self.out_point = out_point
        self._packed: Final = packed
        self._load: Final = load
        self._data = None
        size, index, output_at = cell_head(packed)
        self.data_size = size
        self._is_of_cellbase: Final[bool] = index == 0
        output_size, _, _, type_at, capacity = OUTPUT_HEAD.unpack_from(packed, output_at)
        self._capacity: Final[int] = capacity
        self._has_type: Final[bool] = type_at != output_size
        self._type_at: Final[int] = output_at + type_at
        # As CellOutput.occupied_capacity.
        content = output_size - OUTPUT_HEADERS - (SCRIPT_HEADERS if self._has_type else 0)
        self._occupied: Final[int] = (content + size) * SHANNONS_PER_BYTE

    @lazy
    def _record(self) -> CellRecord:
        return CellRecord.unpack(self._packed)

    @lazy
    def info(self) -> TransactionInfo:
        return cell_info(self._packed)

    @lazy
    def output(self) -> CellOutput:
        return CellOutput.trusted(self._record.output)

    @lazy
    def data_hash(self) -> bytes:
        return self._record.data_hash

    def _load_data(self) -> bytes:
        return self._load(self._record)

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def is_of_cellbase(self) -> bool:
        return self._is_of_cellbase

    @property
    def has_type(self) -> bool:
        return self._has_type

    @property
    def type_code(self) -> bytes:
        at = self._type_at
        return self._packed[at + SCRIPT_CODE_HASH_AT : at + SCRIPT_ARGS_AT] if self._has_type else b""

    def occupied_capacity(self) -> int:
        return self._occupied
