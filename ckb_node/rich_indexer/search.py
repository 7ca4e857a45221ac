"""The searches of module RichIndexer as SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    case,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.sql.functions import coalesce

from ckb_node.indexer.query import CellFilter, QueryError, Range, ScriptType, Search, SearchMode, Terms
from ckb_node.rich_indexer.load import tip_of
from ckb_node.rich_indexer.schema import BLOCK_BITS, HEAD, OUTPUTS, SCRIPTS, TRANSACTIONS
from consensus.types.blockchain import Script, out_point_key

FETCHED: Final = 200
"""Rows that the database gives at once."""
HIGHEST: Final = (1 << 63) - 1
SCRIPT_HEAD: Final = 33
"""Bytes of a script's code hash and hash type, which count in `script_len_range`."""
_ID_SIZE, _OFFSET_SIZE = 8, 4


class RichCell(NamedTuple):
    """A live cell; scripts are (code hash, hash type, arguments)."""

    id: int
    tx_hash: bytes
    output_index: int
    number: int
    tx_index: int
    capacity: int
    lock: tuple[bytes, int, bytes]
    type_: tuple[bytes, int, bytes] | None
    data: bytes | None


class RichTx(NamedTuple):
    """An input or output of a transaction."""

    tx_id: int
    tx_hash: bytes
    number: int
    tx_index: int
    is_output: bool
    io_index: int


def find_cells(
    connection: Connection, search: Search, terms: Terms, *, after: bytes | None, is_descending: bool, with_data: bool
) -> Iterator[RichCell]:
    """Live cells in the order of the chain, after a cursor (the id of a cell, i64 LE). Raises QueryError."""
    lock, type_, joined = _with_scripts(OUTPUTS.join(TRANSACTIONS, OUTPUTS.c.tx_id == TRANSACTIONS.c.id))
    query = (
        select(
            OUTPUTS.c.id, TRANSACTIONS.c.hash, OUTPUTS.c.output_index, TRANSACTIONS.c.block_number,
            TRANSACTIONS.c.tx_index, OUTPUTS.c.capacity, lock.c.code_hash, lock.c.hash_type, lock.c.args,
            type_.c.code_hash, type_.c.hash_type, type_.c.args, OUTPUTS.c.data if with_data else literal(None),
        )
        .select_from(joined)
        .where(OUTPUTS.c.spent_tx_id.is_(None), *_conditions(connection, search, lock, type_))
        .where(*_block_conditions(OUTPUTS.c.id, search.filter.block))
        .order_by(OUTPUTS.c.id.desc() if is_descending else OUTPUTS.c.id)
    )  # fmt: skip
    if after is not None:
        last = _id_of(after)
        query = query.where(OUTPUTS.c.id < last if is_descending else OUTPUTS.c.id > last)
    for row in _rows(connection, query):
        lock_of = bytes(row[6]), row[7], bytes(row[8])
        type_of = None if row[9] is None else (bytes(row[9]), row[10], bytes(row[11]))
        data = None if row[12] is None else bytes(row[12])
        cell = RichCell(row[0], bytes(row[1]), row[2], row[3], row[4], row[5], lock_of, type_of, data)
        if terms.is_spent is None or not terms.is_spent(out_point_key(cell.tx_hash, cell.output_index)):
            yield cell


def find_transactions(
    connection: Connection, search: Search, *, after: bytes | None, is_descending: bool
) -> Iterator[RichTx]:
    """Inputs and outputs in the order of the chain, all conditions of cells allowed. `after` is the cursor of the last:
    id of its transaction (i64 LE), and how many of that transaction's were given already (i32 LE), if any."""
    rows = _inputs_and_outputs(connection, search)
    query = select(
        rows.c.tx_id, TRANSACTIONS.c.hash, TRANSACTIONS.c.block_number, TRANSACTIONS.c.tx_index, rows.c.io_type,
        rows.c.io_index,
    ).select_from(rows.join(TRANSACTIONS, rows.c.tx_id == TRANSACTIONS.c.id))  # fmt: skip
    query = query.where(*_block_conditions(rows.c.tx_id, search.filter.block))
    order = rows.c.tx_id.desc() if is_descending else rows.c.tx_id
    query = query.order_by(order, rows.c.io_type.desc(), rows.c.io_index)
    if after is not None:
        last = _id_of(after[:_ID_SIZE])
        query = query.where(rows.c.tx_id <= last if is_descending else rows.c.tx_id >= last)
        query = query.offset(int.from_bytes(after[_ID_SIZE:], "little"))
    for row in _rows(connection, query):
        yield RichTx(row[0], bytes(row[1]), row[2], row[3], bool(row[4]), row[5])


def find_grouped(
    connection: Connection, search: Search, *, after: bytes | None, is_descending: bool
) -> Iterator[list[RichTx]]:
    """The same by transaction; `after` is the id of the last transaction (i64 LE)."""
    skipped = None if after is None else _id_of(after)
    found = find_transactions(connection, search, after=after, is_descending=is_descending)
    for tx_id, group in groupby(found, key=lambda row: row.tx_id):
        if tx_id != skipped:
            yield list(group)


def find_capacity(connection: Connection, search: Search, terms: Terms) -> tuple[int, int, bytes] | None:
    """Sum of the capacities of all live cells, height and hash of the block that it is of; None without cells."""
    tip = tip_of(connection)
    if terms.is_spent is not None:
        found = list(find_cells(connection, search, terms, after=None, is_descending=False, with_data=False))
        total = sum(cell.capacity for cell in found) if found else None
    else:
        lock, type_, joined = _with_scripts(OUTPUTS)
        query = (
            select(func.sum(OUTPUTS.c.capacity))
            .select_from(joined)
            .where(OUTPUTS.c.spent_tx_id.is_(None), *_conditions(connection, search, lock, type_))
            .where(*_block_conditions(OUTPUTS.c.id, search.filter.block))
        )
        total = connection.execute(query).scalar()
    return None if total is None or tip is None else (int(total), *tip)


def cell_cursor(cell_id: int) -> bytes:
    """What `find_cells` and `find_grouped` go on after."""
    return cell_id.to_bytes(_ID_SIZE, "little", signed=True)


def tx_cursor(tx_id: int, given: int) -> bytes:
    """What `find_transactions` goes on after, when so many of the transaction's rows were given."""
    return cell_cursor(tx_id) + given.to_bytes(_OFFSET_SIZE, "little")


def check_tx_cursor(after: bytes | None) -> None:
    """Raises QueryError."""
    if after is not None and len(after) != _ID_SIZE + _OFFSET_SIZE:
        raise QueryError("Unable to parse the 'after' parameter.")
    if after is not None and after[-1] >= 0x80:
        raise QueryError("the offset in the 'after' parameter is negative")


def _id_of(after: bytes) -> int:
    if len(after) != _ID_SIZE:
        raise QueryError("unable to convert from bytes to i64 due to insufficient data in little-endian format")
    return int.from_bytes(after, "little", signed=True)


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Any]]:
    """Rows as they are wanted."""
    result = connection.execution_options(yield_per=FETCHED).execute(query)
    try:
        yield from result
    finally:
        result.close()


def _with_scripts(source: FromClause) -> tuple[FromClause, FromClause, FromClause]:
    """Both scripts of outputs, and `source` joined with them."""
    lock, type_ = SCRIPTS.alias("lock_script"), SCRIPTS.alias("type_script")
    joined = source.join(lock, OUTPUTS.c.lock_id == lock.c.id)
    return lock, type_, joined.outerjoin(type_, OUTPUTS.c.type_id == type_.c.id)


def _inputs_and_outputs(connection: Connection, search: Search) -> FromClause:
    parts = []
    for is_output in (True, False):
        lock, type_, joined = _with_scripts(OUTPUTS)
        columns = (
            (OUTPUTS.c.tx_id, literal(1), OUTPUTS.c.output_index)
            if is_output
            else (OUTPUTS.c.spent_tx_id, literal(0), OUTPUTS.c.spent_index)
        )
        names = ("tx_id", "io_type", "io_index")
        query = select(*(column.label(name) for column, name in zip(columns, names, strict=True)))
        query = query.select_from(joined).where(*_conditions(connection, search, lock, type_))
        parts.append(query if is_output else query.where(OUTPUTS.c.spent_tx_id.is_not(None)))
    return union_all(*parts).subquery("found")


def _conditions(
    connection: Connection, search: Search, lock: FromClause, type_: FromClause
) -> Iterator[ColumnElement[bool]]:
    """All but the range of blocks."""
    is_lock = search.script_type is ScriptType.LOCK
    own, other = (OUTPUTS.c.lock_id, type_) if is_lock else (OUTPUTS.c.type_id, lock)
    yield own.in_(_script_ids(connection, search.script, search.mode))
    conditions: CellFilter = search.filter
    if conditions.script is not None:
        yield from _script_conditions(other, conditions.script)
    if conditions.script_length is not None:
        has_script = case((other.c.id.is_(None), 0), else_=SCRIPT_HEAD)
        yield from _within(has_script + coalesce(func.length(other.c.args), 0), conditions.script_length)
    if conditions.data is not None and (conditions.data or conditions.data_mode is SearchMode.EXACT):
        yield _data_condition(connection, conditions.data, conditions.data_mode)
    if conditions.data_length is not None:
        yield from _within(func.length(OUTPUTS.c.data), conditions.data_length)
    if conditions.capacity is not None:
        yield from _within(OUTPUTS.c.capacity, conditions.capacity)


def find_spender(connection: Connection, tx_hash: bytes, index: int) -> bytes | None:
    """The hash of the transaction that spends an output, by keys alone; None when it is live or not here."""
    creator, spender = TRANSACTIONS.alias("creator"), TRANSACTIONS.alias("spender")
    query = (
        select(spender.c.hash)
        .select_from(creator)
        .join(OUTPUTS, OUTPUTS.c.id == creator.c.first_output + index)
        .join(spender, spender.c.id == OUTPUTS.c.spent_tx_id)
        .where(creator.c.hash == tx_hash, creator.c.output_count > index)
        .order_by(creator.c.id.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return None if found is None else bytes(found)


def _script_ids(connection: Connection, script: Script, mode: SearchMode) -> Any:
    """A query of the ids of the scripts that are searched."""
    if mode is SearchMode.EXACT:
        return select(SCRIPTS.c.id).where(SCRIPTS.c.hash == script.hash)
    query = select(SCRIPTS.c.id)
    if mode is SearchMode.PREFIX:
        return query.where(*_script_conditions(SCRIPTS, script))
    return query.where(
        SCRIPTS.c.code_hash == script.code_hash,
        SCRIPTS.c.hash_type == script.hash_type,
        _contains(connection, SCRIPTS.c.args, script.args),
    )


def _script_conditions(scripts: FromClause, script: Script) -> Iterator[ColumnElement[bool]]:
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


def _block_conditions(ids: ColumnElement[int], blocks: Range | None) -> Iterator[ColumnElement[bool]]:
    """Ids begin with the number of the block."""
    if blocks is not None:
        yield from _within(ids, (blocks[0] << BLOCK_BITS, blocks[1] << BLOCK_BITS))


def _within(value: ColumnElement[Any], limits: Range) -> Iterator[ColumnElement[bool]]:
    low, high = (literal(min(limit, HIGHEST), BigInteger) for limit in limits)
    yield value >= low
    yield value < high
