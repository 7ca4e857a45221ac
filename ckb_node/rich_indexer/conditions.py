"""What a search asks of rows, as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, FromClause, Select, case, func, literal, select
from sqlalchemy.sql.functions import coalesce

from ckb_node.indexer.keys import AnyScript, script_bytes
from ckb_node.indexer.query import CellFilter, Range, ScriptType, Search, SearchMode
from ckb_node.rich_indexer.schema import BLOCK_BITS, HEAD, LIVE_BY, OUTPUTS, SCRIPTS
from consensus.types.blockchain import Script

HIGHEST: Final = (1 << 63) - 1
SCRIPT_HEAD: Final = 33
"""Bytes of a script's code hash and hash type, which count in `script_len_range`."""


def own_script(script_type: ScriptType) -> Column[Any]:
    """The column of the script that is searched by."""
    return OUTPUTS.c.lock_id if script_type is ScriptType.LOCK else OUTPUTS.c.type_id


def of_live_cells(query: Select[Any], script_type: ScriptType) -> Select[Any]:
    """Of live cells, read by script. Unless it is told, SQLite reads a script's spent cells too."""
    index = LIVE_BY[own_script(script_type).key]
    return query.where(OUTPUTS.c.spent_tx_id.is_(None)).with_hint(OUTPUTS, f"INDEXED BY {index}", "sqlite")


def filtered(connection: Connection, search: Search) -> tuple[FromClause, list[ColumnElement[bool]]]:
    """Where to select outputs from, and the filter's conditions but for the range of blocks."""
    conditions: CellFilter = search.filter
    source: FromClause = OUTPUTS
    found: list[ColumnElement[bool]] = []
    if conditions.script is not None or conditions.script_length is not None:
        other = SCRIPTS.alias("other_script")
        is_lock = search.script_type is ScriptType.LOCK
        source = OUTPUTS.join(
            other, other.c.id == (OUTPUTS.c.type_id if is_lock else OUTPUTS.c.lock_id), isouter=is_lock
        )
        if conditions.script is not None:
            found += begins_with_script(other, conditions.script)
        if conditions.script_length is not None:
            has_script = case((other.c.id.is_(None), 0), else_=SCRIPT_HEAD)
            found += within(has_script + coalesce(func.length(other.c.args), 0), conditions.script_length)
    if conditions.data is not None and (conditions.data or conditions.data_mode is SearchMode.EXACT):
        found.append(_data_condition(connection, conditions.data, conditions.data_mode))
    if conditions.data_length is not None:
        found += within(func.length(OUTPUTS.c.data), conditions.data_length)
    if conditions.capacity is not None:
        found += within(OUTPUTS.c.capacity, conditions.capacity)
    return source, found


def script_conditions(connection: Connection, scripts: FromClause, search: Search) -> list[ColumnElement[bool]]:
    """Of the scripts that are searched."""
    script = search.script
    match search.mode:
        case SearchMode.EXACT:
            return [scripts.c.hash == script_hash(script_bytes(script))]
        case SearchMode.PREFIX:
            return list(begins_with_script(scripts, script))
        case SearchMode.PARTIAL:
            return [
                scripts.c.code_hash == script.code_hash,
                scripts.c.hash_type == script.hash_type,
                _contains(connection, scripts.c.args, script.args),
            ]


def script_hash(script: bytes) -> bytes:
    """Of code hash, hash type and arguments end to end."""
    return Script(code_hash=script[:32], hash_type=script[32], args=script[33:]).hash


def script_ids(connection: Connection, search: Search) -> Select[Any]:
    """The ids of the scripts that are searched."""
    return select(SCRIPTS.c.id).where(*script_conditions(connection, SCRIPTS, search))


def begins_with_script(scripts: FromClause, script: AnyScript) -> Iterator[ColumnElement[bool]]:
    """Arguments begin with those of `script`; the index has the first bytes of them."""
    yield scripts.c.code_hash == script.code_hash
    yield scripts.c.hash_type == script.hash_type
    args = script.args
    if len(args) < HEAD:
        yield from _begins_with(scripts.c.args_head, args)
    else:
        yield scripts.c.args_head == args[:HEAD]
        yield from _begins_with(scripts.c.args, args)


def _begins_with(column: ColumnElement[bytes], prefix: bytes) -> Iterator[ColumnElement[bool]]:
    yield column >= prefix
    stem = prefix.rstrip(b"\xff")
    if stem:
        yield column < stem[:-1] + bytes((stem[-1] + 1,))


def _contains(connection: Connection, column: ColumnElement[bytes], part: bytes) -> ColumnElement[bool]:
    if connection.dialect.name == "sqlite":
        return func.instr(column, part) > 0
    return func.pg_catalog.position(column, part) > 0


def _data_condition(connection: Connection, data: bytes, mode: SearchMode) -> ColumnElement[bool]:
    match mode:
        case SearchMode.EXACT:
            return OUTPUTS.c.data == data
        case SearchMode.PARTIAL:
            return _contains(connection, OUTPUTS.c.data, data)
        case SearchMode.PREFIX:
            return func.substr(OUTPUTS.c.data, 1, len(data)) == data


def in_blocks(ids: ColumnElement[int], blocks: Range | None) -> Iterator[ColumnElement[bool]]:
    """Ids begin with the number of the block."""
    if blocks is not None:
        yield from within(ids, (blocks[0] << BLOCK_BITS, blocks[1] << BLOCK_BITS))


def within(value: ColumnElement[Any], limits: Range) -> Iterator[ColumnElement[bool]]:
    low, high = (literal(min(limit, HIGHEST), BigInteger) for limit in limits)
    yield value >= low
    yield value < high
