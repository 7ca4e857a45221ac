"""The values of the chain database that are not molecule: packed by fixed layouts, little endian.

A live cell is `head`, data part, output. The head is data size u32, transaction index u32, block number u64, packed
epoch u64, block hash 32 B. Data of up to INLINE_DATA bytes stands in the record itself; of longer data the record has
its hash (32 B), the block's archive location (12 B) and where in the block it begins (u32). The rest is the molecule
`CellOutput`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from consensus.codec.layout import HEADER_SIZE, OUTPUT_HEAD, U32
from consensus.crypto.hashing import data_hash as hash_of_data
from consensus.types.core import TransactionInfo
from storage.archive import LOCATION_SIZE, Location

__all__ = [
    "INLINE_DATA",
    "BlockRecord",
    "CellRecord",
    "RowsOfBlock",
    "TransactionRecord",
    "cell_head",
    "cell_info",
    "inline_data",
    "pack_cell",
]

INLINE_DATA: Final = 64
"""Longest data kept in the cell's own record, in bytes. Part of the schema: it tells the two forms apart."""

_TRANSACTION: Final = Struct(f"<32sQQI{LOCATION_SIZE}sII")
_BLOCK: Final = Struct("<32sQQ")
_IN_BLOCK: Final = Struct(f"<I{LOCATION_SIZE}sII")
"""Both parts of `_TRANSACTION`."""
_CELL_HEAD: Final = Struct("<IIQQ32s")
_SIZE_AND_INDEX: Final = Struct("<II")
_HEAD_OF_EMPTY: Final = Struct(f"<II{_CELL_HEAD.size - _SIZE_AND_INDEX.size}x{OUTPUT_HEAD.format[1:]}")
"""Both heads of a cell without data: its own, and its output's."""
_BLOCK_OF_CELL: Final = Struct("<QQ32s")
"""Both parts of `_CELL_HEAD`."""
_ARCHIVED_DATA: Final = Struct(f"<32s{LOCATION_SIZE}sI")


class BlockRecord(NamedTuple):
    """What is kept of every stored block: its header (208 bytes), where its body is, and the transaction count."""

    header: bytes
    location: Location
    transaction_count: int

    def pack(self) -> bytes:
        """224 bytes."""
        return self.header + self.location.pack() + U32.pack(self.transaction_count)

    @classmethod
    def unpack(cls, packed: bytes) -> BlockRecord:
        """The inverse of `pack`."""
        location = Location.unpack(packed[HEADER_SIZE : HEADER_SIZE + LOCATION_SIZE])
        return cls(packed[:HEADER_SIZE], location, U32.unpack_from(packed, HEADER_SIZE + LOCATION_SIZE)[0])


class TransactionRecord(NamedTuple):
    """Where a main-chain transaction was committed, and its bytes `start` to `start + length` of the block."""

    block_hash: bytes
    block_number: int
    block_epoch: int
    tx_index: int
    location: Location
    start: int
    length: int

    def pack(self) -> bytes:
        """72 bytes."""
        block_hash, number, epoch, index, location, start, length = self
        return _TRANSACTION.pack(block_hash, number, epoch, index, location.pack(), start, length)

    @classmethod
    def unpack(cls, packed: bytes) -> TransactionRecord:
        """The inverse of `pack`."""
        block_hash, number, epoch, index, location, start, length = _TRANSACTION.unpack(packed)
        return cls(block_hash, number, epoch, index, Location.unpack(location), start, length)


def pack_cell(created: TransactionRecord, output: bytes, data: bytes, data_start: int) -> bytes:
    """The record of a cell that `created` made: its molecule output, its data, and where in the block that begins."""
    block_hash, number, epoch, index, location, _, _ = created
    head = _CELL_HEAD.pack(len(data), index, number, epoch, block_hash)
    if len(data) <= INLINE_DATA:
        return head + data + output
    return head + _ARCHIVED_DATA.pack(hash_of_data(data), location.pack(), data_start) + output


class RowsOfBlock:
    """Packs what a block creates as `TransactionRecord.pack` and `pack_cell` do, but what all rows share only once."""

    def __init__(self, block_hash: bytes, number: int, epoch: int, location: Location) -> None:
        self._location: Final = location.pack()
        self._block: Final = _BLOCK.pack(block_hash, number, epoch)
        self._block_of_cell: Final = _BLOCK_OF_CELL.pack(number, epoch, block_hash)

    def transaction(self, index: int, start: int, length: int) -> bytes:
        """The record of the block's transaction at `index`, which is bytes `start` to `start + length` of the block."""
        return self._block + _IN_BLOCK.pack(index, self._location, start, length)

    def bare_cell(self, index: int) -> bytes:
        """What precedes the output in the record of a cell without data of the transaction at `index`."""
        return _SIZE_AND_INDEX.pack(0, index) + self._block_of_cell

    def cell(self, index: int, output: bytes, data: bytes) -> bytes:
        """The record of a cell of the transaction at `index` with at most INLINE_DATA bytes of data."""
        return b"".join((_SIZE_AND_INDEX.pack(len(data), index), self._block_of_cell, data, output))

    def archived_cell(self, index: int, output: bytes, size: int, data_hash: bytes, data_start: int) -> bytes:
        """Likewise with so many more bytes of data, which begin at `data_start` of the block."""
        data = _ARCHIVED_DATA.pack(data_hash, self._location, data_start)
        return b"".join((_SIZE_AND_INDEX.pack(size, index), self._block_of_cell, data, output))


def cell_head(packed: bytes) -> tuple[int, int, int, int, int, int]:
    """Of a cell's record: data size, transaction index, where its output begins; of the output its size, where in it
    the type begins, and the capacity."""
    size, index, output_size, _, _, type_at, capacity = _HEAD_OF_EMPTY.unpack_from(packed)
    if not size:
        return size, index, _CELL_HEAD.size, output_size, type_at, capacity
    output_at = _CELL_HEAD.size + (size if size <= INLINE_DATA else _ARCHIVED_DATA.size)
    output_size, _, _, type_at, capacity = OUTPUT_HEAD.unpack_from(packed, output_at)
    return size, index, output_at, output_size, type_at, capacity


def inline_data(packed: bytes) -> bytes:
    """Of the record of a cell whose data stands in it: the data."""
    size: int = U32.unpack_from(packed)[0]
    return packed[_CELL_HEAD.size : _CELL_HEAD.size + size]


def cell_info(packed: bytes) -> TransactionInfo:
    """Of a cell's record: where it was created."""
    _, index, number, epoch, block_hash = _CELL_HEAD.unpack_from(packed)
    return TransactionInfo(block_hash, number, epoch, index)


class CellRecord(NamedTuple):
    """A live cell as stored. `data` is None when it is in the archive, at `data_start` of the record at
    `location`."""

    block_hash: bytes
    block_number: int
    block_epoch: int
    tx_index: int
    output: bytes
    data_size: int
    data_hash: bytes
    data: bytes | None
    packed_location: bytes | None
    data_start: int

    @classmethod
    def unpack(cls, packed: bytes) -> CellRecord:
        """The inverse of `pack_cell`."""
        size, index, number, epoch, block_hash = _CELL_HEAD.unpack_from(packed)
        at = _CELL_HEAD.size
        if size <= INLINE_DATA:
            data = packed[at : at + size]
            return cls(block_hash, number, epoch, index, packed[at + size :], size, hash_of_data(data), data, None, 0)
        hashed, location, start = _ARCHIVED_DATA.unpack_from(packed, at)
        output = packed[at + _ARCHIVED_DATA.size :]
        return cls(block_hash, number, epoch, index, output, size, hashed, None, location, start)

    @property
    def location(self) -> Location | None:
        """Where the data is; unpacked only when it is wanted."""
        return None if self.packed_location is None else Location.unpack(self.packed_location)
