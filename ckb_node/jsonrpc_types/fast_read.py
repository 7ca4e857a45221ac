"""Headers and transactions of JSON texts straight to their molecule bytes: import reads hundreds of thousands of them.

The same bytes as those of `jsontypes.read_header` and `read_transaction`, four times faster; tests compare the two.
What is not as usual, well written or not, is left to those two, which say what is wrong with it.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812 - a class

from ckb_node.jsonrpc_types.chain import (
    DEP_TYPE_NAMES,
    HASH_TYPES,
    CellDepJson,
    CellInputJson,
    CellOutputJson,
    HeaderJson,
    ScriptJson,
    TransactionJson,
    read_header,
    read_transaction,
)
from consensus.codec.molecule import pack_parts
from consensus.crypto.hashing import HASH_SIZE

_HEADER = Struct("<IIQQQ32s32s32s32s32s")
_DEP, _INPUT = Struct("<32sIB"), Struct("<Q32sI")
_SCRIPT, _OUTPUT, _COUNT = Struct("<4I32sBI"), Struct("<4IQ"), Struct("<I")
_SCRIPT_OFFSETS, _OUTPUT_OFFSETS = (16, 48, 49), (16, 24)
_NONCE_SIZE = 16
_UNUSUAL = (ValueError, KeyError, OverflowError, StructError)


def header_bytes(header: HeaderJson) -> bytes:
    """208 bytes. Raises BadTextError."""
    try:
        return _header(header)
    except _UNUSUAL:
        return read_header(header).raw


def transaction_bytes(transaction: TransactionJson) -> bytes:
    """A whole transaction. Raises BadTextError, MoleculeError."""
    try:
        return _transaction(transaction)
    except _UNUSUAL:
        return read_transaction(transaction).raw


def _number(text: str) -> int:
    value = int(text, 16)
    if hex(value) != text:
        raise ValueError(text)
    return value


def _bytes(text: str) -> bytes:
    data = bytes.fromhex(text[2:])
    if 2 * len(data) + 2 != len(text) or not text.startswith("0x"):  # fromhex skips white space
        raise ValueError(text)
    return data


def _hash(text: str) -> bytes:
    data = _bytes(text)
    if len(data) != HASH_SIZE:
        raise ValueError(text)
    return data


def _header(header: HeaderJson) -> bytes:
    body = _HEADER.pack(
        _number(header.version),
        _number(header.compact_target),
        _number(header.timestamp),
        _number(header.number),
        _number(header.epoch),
        _hash(header.parent_hash),
        _hash(header.transactions_root),
        _hash(header.proposals_hash),
        _hash(header.extra_hash),
        _hash(header.dao),
    )
    return body + _number(header.nonce).to_bytes(_NONCE_SIZE, "little")


def _transaction(transaction: TransactionJson) -> bytes:
    body = pack_parts(
        [
            _COUNT.pack(_number(transaction.version)),
            _fixed([_dep(dep) for dep in transaction.cell_deps]),
            _fixed([_hash(block_hash) for block_hash in transaction.header_deps]),
            _fixed([_input(cell_input) for cell_input in transaction.inputs]),
            pack_parts([_output(output) for output in transaction.outputs]),
            _byte_strings(transaction.outputs_data),
        ]
    )
    return pack_parts([body, _byte_strings(transaction.witnesses)])


def _fixed(items: list[bytes]) -> bytes:
    """A vector of items of one size."""
    return _COUNT.pack(len(items)) + b"".join(items)


def _byte_strings(texts: list[str]) -> bytes:
    return pack_parts([_COUNT.pack(len(data)) + data for data in map(_bytes, texts)])


def _dep(dep: CellDepJson) -> bytes:
    point = dep.out_point
    return _DEP.pack(_hash(point.tx_hash), _number(point.index), DEP_TYPE_NAMES.index(dep.dep_type))


def _input(cell_input: CellInputJson) -> bytes:
    point = cell_input.previous_output
    return _INPUT.pack(_number(cell_input.since), _hash(point.tx_hash), _number(point.index))


def _output(output: CellOutputJson) -> bytes:
    lock = _script(output.lock)
    type_ = b"" if output.type is None else _script(output.type)
    type_at = _OUTPUT.size + len(lock)
    return _OUTPUT.pack(type_at + len(type_), *_OUTPUT_OFFSETS, type_at, _number(output.capacity)) + lock + type_


def _script(script: ScriptJson) -> bytes:
    args = _bytes(script.args)
    size = _SCRIPT.size + len(args)
    code_hash, hash_type = _hash(script.code_hash), HASH_TYPES[script.hash_type]
    return _SCRIPT.pack(size, *_SCRIPT_OFFSETS, code_hash, hash_type, len(args)) + args
