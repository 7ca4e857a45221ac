"""Headers and transactions of JSON texts straight to their molecule bytes: import reads hundreds of thousands of them,
and a miner's block is to go round at once.

The same bytes as those of `jsontypes.read_header` and `read_transaction`, four times faster; tests compare the two.
What is not as usual, well written or not, is left to those two, which say what is wrong with it.
"""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - a class

from ckb_node.jsonrpc_types.chain import (
    DEP_TYPE_NAMES,
    HASH_TYPES,
    BlockJson,
    CellDepJson,
    CellInputJson,
    CellOutputJson,
    HeaderJson,
    ScriptJson,
    TransactionJson,
    read_header,
    read_transaction,
    read_uncle,
)
from ckb_node.jsonrpc_types.hex_text import parse_bytes, parse_short_id
from consensus.codec.layout import (
    CELL_DEP,
    INPUT,
    OUTPUT_HEAD,
    OUTPUT_OFFSETS,
    RAW_HEADER,
    SCRIPT_ARGS_AT,
    SCRIPT_CODE_HASH_AT,
    SCRIPT_HASH_TYPE_AT,
    SCRIPT_HEAD,
    U32,
)
from consensus.codec.molecule import BYTES, pack_parts
from consensus.crypto.hashing import HASH_SIZE
from consensus.types.blockchain import PROPOSAL_SHORT_ID_VEC, Block, Transaction

_SCRIPT_OFFSETS = (SCRIPT_CODE_HASH_AT, SCRIPT_HASH_TYPE_AT, SCRIPT_ARGS_AT)
_NONCE_SIZE = 16
_UNUSUAL = (ValueError, KeyError, OverflowError, StructError)


def block_of(block: BlockJson) -> Block:
    """The block that `jsontypes.read_block` gives. Raises BadTextError, MoleculeError."""
    fields = [
        header_bytes(block.header),
        pack_parts([read_uncle(uncle).raw for uncle in block.uncles]),
        pack_parts([transaction_bytes(transaction) for transaction in block.transactions]),
        PROPOSAL_SHORT_ID_VEC.pack([parse_short_id(each) for each in block.proposals]),
    ]
    if isinstance(block.extension, str):
        fields.append(BYTES.pack(parse_bytes(block.extension)))
    return Block.parse(pack_parts(fields))


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


def transaction_of(transaction: TransactionJson) -> Transaction:
    """The transaction that `jsontypes.read_transaction` gives. Raises BadTextError, MoleculeError."""
    return Transaction.trusted(transaction_bytes(transaction))


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
    body = RAW_HEADER.pack(
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
            U32.pack(_number(transaction.version)),
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
    return U32.pack(len(items)) + b"".join(items)


def _byte_strings(texts: list[str]) -> bytes:
    return pack_parts([U32.pack(len(data)) + data for data in map(_bytes, texts)])


def _dep(dep: CellDepJson) -> bytes:
    point = dep.out_point
    return CELL_DEP.pack(_hash(point.tx_hash), _number(point.index), DEP_TYPE_NAMES.index(dep.dep_type))


def _input(cell_input: CellInputJson) -> bytes:
    point = cell_input.previous_output
    return INPUT.pack(_number(cell_input.since), _hash(point.tx_hash), _number(point.index))


def _output(output: CellOutputJson) -> bytes:
    lock = _script(output.lock)
    type_ = b"" if output.type is None else _script(output.type)
    type_at = OUTPUT_HEAD.size + len(lock)
    return OUTPUT_HEAD.pack(type_at + len(type_), *OUTPUT_OFFSETS, type_at, _number(output.capacity)) + lock + type_


def _script(script: ScriptJson) -> bytes:
    args = _bytes(script.args)
    size = SCRIPT_HEAD.size + len(args)
    code_hash, hash_type = _hash(script.code_hash), HASH_TYPES[script.hash_type]
    return SCRIPT_HEAD.pack(size, *_SCRIPT_OFFSETS, code_hash, hash_type, len(args)) + args
