"""Keys and records of the index. Numbers in keys are big endian, so that keys sort as the chain does.

| key | value |
|---|---|
| `o` out point 36 B | live cell: number u64, tx index u32, length of output u32, output, data |
| 64 / 96, script bytes, number, tx index, output index | tx hash: live cells by lock / type |
| 128 / 160, script bytes, number, tx index, io index, io type (0 input, 1 output) | tx hash |
| `c` / `d` script bytes | capacity of all live cells by lock / type, little endian; absent when it is 0 |
| `b` number | block hash of the indexed chain |
| `u` number | undo record: what each transaction of the block consumed and created (msgpack) |
| `i` | number of the block that indexing began behind, where `init_tip_hash` says so |
| `r` | number of the first block from which on transactions may be repeated, see Index |
| `v` | version of this layout and hash of the filters; there while there are blocks |
| `x` | empty; there while the index is being cleared |

Script bytes are code hash, hash type and arguments without lengths: a shorter script's key is a prefix of a longer
one's, which is what prefix search means. Keys of cells and transactions are the cursors that clients get: these are the
reference's, byte by byte, so a client may go on where it stopped asking a reference.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

import msgspec

from consensus.types.blockchain import Script

CELL, BLOCK, UNDO, INIT = b"o", b"b", b"u", b"i"
REPEATS, CLEARING = b"r", b"x"
FORMAT, FORMAT_NOW = b"v", b"3"
CELL_BY_LOCK, CELL_BY_TYPE = b"\x40", b"\x60"
TX_BY_LOCK, TX_BY_TYPE = b"\x80", b"\xa0"
TOTAL_BY_LOCK, TOTAL_BY_TYPE = b"c", b"d"
IO_INPUT, IO_OUTPUT = b"\0", b"\1"

CELL_TAIL = Struct(">QII")
TX_TAIL = Struct(">QIIB")
TX_PLACE = Struct(">QI")
"""Begins both tails."""
_NUMBER = Struct(">Q")
_INDEX = Struct("<I")
CELL_HEAD = Struct("<QII")

# Where the parts of a serialised CellOutput lie: a table of capacity, lock, type with its header of 16 bytes, and in a
# script likewise code hash, hash type and arguments. Stored blocks are strictly well formed.
_TYPE_OFFSET: Final = Struct("<12xI")
CAPACITY: Final = Struct("<16xQ")
SCRIPTS_AT: Final = 24
_CODE_AT, _CODE_END, _ARGS_AT = 16, 49, 53


def script_bytes(script: Script) -> bytes:
    """Code hash, hash type and arguments end to end."""
    return script.code_hash + bytes((script.hash_type,)) + script.args


def number_key(prefix: bytes, number: int) -> bytes:
    return prefix + _NUMBER.pack(number)


class Scripts(NamedTuple):
    """What the index reads of a serialised output: script bytes of lock and type, which may be missing."""

    lock: bytes
    type_: bytes | None
    capacity: int


def scripts_of(output: bytes) -> Scripts:
    """Of a serialised CellOutput."""
    (type_at,) = _TYPE_OFFSET.unpack_from(output)
    lock = output[SCRIPTS_AT + _CODE_AT : SCRIPTS_AT + _CODE_END] + output[SCRIPTS_AT + _ARGS_AT : type_at]
    type_ = None
    if type_at != len(output):
        type_ = output[type_at + _CODE_AT : type_at + _CODE_END] + output[type_at + _ARGS_AT :]
    return Scripts(lock, type_, CAPACITY.unpack_from(output)[0])


def spent_cell(packed: bytes, out_point: bytes) -> tuple[bytes, bytes]:
    """Serialised output of a packed cell, and its place in the chain as keys have it."""
    number, tx_index, length = CELL_HEAD.unpack_from(packed)
    at = CELL_HEAD.size
    return packed[at : at + length], CELL_TAIL.pack(number, tx_index, _INDEX.unpack_from(out_point, 32)[0])


class UndoneTx(NamedTuple):
    """What is needed to roll a transaction back; its block may not be stored any more then."""

    hash: bytes
    outputs: int
    """How many it has; those that the index has are live when it is rolled back."""
    consumed: list[tuple[int, bytes, bytes]]
    """Index of the input, out point, packed cell."""
    displaced: list[tuple[bytes, bytes]]
    """Out points and packed cells that this transaction overwrote: only unverified blocks repeat a transaction."""


_UNDO = msgspec.msgpack.Decoder(list[UndoneTx])


def pack_undo(transactions: list[UndoneTx]) -> bytes:
    """The undo record of a block."""
    return msgspec.msgpack.encode(transactions)


def unpack_undo(packed: bytes) -> list[UndoneTx]:
    """The inverse of pack_undo."""
    return _UNDO.decode(packed)
