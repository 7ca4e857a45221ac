"""Keys and records of the index. Numbers in keys are big endian, so that keys sort as the chain does.

| key | value |
|---|---|
| `o` out point 36 B | live cell: number u64, tx index u32, length of output u32, output, data |
| 64 / 96, script bytes, number, tx index, output index | tx hash: live cells by lock / type |
| 128 / 160, script bytes, number, tx index | tx hash, then of each input and output of the script IO, in its order |
| `c` / `d` script bytes | capacity of all live cells by lock / type, little endian; absent when it is 0 |
| `b` number | block hash of the indexed chain |
| `u` number | undo record: what each transaction of the block consumed and created (msgpack) |
| `i` | number of the block that indexing began behind, where `init_tip_hash` says so |
| `r` | number of the first block from which on transactions may be repeated, see Index |
| `v` | version of this layout and hash of the filters; there while there are blocks |
| `x` | empty; there while the index is being cleared |

Script bytes are code hash, hash type and arguments without lengths: a shorter script's key is a prefix of a longer
one's, which is what prefix search means. Cursors that clients get are keys of cells, and keys of transactions with one
IO: these are the reference's, byte by byte, so a client may go on where it stopped asking a reference. A transaction's
inputs and outputs of a script stand together, which the reference's do not where a longer script, under the same
prefix, goes on with the very bytes of the transaction's number and index.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, Protocol

import msgspec

CELL, BLOCK, UNDO, INIT = b"o", b"b", b"u", b"i"
REPEATS, CLEARING = b"r", b"x"
FORMAT, FORMAT_NOW = b"v", b"4"
CELL_BY_LOCK, CELL_BY_TYPE = b"\x40", b"\x60"
TX_BY_LOCK, TX_BY_TYPE = b"\x80", b"\xa0"
TOTAL_BY_LOCK, TOTAL_BY_TYPE = b"c", b"d"
IO_INPUT, IO_OUTPUT = b"\0", b"\1"

CELL_TAIL = Struct(">QII")
TX_PLACE = Struct(">QI")
"""Begins CELL_TAIL."""
IO = Struct(">IB")
"""Index of an input or output, and which of both it is."""
_NUMBER = Struct(">Q")
_SIZE = Struct("<I")
CELL_HEAD = Struct("<QII")
PACKED_CELL = Struct("<QII16xQ")
"""Number, tx index and length of the output of a packed cell; its capacity."""

# Where the parts of a serialised CellOutput lie: a table of capacity, lock, type with its header of 16 bytes, and in a
# script likewise code hash, hash type and arguments. Stored blocks are strictly well formed.
CAPACITY: Final = Struct("<16xQ")
SCRIPTS_AT: Final = 24
PACKED_SCRIPTS_AT: Final = CELL_HEAD.size + SCRIPTS_AT
_CODE_AT, _CODE_END, _ARGS_AT = 16, 49, 53


class AnyScript(Protocol):
    """A Script, or what a search has of one."""

    @property
    def code_hash(self) -> bytes: ...

    @property
    def hash_type(self) -> int: ...

    @property
    def args(self) -> bytes: ...


def script_bytes(script: AnyScript) -> bytes:
    """Code hash, hash type and arguments end to end."""
    return script.code_hash + bytes((script.hash_type,)) + script.args


def number_key(prefix: bytes, number: int) -> bytes:
    return prefix + _NUMBER.pack(number)


def scripts_of(scripts: bytes) -> tuple[bytes, bytes | None]:
    """Script bytes of lock and type, which may be missing, of a serialised CellOutput from SCRIPTS_AT on."""
    (type_at,) = _SIZE.unpack_from(scripts)
    lock = scripts[_CODE_AT:_CODE_END] + scripts[_ARGS_AT:type_at]
    if type_at == len(scripts):
        return lock, None
    return lock, scripts[type_at + _CODE_AT : type_at + _CODE_END] + scripts[type_at + _ARGS_AT :]


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
