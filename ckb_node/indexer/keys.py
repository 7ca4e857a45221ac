"""Keys and records of the index. Numbers in keys are big endian, so that keys sort as the chain does.

| key | value |
|---|---|
| `o` out point 36 B | live cell: number u64, tx index u32, length of output u32, output, data |
| `l` / `t` script bytes, number, tx index, output index | tx hash: live cells by lock / type |
| `L` / `T` script bytes, number, tx index, io index, io type (0 input, 1 output) | tx hash |
| `b` number | block hash of the indexed chain |
| `u` number | undo record: the cells that the block consumed |
| `x` | empty; there while the index is being cleared |

Script bytes are code hash, hash type and arguments without lengths: a shorter script's key is a prefix of a longer
one's, which is what prefix search means.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from consensus.types.blockchain import CellOutput, Script

CELL, BLOCK, UNDO = b"o", b"b", b"u"
CLEARING = b"x"
CELL_BY_LOCK, CELL_BY_TYPE = b"l", b"t"
TX_BY_LOCK, TX_BY_TYPE = b"L", b"T"
IO_INPUT, IO_OUTPUT = 0, 1

CELL_TAIL = Struct(">QII")
TX_TAIL = Struct(">QIIB")
_NUMBER = Struct(">Q")
_CELL_HEAD = Struct("<QII")
_LENGTH = Struct("<I")


def script_bytes(script: Script) -> bytes:
    """Code hash, hash type and arguments end to end."""
    return script.code_hash + bytes((script.hash_type,)) + script.args


def number_key(prefix: bytes, number: int) -> bytes:
    return prefix + _NUMBER.pack(number)


class IndexedCell(NamedTuple):
    """A live cell as the index keeps it."""

    number: int
    tx_index: int
    output: CellOutput
    data: bytes

    def pack(self) -> bytes:
        raw = self.output.raw
        return _CELL_HEAD.pack(self.number, self.tx_index, len(raw)) + raw + self.data

    @classmethod
    def unpack(cls, packed: bytes) -> IndexedCell:
        number, tx_index, length = _CELL_HEAD.unpack_from(packed)
        at = _CELL_HEAD.size
        return cls(number, tx_index, CellOutput.trusted(packed[at : at + length]), packed[at + length :])


def pack_undo(consumed: list[tuple[bytes, bytes]]) -> bytes:
    """Pairs of out point and packed cell."""
    return b"".join(out_point + _LENGTH.pack(len(cell)) + cell for out_point, cell in consumed)


def unpack_undo(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The inverse of pack_undo."""
    at = 0
    while at < len(packed):
        out_point = packed[at : at + 36]
        length = _LENGTH.unpack_from(packed, at + 36)[0]
        at += 36 + _LENGTH.size
        yield out_point, packed[at : at + length]
        at += length
