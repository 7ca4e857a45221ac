"""Keys and records of the index. Numbers in keys are big endian, so that keys sort as the chain does.

| key | value |
|---|---|
| `o` out point 36 B | live cell: number u64, tx index u32, length of output u32, output, data |
| `l` / `t` script bytes, number, tx index, output index | tx hash: live cells by lock / type |
| `L` / `T` script bytes, number, tx index, io index, io type (0 input, 1 output) | tx hash |
| `b` number | block hash of the indexed chain |
| `u` number | undo record: what each transaction of the block consumed and created (msgpack) |
| `v` | version of this layout; there while there are blocks |
| `x` | empty; there while the index is being cleared |

Script bytes are code hash, hash type and arguments without lengths: a shorter script's key is a prefix of a longer
one's, which is what prefix search means.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

import msgspec

from consensus.types.blockchain import CellOutput, Script

CELL, BLOCK, UNDO = b"o", b"b", b"u"
CLEARING = b"x"
FORMAT, FORMAT_NOW = b"v", b"2"
CELL_BY_LOCK, CELL_BY_TYPE = b"l", b"t"
TX_BY_LOCK, TX_BY_TYPE = b"L", b"T"
IO_INPUT, IO_OUTPUT = 0, 1

CELL_TAIL = Struct(">QII")
TX_TAIL = Struct(">QIIB")
_NUMBER = Struct(">Q")
_CELL_HEAD = Struct("<QII")


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


class UndoneTx(NamedTuple):
    """What is needed to roll a transaction back; its block may not be stored any more then."""

    hash: bytes
    consumed: list[tuple[int, bytes, bytes]]
    """Index of the input, out point, packed cell."""
    outputs: list[bytes]
    """Serialised CellOutputs."""
    displaced: list[tuple[bytes, bytes]]
    """Out points and packed cells that this transaction overwrote: only unverified blocks repeat a transaction."""


_UNDO = msgspec.msgpack.Decoder(list[UndoneTx])


def pack_undo(transactions: list[UndoneTx]) -> bytes:
    """The undo record of a block."""
    return msgspec.msgpack.encode(transactions)


def unpack_undo(packed: bytes) -> list[UndoneTx]:
    """The inverse of pack_undo."""
    return _UNDO.decode(packed)
