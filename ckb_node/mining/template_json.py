"""Block templates as JSON, both ways (modules Miner and IntegrationTest)."""

from __future__ import annotations

from msgspec import Struct

from ckb_node.jsonrpc_types.chain import (
    HeaderJson,
    TransactionJson,
    header_json,
    read_header,
    read_transaction,
    short_ids_json,
)
from ckb_node.jsonrpc_types.fast_write import transaction_json
from ckb_node.jsonrpc_types.hex_text import (
    bytes_text,
    optional_hash,
    optional_uint,
    parse_bytes,
    parse_hash,
    parse_short_id,
    parse_uint32,
    parse_uint64,
    uint_text,
)
from ckb_node.mining.template import BlockTemplate, CellbaseTemplate, TransactionTemplate, UncleTemplate
from consensus.types.blockchain import UncleBlock


class UncleTemplateJson(Struct, frozen=True):
    """An uncle to embed."""

    hash: str
    required: bool
    proposals: list[str]
    header: HeaderJson


class TransactionTemplateJson(Struct, frozen=True):
    """A transaction to commit."""

    hash: str
    required: bool
    cycles: str | None
    depends: list[str] | None
    data: TransactionJson


class CellbaseTemplateJson(Struct, frozen=True):
    """The cellbase."""

    hash: str
    cycles: str | None
    data: TransactionJson


class BlockTemplateJson(Struct, frozen=True):
    """A block to be mined; the miner computes the three roots of its header."""

    version: str
    compact_target: str
    current_time: str
    number: str
    epoch: str
    parent_hash: str
    cycles_limit: str
    bytes_limit: str
    uncles_count_limit: str
    uncles: list[UncleTemplateJson]
    transactions: list[TransactionTemplateJson]
    proposals: list[str]
    cellbase: CellbaseTemplateJson
    work_id: str
    dao: str
    extension: str | None = None


# ---------------------------------------------------------------- to JSON


def template_json(template: BlockTemplate) -> BlockTemplateJson:
    """Work for a miner."""
    return BlockTemplateJson(
        version=uint_text(template.version),
        compact_target=uint_text(template.compact_target),
        current_time=uint_text(template.current_time),
        number=uint_text(template.number),
        epoch=uint_text(template.epoch),
        parent_hash=bytes_text(template.parent_hash),
        cycles_limit=uint_text(template.cycles_limit),
        bytes_limit=uint_text(template.bytes_limit),
        uncles_count_limit=uint_text(template.uncles_count_limit),
        uncles=[_uncle_template_json(uncle) for uncle in template.uncles],
        transactions=[_transaction_template_json(transaction) for transaction in template.transactions],
        proposals=short_ids_json(template.proposals),
        cellbase=_cellbase_template_json(template.cellbase),
        work_id=uint_text(template.work_id),
        dao=bytes_text(template.dao),
        extension=optional_hash(template.extension),
    )


def _uncle_template_json(template: UncleTemplate) -> UncleTemplateJson:
    uncle = template.uncle
    return UncleTemplateJson(
        bytes_text(uncle.hash), template.required, short_ids_json(uncle.proposals), header_json(uncle.header)
    )


def _transaction_template_json(template: TransactionTemplate) -> TransactionTemplateJson:
    return TransactionTemplateJson(
        bytes_text(template.transaction.hash),
        template.required,
        optional_uint(template.cycles),
        None if template.depends is None else [uint_text(index) for index in template.depends],
        transaction_json(template.transaction),
    )


def _cellbase_template_json(template: CellbaseTemplate) -> CellbaseTemplateJson:
    transaction = template.transaction
    return CellbaseTemplateJson(
        bytes_text(transaction.hash), optional_uint(template.cycles), transaction_json(transaction)
    )


# ---------------------------------------------------------------- from JSON


def read_template(template: BlockTemplateJson) -> BlockTemplate:
    """A template that a client sends back; BadTextError on bad texts. Hashes in it are not looked at."""
    return BlockTemplate(
        version=parse_uint32(template.version),
        compact_target=parse_uint32(template.compact_target),
        current_time=parse_uint64(template.current_time),
        number=parse_uint64(template.number),
        epoch=parse_uint64(template.epoch),
        parent_hash=parse_hash(template.parent_hash),
        cycles_limit=parse_uint64(template.cycles_limit),
        bytes_limit=parse_uint64(template.bytes_limit),
        uncles_count_limit=parse_uint64(template.uncles_count_limit),
        uncles=[_read_uncle_template(uncle) for uncle in template.uncles],
        transactions=[TransactionTemplate(read_transaction(each.data)) for each in template.transactions],
        proposals=[parse_short_id(short_id) for short_id in template.proposals],
        cellbase=CellbaseTemplate(read_transaction(template.cellbase.data)),
        work_id=parse_uint64(template.work_id),
        dao=parse_hash(template.dao),
        extension=None if template.extension is None else parse_bytes(template.extension),
    )


def _read_uncle_template(template: UncleTemplateJson) -> UncleTemplate:
    uncle = UncleBlock(
        header=read_header(template.header), proposals=[parse_short_id(short_id) for short_id in template.proposals]
    )
    return UncleTemplate(uncle, template.required)
