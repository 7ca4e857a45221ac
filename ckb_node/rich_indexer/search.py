"""The searches of module RichIndexer as SQL.

A page in the order of the chain is made of the first rows of each script that is searched, which an index has in this
order. Where the scripts are many, the database is left to find its way. SQLite then sorts all rows, so when the scripts
are very many it is told to walk the chain.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    bindparam,
    func,
    literal,
    select,
    union_all,
)

from ckb_node.indexer.keys import script_bytes
from ckb_node.indexer.query import CellFilter, Io, Page, QueryError, ScriptType, Search, SearchMode, Terms
from ckb_node.rich_indexer.conditions import (
    filtered,
    in_blocks,
    of_live_cells,
    own_script,
    script_conditions,
    script_hash,
    script_ids,
)
from ckb_node.rich_indexer.database import check_deadline
from ckb_node.rich_indexer.load import tip_of
from ckb_node.rich_indexer.schema import BLOCK_BITS, OUTPUTS, SCRIPTS, TRANSACTIONS
from consensus.types.blockchain import out_point_key

FETCHED: Final = 500
"""Rows that the database gives at once."""
CHUNK: Final = 250
MOST_CHUNK: Final = 16_000
"""Rows of a query where it is not known how many are wanted: of the first, and of later ones, each four times more."""
KEPT_QUERIES: Final = 64
"""Of pages of cells, by their shape."""
EMPTY: Final[Mapping[str, int]] = {}
ASKED_AT_ONCE: Final = 500
"""Ids in one query."""
HALF: Final = 1 << 32
"""Splits a capacity."""
FEW: Final = 16
"""Scripts of which each has a part of its own in the query."""
MANY: Final = 10_000
"""Scripts from which on SQLite walks all outputs."""
_ID_SIZE, _OFFSET_SIZE = 8, 4
_IN_BLOCK: Final = (1 << BLOCK_BITS) - 1


class RichCell(NamedTuple):
    """A live cell; scripts are code hash, hash type and arguments end to end."""

    id: int
    out_point: bytes
    number: int
    tx_index: int
    capacity: int
    lock: bytes
    type_: bytes | None
    data: bytes


class RichTx(NamedTuple):
    """A transaction with inputs and outputs that were found, in the order of the search: index; 0 input, 1 output."""

    id: int
    cells: list[Io]


class _Way(NamedTuple):
    """How outputs of the scripts of a search are found: those of each condition, none of which takes what another does;
    by script, or where these are very many by looking at all outputs. `scripts` are those of few."""

    parts: list[ColumnElement[bool]]
    scripts: Sequence[int] = ()
    is_by_script: bool = True


_BY_HASH: Final = select(SCRIPTS.c.id).where(SCRIPTS.c.hash == bindparam("hash"))


def _way(connection: Connection, search: Search) -> _Way:
    """No part when there are no such scripts."""
    own = own_script(search.script_type)
    if search.mode is SearchMode.EXACT:
        given = {"hash": script_hash(script_bytes(search.script))}
        ids = connection.execute(_BY_HASH, given).scalars().all()
        return _Way([own == script_id for script_id in ids], ids)
    wanted = script_ids(connection, search)
    ids = sorted(connection.execute(wanted.limit(FEW + 1)).scalars().all())
    if len(ids) <= FEW:
        return _Way([own == script_id for script_id in ids], ids)
    if connection.dialect.name != "sqlite" or _count(connection, wanted) <= MANY:
        return _Way([own.in_(wanted)])
    script = SCRIPTS.alias("own_script")
    is_one = select(script.c.id).where(script.c.id == own, *script_conditions(connection, script, search))
    return _Way([is_one.exists()], is_by_script=False)


def _count(connection: Connection, wanted: Select[Any]) -> int:
    """Up to MANY and one more."""
    return int(connection.execute(select(func.count()).select_from(wanted.limit(MANY + 1).subquery())).scalar_one())


def find_cells(connection: Connection, page: Page, terms: Terms, *, with_data: bool) -> Iterator[RichCell]:
    """Live cells in the order of the chain; a cursor is the id of a cell (i64 LE). Raises QueryError."""
    search, is_descending, limit = page.search, page.is_descending, page.limit
    last = None if page.after is None else _id_of(page.after)
    way = _way(connection, search)
    chunk = limit if limit is not None and terms.is_spent is None else CHUNK
    given = 0
    while way.parts:
        count = 0
        if way.scripts and search.filter == CellFilter():
            query = _plain_query(search.script_type, len(way.scripts), last is not None, is_descending, with_data)
            values = {f"script_{index}": script for index, script in enumerate(way.scripts)}
            values |= {"count": chunk} if last is None else {"count": chunk, "last": last}
        else:
            ids = _cell_ids(connection, search, way, last, is_descending, chunk)
            query, values = _cells(ids, is_descending=is_descending, with_data=with_data), {}
        for row in _rows(connection, query, chunk, values):
            count += 1
            last = row[0]
            cell = _cell(row)
            if terms.is_spent is None or not terms.is_spent(cell.out_point):
                yield cell
                given += 1
                if given == limit:
                    return
        if count < chunk:
            return
        chunk = min(4 * chunk, MOST_CHUNK)


@lru_cache(maxsize=KEPT_QUERIES)
def _plain_query(
    script_type: ScriptType, scripts: int, has_last: bool, is_descending: bool, with_data: bool
) -> Select[Any]:
    """Of a page of a few scripts without a filter, with parameters: it takes longer to make than to run."""
    own = own_script(script_type)
    parts = [own == bindparam(f"script_{index}") for index in range(scripts)]
    query = of_live_cells(select(OUTPUTS.c.id), script_type)
    last = bindparam("last", type_=BigInteger) if has_last else None
    ids = _first(query, parts, last, is_descending, bindparam("count", type_=Integer))
    return _cells(ids, is_descending=is_descending, with_data=with_data)


def _cell_ids(
    connection: Connection, search: Search, way: _Way, last: int | None, is_descending: bool, count: int
) -> Select[Any]:
    """Ids of the next live cells."""
    source, conditions = filtered(connection, search)
    query = select(OUTPUTS.c.id).select_from(source)
    query = query.where(*conditions, *in_blocks(OUTPUTS.c.id, search.filter.block))
    if way.is_by_script:
        query = of_live_cells(query, search.script_type)
    else:
        query = query.where(OUTPUTS.c.spent_tx_id.is_(None))
    return _first(query, way.parts, last, is_descending, count)


def _first(
    query: Select[Any],
    parts: Sequence[ColumnElement[bool]],
    last: int | ColumnElement[int] | None,
    is_descending: bool,
    count: int | ColumnElement[int],
) -> Select[Any]:
    """The first ids behind the last one of all that the parts of a query find."""
    output_id = OUTPUTS.c.id
    if last is not None:
        query = query.where(output_id < last if is_descending else output_id > last)
    found = [query.where(part).order_by(_directed(output_id, is_descending)).limit(count) for part in parts]
    if len(found) == 1:
        return found[0]
    ids = _union(found).c.id
    return select(ids).order_by(_directed(ids, is_descending)).limit(count)


def _directed(column: ColumnElement[Any], is_descending: bool) -> ColumnElement[Any]:
    return column.desc() if is_descending else column


def _union(parts: Sequence[Select[Any]]) -> FromClause:
    """Of parts with a limit each, which SQLite takes in brackets alone."""
    return union_all(*(select(part.subquery()) for part in parts)).subquery("found")


def _cells(ids: Select[Any], *, is_descending: bool, with_data: bool) -> Select[Any]:
    """All that is told of these cells, in their order."""
    page = ids.subquery("page")
    lock, type_ = SCRIPTS.alias("lock_script"), SCRIPTS.alias("type_script")
    joined = (
        page.join(OUTPUTS, OUTPUTS.c.id == page.c.id)
        .join(TRANSACTIONS, OUTPUTS.c.tx_id == TRANSACTIONS.c.id)
        .join(lock, OUTPUTS.c.lock_id == lock.c.id)
        .outerjoin(type_, OUTPUTS.c.type_id == type_.c.id)
    )
    query = select(
        page.c.id, TRANSACTIONS.c.hash, OUTPUTS.c.output_index, TRANSACTIONS.c.id, OUTPUTS.c.capacity,
        lock.c.code_hash, lock.c.hash_type, lock.c.args, type_.c.code_hash, type_.c.hash_type, type_.c.args,
        OUTPUTS.c.data if with_data else literal(b""),
    )  # fmt: skip
    return query.select_from(joined).order_by(_directed(page.c.id, is_descending))


def _cell(row: Sequence[Any]) -> RichCell:
    cell_id, tx_hash, index, tx_id, capacity, *scripts, data = row
    lock = bytes(scripts[0]) + bytes((scripts[1],)) + bytes(scripts[2])
    type_ = None if scripts[3] is None else bytes(scripts[3]) + bytes((scripts[4],)) + bytes(scripts[5])
    out_point = out_point_key(bytes(tx_hash), index)
    return RichCell(cell_id, out_point, tx_id >> BLOCK_BITS, tx_id & _IN_BLOCK, capacity, lock, type_, bytes(data))


class _Place(NamedTuple):
    """Behind so many inputs and outputs of a transaction, or before it."""

    tx_id: int
    given: int


def find_transactions(connection: Connection, page: Page) -> Iterator[RichTx]:
    """Transactions in the order of the chain, all conditions of cells allowed; a transaction's outputs come before its
    inputs, or behind them when it is descending. A cursor is that of the last: its id (i64 LE), and how many of its
    inputs and outputs were given already (i32 LE), if any. The limit is not kept: it says how many are read at once."""
    start = None
    if page.after is not None:
        start = _Place(_id_of(page.after[:_ID_SIZE]), int.from_bytes(page.after[_ID_SIZE:], "little"))
    for each in _transactions(connection, page, start):
        if start is not None and each.id == start.tx_id:
            each = RichTx(each.id, each.cells[start.given :])
        if each.cells:
            yield each


def find_grouped(connection: Connection, page: Page) -> Iterator[RichTx]:
    """The same, where the cursor is the id of the last transaction (i64 LE)."""
    start = None if page.after is None else _Place(_id_of(page.after), 0)
    for each in _transactions(connection, replace(page, limit=None), start):
        if start is None or each.id != start.tx_id:
            yield each


def _transactions(connection: Connection, page: Page, start: _Place | None) -> Iterator[RichTx]:
    """From a transaction on, of each script in order: the parts are merged, no row is read twice."""
    most = sys.maxsize if page.limit is None else page.limit + (0 if start is None else start.given)
    kinds = ((0, _inputs), (1, _outputs)) if page.is_descending else ((1, _outputs), (0, _inputs))
    way = _way(connection, page.search)
    parts = [_part(connection, page, part, rows, io_type, start, most) for io_type, rows in kinds for part in way.parts]
    merged = merge(*parts, key=itemgetter(0), reverse=page.is_descending)
    for tx_id, found in groupby(merged, key=itemgetter(0)):
        kinds_found = [(io_type, indices) for _, io_type, indices in found]
        yield RichTx(tx_id, _in_order(kinds_found, page))


def _in_order(found: list[tuple[int, list[int]]], page: Page) -> list[Io]:
    """Of one transaction, by indices in order of each script and kind."""
    if len(found) == 1:
        ((io_type, indices),) = found
        return [(index, io_type) for index in indices]
    cells = [(index, io_type) for io_type, indices in found for index in indices]
    cells.sort(key=lambda cell: (-cell[1], cell[0]), reverse=page.is_descending)
    return cells


_Rows = Callable[[Connection, Page, _Place | None], Select[Any]]


def _part(
    connection: Connection,
    page: Page,
    part: ColumnElement[bool],
    rows: _Rows,
    io_type: int,
    start: _Place | None,
    most: int,
) -> Iterator[tuple[int, int, list[int]]]:
    """Transactions with the indices of one kind, as they are wanted; the last may lack some where more than `most` in
    all are there."""
    tx_id, indices = -1, list[int]()
    while True:
        count, chunk = 0, min(most, MOST_CHUNK)
        query = rows(connection, page, start).where(part).limit(chunk).offset(len(indices))
        for each_id, group in groupby(_rows(connection, query, chunk), key=itemgetter(0)):
            found = [row[1] for row in group]
            count += len(found)
            if each_id == tx_id:
                indices += found
                continue
            if indices:
                yield tx_id, io_type, indices
            tx_id, indices = each_id, found
        most -= count
        if count < chunk or not most:
            break
        start = _Place(tx_id, 0)  # it may have more behind the chunk
    if indices:
        yield tx_id, io_type, indices


def _outputs(connection: Connection, page: Page, start: _Place | None) -> Select[Any]:
    output_id, tx_id = OUTPUTS.c.id, OUTPUTS.c.tx_id
    source, conditions = filtered(connection, page.search)
    query = select(tx_id, OUTPUTS.c.output_index)
    query = query.select_from(source).where(*conditions, *in_blocks(output_id, page.search.filter.block))
    if start is not None:
        block = start.tx_id >> BLOCK_BITS  # the index is by the id of outputs, which begins with the block likewise
        if page.is_descending:
            query = query.where(output_id < (block + 1) << BLOCK_BITS, tx_id <= start.tx_id)
        else:
            query = query.where(output_id >= block << BLOCK_BITS, tx_id >= start.tx_id)
    return query.order_by(_directed(output_id, page.is_descending))


def _inputs(connection: Connection, page: Page, start: _Place | None) -> Select[Any]:
    tx_id, index = OUTPUTS.c.spent_tx_id, OUTPUTS.c.spent_index
    source, conditions = filtered(connection, page.search)
    query = select(tx_id, index)
    query = query.select_from(source).where(
        tx_id.is_not(None), *conditions, *in_blocks(tx_id, page.search.filter.block)
    )
    if start is not None:
        query = query.where(tx_id <= start.tx_id if page.is_descending else tx_id >= start.tx_id)
    return query.order_by(_directed(tx_id, page.is_descending), _directed(index, page.is_descending))


def hashes_of(connection: Connection, ids: Sequence[int]) -> dict[int, bytes]:
    """Hashes of transactions by their ids."""
    found: dict[int, bytes] = {}
    for at in range(0, len(ids), ASKED_AT_ONCE):
        chosen = ids[at : at + ASKED_AT_ONCE]
        query = select(TRANSACTIONS.c.id, TRANSACTIONS.c.hash).where(TRANSACTIONS.c.id.in_(chosen))
        found |= {tx_id: bytes(tx_hash) for tx_id, tx_hash in connection.execute(query)}
    return found


def find_capacity(connection: Connection, search: Search, terms: Terms) -> tuple[int, int, bytes] | None:
    """Sum of the capacities of all live cells, height and hash of the block that it is of; None without cells."""
    tip = tip_of(connection)
    if terms.is_spent is not None:
        total = None
        for cell in find_cells(connection, Page(search=search), terms, with_data=False):
            total = (total or 0) + cell.capacity
    else:
        source, conditions = filtered(connection, search)
        # Of halves: SQLite's sums end at 2 ** 63, and where filters leave blocks out the same CKB are counted often.
        query = (
            select(func.sum(OUTPUTS.c.capacity // HALF), func.sum(OUTPUTS.c.capacity % HALF))
            .select_from(source)
            .where(own_script(search.script_type).in_(script_ids(connection, search)))
            .where(*conditions, *in_blocks(OUTPUTS.c.id, search.filter.block))
        )
        sums = connection.execute(of_live_cells(query, search.script_type)).one()
        total = None if sums[0] is None else int(sums[0]) * HALF + int(sums[1])
    return None if total is None or tip is None else (total, *tip)


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


def cell_cursor(cell_id: int) -> bytes:
    """What `find_cells` and `find_grouped` go on after."""
    return cell_id.to_bytes(_ID_SIZE, "little", signed=True)


def tx_cursor(tx_id: int, given: int) -> bytes:
    """What `find_transactions` goes on after, when so many of the transaction's rows were given."""
    return cell_cursor(tx_id) + given.to_bytes(_OFFSET_SIZE, "little")


def next_tx_cursor(rows: Sequence[RichTx], after: bytes | None) -> bytes:
    """Behind a page: the last transaction, and how many of its inputs and outputs were given in it and before it."""
    if not rows:
        return tx_cursor(0, 0)
    last = rows[-1]
    before = after is not None and after[:_ID_SIZE] == cell_cursor(last.id)
    return tx_cursor(last.id, len(last.cells) + (int.from_bytes(after[_ID_SIZE:], "little") if after and before else 0))


def place_of(tx_id: int) -> tuple[int, int]:
    """Number of a transaction's block, index therein."""
    return tx_id >> BLOCK_BITS, tx_id & _IN_BLOCK


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


def _rows(
    connection: Connection, query: Select[Any], most: int, values: Mapping[str, int] = EMPTY
) -> Iterator[Sequence[Any]]:
    """Rows, no more than `most`, as they are wanted. Raises SearchTimeoutError."""
    reader = connection.execution_options(yield_per=FETCHED) if most > FETCHED else connection
    result = reader.execute(query, values)
    try:
        for row in result:
            check_deadline(connection)
            yield row
    finally:
        result.close()
