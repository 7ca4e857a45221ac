"""The chain's types as JSON, both ways.

Each `…Json` struct has the members and the texts of the interface; `…_json(value)` makes one from a consensus type,
`read_…(struct)` makes the consensus type and refuses bad texts by BadTextError. Structs that clients send refuse
members that they do not know, so that a misspelt member is never ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from ckb_node.jsonrpc_types.hex_text import (
    BadTextError,
    bytes_text,
    parse_bytes,
    parse_hash,
    parse_short_id,
    parse_uint32,
    parse_uint64,
    parse_uint128,
    uint_text,
)
from consensus.types.blockchain import (
    Block,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    UncleBlock,
    out_point_key,
)
from consensus.types.core import EpochExt

# data, type, data1, data2, … data127: the number of the VM is the byte without its lowest bit (RFC 32, RFC 51).
HASH_TYPE_NAMES = {0: "data", 1: "type"} | {number << 1: f"data{number}" for number in range(1, 128)}
HASH_TYPES = {name: byte for byte, name in HASH_TYPE_NAMES.items()}
DEP_TYPE_NAMES: tuple[Literal["code"], Literal["dep_group"]] = ("code", "dep_group")


class Sent(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A struct that clients may send."""


class ScriptJson(Sent, frozen=True):
    """Code and its arguments."""

    code_hash: str
    hash_type: str
    args: str


class OutPointJson(Sent, frozen=True):
    """Names an output."""

    tx_hash: str
    index: str


class CellInputJson(Sent, frozen=True):
    """A cell that is spent."""

    since: str
    previous_output: OutPointJson


class CellOutputJson(Sent, frozen=True):
    """A cell without its data."""

    capacity: str
    lock: ScriptJson
    type: ScriptJson | None = None


class CellDepJson(Sent, frozen=True):
    """A cell that scripts may read."""

    out_point: OutPointJson
    dep_type: Literal["code", "dep_group"]


class TransactionJson(Sent, frozen=True):
    """A transaction as clients send it: without its hash."""

    version: str
    cell_deps: list[CellDepJson]
    header_deps: list[str]
    inputs: list[CellInputJson]
    outputs: list[CellOutputJson]
    outputs_data: list[str]
    witnesses: list[str]


class TransactionViewJson(TransactionJson, frozen=True, forbid_unknown_fields=False, gc=False):
    """A transaction with its hash."""

    hash: str


class HeaderJson(Sent, frozen=True):
    """A header as miners send it: without its hash."""

    version: str
    compact_target: str
    timestamp: str
    number: str
    epoch: str
    parent_hash: str
    transactions_root: str
    proposals_hash: str
    extra_hash: str
    dao: str
    nonce: str


class HeaderViewJson(HeaderJson, frozen=True, forbid_unknown_fields=False, gc=False):
    """A header with its hash."""

    hash: str


class UncleBlockJson(Sent, frozen=True):
    """An uncle as miners send it."""

    header: HeaderJson
    proposals: list[str]


class UncleBlockViewJson(Struct, frozen=True, gc=False):
    """An uncle with its hash in the header."""

    header: HeaderViewJson
    proposals: list[str]


class BlockJson(Sent, frozen=True):
    """A block as miners send it."""

    header: HeaderJson
    uncles: list[UncleBlockJson]
    transactions: list[TransactionJson]
    proposals: list[str]
    extension: str | UnsetType | None = UNSET


class BlockViewJson(Struct, frozen=True, gc=False):
    """A block with its hashes; `extension` is left out when the block has none."""

    header: HeaderViewJson
    uncles: list[UncleBlockViewJson]
    transactions: list[TransactionViewJson]
    proposals: list[str]
    extension: str | UnsetType = UNSET


class EpochViewJson(Struct, frozen=True, gc=False):
    """An epoch."""

    number: str
    start_number: str
    length: str
    compact_target: str


# ---------------------------------------------------------------- to JSON


def script_json(script: Script) -> ScriptJson:
    """A script."""
    return ScriptJson(bytes_text(script.code_hash), HASH_TYPE_NAMES[script.hash_type], bytes_text(script.args))


def out_point_json(out_point: OutPoint) -> OutPointJson:
    """An out point."""
    return OutPointJson(bytes_text(out_point.tx_hash), uint_text(out_point.index))


def cell_input_json(cell_input: CellInput) -> CellInputJson:
    """An input."""
    return CellInputJson(uint_text(cell_input.since), out_point_json(cell_input.previous_output))


def cell_output_json(output: CellOutput) -> CellOutputJson:
    """An output."""
    type_script = output.type_
    return CellOutputJson(
        uint_text(output.capacity), script_json(output.lock), None if type_script is None else script_json(type_script)
    )


def cell_dep_json(dep: CellDep) -> CellDepJson:
    """A cell dep."""
    return CellDepJson(out_point_json(dep.out_point), DEP_TYPE_NAMES[dep.dep_type])


def transaction_json(transaction: Transaction) -> TransactionJson:
    """A transaction without its hash."""
    body = transaction.body
    return TransactionJson(
        uint_text(body.version),
        [cell_dep_json(dep) for dep in body.cell_deps],
        [bytes_text(block_hash) for block_hash in body.header_deps],
        [cell_input_json(cell_input) for cell_input in body.inputs],
        [cell_output_json(output) for output in body.outputs],
        [bytes_text(data) for data in body.outputs_data],
        [bytes_text(witness) for witness in transaction.witnesses],
    )


def transaction_view_json(transaction: Transaction) -> TransactionViewJson:
    """A transaction with its hash."""
    plain = transaction_json(transaction)
    return TransactionViewJson(
        plain.version,
        plain.cell_deps,
        plain.header_deps,
        plain.inputs,
        plain.outputs,
        plain.outputs_data,
        plain.witnesses,
        bytes_text(transaction.hash),
    )


def header_json(header: Header) -> HeaderJson:
    """A header without its hash."""
    body = header.body
    return HeaderJson(
        uint_text(body.version),
        uint_text(body.compact_target),
        uint_text(body.timestamp),
        uint_text(body.number),
        uint_text(body.epoch),
        bytes_text(body.parent_hash),
        bytes_text(body.transactions_root),
        bytes_text(body.proposals_hash),
        bytes_text(body.extra_hash),
        bytes_text(body.dao),
        uint_text(header.nonce),
    )


def header_view_json(header: Header) -> HeaderViewJson:
    """A header with its hash."""
    plain = header_json(header)
    return HeaderViewJson(
        plain.version,
        plain.compact_target,
        plain.timestamp,
        plain.number,
        plain.epoch,
        plain.parent_hash,
        plain.transactions_root,
        plain.proposals_hash,
        plain.extra_hash,
        plain.dao,
        plain.nonce,
        bytes_text(header.hash),
    )


def short_ids_json(short_ids: Sequence[bytes]) -> list[str]:
    """Proposal short ids."""
    return [bytes_text(short_id) for short_id in short_ids]


def uncle_json(uncle: UncleBlock) -> UncleBlockJson:
    """An uncle without its hash."""
    return UncleBlockJson(header_json(uncle.header), short_ids_json(uncle.proposals))


def uncle_view_json(uncle: UncleBlock) -> UncleBlockViewJson:
    """An uncle with its hash."""
    return UncleBlockViewJson(header_view_json(uncle.header), short_ids_json(uncle.proposals))


def block_json(block: Block) -> BlockJson:
    """A block without its hashes: what a miner sends."""
    return BlockJson(
        header_json(block.header),
        [uncle_json(uncle) for uncle in block.uncles],
        [transaction_json(transaction) for transaction in block.transactions],
        short_ids_json(block.proposals),
        UNSET if block.extension is None else bytes_text(block.extension),
    )


def epoch_json(epoch: EpochExt) -> EpochViewJson:
    """An epoch."""
    return EpochViewJson(
        uint_text(epoch.number), uint_text(epoch.start_number), uint_text(epoch.length), uint_text(epoch.compact_target)
    )


# ---------------------------------------------------------------- from JSON


def parse_hash_type(name: str) -> int:
    """The byte of a hash type's name."""
    byte = HASH_TYPES.get(name)
    if byte is None:
        raise BadTextError(f"unknown hash_type `{name[:20]}`, expected `data`, `type`, `data1`, `data2`, …")
    return byte


def read_script(script: ScriptJson) -> Script:
    """A script."""
    return Script(
        code_hash=parse_hash(script.code_hash),
        hash_type=parse_hash_type(script.hash_type),
        args=parse_bytes(script.args),
    )


def read_out_point(out_point: OutPointJson) -> OutPoint:
    """An out point."""
    return OutPoint.trusted(out_point_key(parse_hash(out_point.tx_hash), parse_uint32(out_point.index)))


def read_cell_input(cell_input: CellInputJson) -> CellInput:
    """An input."""
    return CellInput(since=parse_uint64(cell_input.since), previous_output=read_out_point(cell_input.previous_output))


def read_cell_output(output: CellOutputJson) -> CellOutput:
    """An output."""
    return CellOutput(
        capacity=parse_uint64(output.capacity),
        lock=read_script(output.lock),
        type_=None if output.type is None else read_script(output.type),
    )


def read_cell_dep(dep: CellDepJson) -> CellDep:
    """A cell dep."""
    return CellDep(out_point=read_out_point(dep.out_point), dep_type=DEP_TYPE_NAMES.index(dep.dep_type))


def read_transaction(transaction: TransactionJson) -> Transaction:
    """A transaction."""
    body = RawTransaction(
        version=parse_uint32(transaction.version),
        cell_deps=[read_cell_dep(dep) for dep in transaction.cell_deps],
        header_deps=[parse_hash(block_hash) for block_hash in transaction.header_deps],
        inputs=[read_cell_input(cell_input) for cell_input in transaction.inputs],
        outputs=[read_cell_output(output) for output in transaction.outputs],
        outputs_data=[parse_bytes(data) for data in transaction.outputs_data],
    )
    return Transaction(body=body, witnesses=[parse_bytes(witness) for witness in transaction.witnesses])


def read_header(header: HeaderJson) -> Header:
    """A header."""
    body = RawHeader(
        version=parse_uint32(header.version),
        compact_target=parse_uint32(header.compact_target),
        timestamp=parse_uint64(header.timestamp),
        number=parse_uint64(header.number),
        epoch=parse_uint64(header.epoch),
        parent_hash=parse_hash(header.parent_hash),
        transactions_root=parse_hash(header.transactions_root),
        proposals_hash=parse_hash(header.proposals_hash),
        extra_hash=parse_hash(header.extra_hash),
        dao=parse_hash(header.dao),
    )
    return Header(body=body, nonce=parse_uint128(header.nonce))


def read_uncle(uncle: UncleBlockJson) -> UncleBlock:
    """An uncle."""
    return UncleBlock(
        header=read_header(uncle.header), proposals=[parse_short_id(short_id) for short_id in uncle.proposals]
    )


def read_block(block: BlockJson) -> Block:
    """A block with the header that was sent; `Block.with_roots` makes the header commit to the body."""
    return Block(
        header=read_header(block.header),
        uncles=[read_uncle(uncle) for uncle in block.uncles],
        transactions=[read_transaction(transaction) for transaction in block.transactions],
        proposals=[parse_short_id(short_id) for short_id in block.proposals],
        extension=parse_bytes(block.extension) if isinstance(block.extension, str) else None,
    )
