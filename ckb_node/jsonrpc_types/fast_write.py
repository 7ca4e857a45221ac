"""Blocks and transactions as JSON straight from their molecule bytes: a full block must not hold up the event loop.

The same as `jsontypes.transaction_json`, ten times faster; tests compare the two. The bytes were checked when the
transaction was parsed, so every place in them follows from the schema (`blockchain.mol`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from struct import Struct as ByteStruct

from msgspec import UNSET

from ckb_node.jsonrpc_types.chain import (
    DEP_TYPE_NAMES,
    HASH_TYPE_NAMES,
    BlockViewJson,
    CellDepJson,
    CellInputJson,
    CellOutputJson,
    OutPointJson,
    ScriptJson,
    TransactionJson,
    TransactionViewJson,
    header_view_json,
    short_ids_json,
    uncle_view_json,
)
from ckb_node.jsonrpc_types.hex_text import bytes_text
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import (
    BODY_HEAD,
    CELL_DEP_SIZE,
    INPUT_SIZE,
    OUT_POINT_SIZE,
    OUTPUT_HEAD,
    SCRIPT_CODE_HASH_AT,
    SCRIPT_HASH_TYPE_AT,
    SCRIPT_HEAD,
    TRANSACTION_HEAD,
    U32,
)
from consensus.crypto.hashing import HASH_SIZE
from consensus.types.blockchain import Block, CellOutput, Transaction

_SINCE_AND_INDEX = ByteStruct("<Q32xI")
"""Of an input, without the transaction hash."""


def transaction_json(transaction: Transaction) -> TransactionJson:
    """A transaction without its hash."""
    return TransactionJson(*_fields(transaction.raw))


def transaction_view_json(transaction: Transaction) -> TransactionViewJson:
    """A transaction with its hash."""
    return TransactionViewJson(*_fields(transaction.raw), "0x" + transaction.hash.hex())


def output_json(output: CellOutput) -> CellOutputJson:
    """An output."""
    raw = output.raw
    return _output(raw, raw.hex(), 0, len(raw))


_Fields = tuple[
    str, list[CellDepJson], list[str], list[CellInputJson], list[CellOutputJson], list[str], list[str]
]  # fmt: skip
"""Of a TransactionJson."""


def _fields(raw: bytes) -> _Fields:
    text = raw.hex()
    _, body, witnesses = TRANSACTION_HEAD.unpack_from(raw, 0)
    _, version, deps, header_deps, inputs, outputs, data = BODY_HEAD.unpack_from(raw, body)
    return (
        hex(U32.unpack_from(raw, body + version)[0]),
        _deps(raw, text, body + deps),
        _hashes(raw, text, body + header_deps),
        _inputs(raw, text, body + inputs),
        _outputs(raw, text, body + outputs),
        _byte_strings(raw, text, body + data),
        _byte_strings(raw, text, witnesses),
    )


def _items(raw: bytes, at: int, size: int) -> range:
    """Places of the items of a vector whose items have a fixed size."""
    count = U32.unpack_from(raw, at)[0]
    return range(at + 4, at + 4 + count * size, size)


def _parts(raw: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Start and end of each item of a vector whose items differ in size."""
    return pairwise(trusted_bounds(raw, at))


def _out_point(raw: bytes, text: str, at: int) -> OutPointJson:
    return OutPointJson("0x" + text[2 * at : 2 * at + 64], hex(U32.unpack_from(raw, at + HASH_SIZE)[0]))


def _deps(raw: bytes, text: str, at: int) -> list[CellDepJson]:
    return [
        CellDepJson(_out_point(raw, text, place), DEP_TYPE_NAMES[raw[place + OUT_POINT_SIZE]])
        for place in _items(raw, at, CELL_DEP_SIZE)
    ]


def _hashes(raw: bytes, text: str, at: int) -> list[str]:
    return ["0x" + text[2 * place : 2 * place + 64] for place in _items(raw, at, HASH_SIZE)]


def _inputs(raw: bytes, text: str, at: int) -> list[CellInputJson]:
    inputs = []
    for place in _items(raw, at, INPUT_SIZE):
        since, index = _SINCE_AND_INDEX.unpack_from(raw, place)
        inputs.append(CellInputJson(hex(since), OutPointJson("0x" + text[2 * place + 16 : 2 * place + 80], hex(index))))
    return inputs


def _script(raw: bytes, text: str, start: int, end: int) -> ScriptJson:
    code_hash = 2 * (start + SCRIPT_CODE_HASH_AT)
    return ScriptJson(
        "0x" + text[code_hash : code_hash + 64],
        HASH_TYPE_NAMES[raw[start + SCRIPT_HASH_TYPE_AT]],
        "0x" + text[2 * (start + SCRIPT_HEAD.size) : 2 * end],
    )


def _outputs(raw: bytes, text: str, at: int) -> list[CellOutputJson]:
    return [_output(raw, text, start, end) for start, end in _parts(raw, at)]


def _output(raw: bytes, text: str, start: int, end: int) -> CellOutputJson:
    _, _, lock, type_, capacity = OUTPUT_HEAD.unpack_from(raw, start)
    type_script = None if start + type_ == end else _script(raw, text, start + type_, end)
    return CellOutputJson(hex(capacity), _script(raw, text, start + lock, start + type_), type_script)


def _byte_strings(raw: bytes, text: str, at: int) -> list[str]:
    return ["0x" + text[2 * start + 8 : 2 * end] for start, end in _parts(raw, at)]


def block_view_json(block: Block) -> BlockViewJson:
    """A block with its hashes."""
    return BlockViewJson(
        header_view_json(block.header),
        [uncle_view_json(uncle) for uncle in block.uncles],
        [transaction_view_json(transaction) for transaction in block.transactions],
        short_ids_json(block.proposals),
        UNSET if block.extension is None else bytes_text(block.extension),
    )
