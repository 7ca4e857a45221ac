"""Module Indexer of the RPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from msgspec import Struct

from ckb_node.indexer.index import Index
from ckb_node.indexer.query import (
    CellFilter,
    FoundCell,
    FoundTransaction,
    QueryError,
    Range,
    ScriptType,
    Search,
    SearchMode,
    find_capacity,
    find_cells,
    find_transactions,
    refuse_partial,
)
from ckb_node.indexer.service import IndexBehindError
from ckb_node.jsonrpc_types.chain import (
    CellOutputJson,
    OutPointJson,
    ScriptJson,
    cell_output_json,
    out_point_json,
    read_script,
)
from ckb_node.jsonrpc_types.hex_text import bytes_text, parse_bytes, parse_uint64, uint_text
from ckb_node.rpc.calls import ThreadStream, encode
from ckb_node.rpc.errors import Code, RpcError, module_is_disabled
from ckb_node.rpc.params import Codec, Uint32
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import IndexerService, Services
from ckb_node.runtime.lane import Slices
from consensus.types.blockchain import OutPoint, Script
from storage.kv import Snapshot

MAX_ARGS = 65535

METHODS = Methods(Module.INDEXER)

Mode = Literal["prefix", "exact", "partial"]
RangeJson = tuple[str, str]


class FilterJson(Struct, frozen=True):
    """Conditions on cells."""

    script: ScriptJson | None = None
    script_len_range: RangeJson | None = None
    output_data: str | None = None
    output_data_filter_mode: Mode | None = None
    output_data_len_range: RangeJson | None = None
    output_capacity_range: RangeJson | None = None
    block_range: RangeJson | None = None


class SearchKeyJson(Struct, frozen=True):
    """What to look for, as clients write it."""

    script: ScriptJson
    script_type: Literal["lock", "type"]
    script_search_mode: Mode | None = None
    filter: FilterJson | None = None
    with_data: bool | None = None
    group_by_transaction: bool | None = None


class SearchKey(Struct, frozen=True):
    """The search with what concerns the answer only."""

    search: Search
    with_data: bool
    is_grouped: bool


def _read_search_key(key: SearchKeyJson) -> SearchKey:
    search = Search(
        script=_read_short_script(key.script, "search_key.script"),
        script_type=ScriptType(key.script_type),
        mode=SearchMode(key.script_search_mode or "prefix"),
        filter=_read_filter(key.filter or FilterJson()),
    )
    return SearchKey(search, key.with_data is not False, key.group_by_transaction is True)


def _read_short_script(script: ScriptJson, place: str) -> Script:
    found = read_script(script)
    if len(found.args) > MAX_ARGS:
        raise refused(f"{place}.args len should be less than {MAX_ARGS}")
    return found


def refused(text: str) -> RpcError:
    """-1200: the indexer does not do this."""
    return RpcError(Code.Indexer, f"Invalid params {text}")


def _read_filter(conditions: FilterJson) -> CellFilter:
    return CellFilter(
        script=None if conditions.script is None else _read_short_script(conditions.script, "search_key.filter.script"),
        script_length=_read_range(conditions.script_len_range),
        data=None if conditions.output_data is None else parse_bytes(conditions.output_data),
        data_mode=SearchMode(conditions.output_data_filter_mode or "prefix"),
        data_length=_read_range(conditions.output_data_len_range),
        capacity=_read_range(conditions.output_capacity_range),
        block=_read_range(conditions.block_range),
    )


def _read_range(texts: RangeJson | None) -> Range | None:
    return None if texts is None else (parse_uint64(texts[0]), parse_uint64(texts[1]))


SearchKeyParam = Annotated[SearchKey, Codec("IndexerSearchKey", SearchKeyJson, _read_search_key)]
OrderParam = Annotated[str, Codec("IndexerOrder", Literal["asc", "desc"], str)]
CursorParam = Annotated[bytes, Codec("JsonBytes", str, parse_bytes)]


class IndexerTipJson(Struct, frozen=True):
    """The last indexed block."""

    block_hash: str
    block_number: str


class IndexerCellJson(Struct, frozen=True):
    """A live cell."""

    output: CellOutputJson
    output_data: str | None
    out_point: OutPointJson
    block_number: str
    tx_index: str


class CellsPageJson(Struct, frozen=True):
    """A page of cells; an empty `last_cursor` means that nothing was found."""

    objects: list[IndexerCellJson]
    last_cursor: str


class IndexerTxJson(Struct, frozen=True):
    """One input or output."""

    tx_hash: str
    block_number: str
    tx_index: str
    io_index: str
    io_type: str


class IndexerGroupedTxJson(Struct, frozen=True):
    """A transaction with the inputs and outputs that were found."""

    tx_hash: str
    block_number: str
    tx_index: str
    cells: list[tuple[str, str]]


class TransactionsPageJson(Struct, frozen=True):
    """A page of transactions."""

    objects: list[IndexerTxJson]
    last_cursor: str


class GroupedTransactionsPageJson(Struct, frozen=True):
    """A page of transactions, each once."""

    objects: list[IndexerGroupedTxJson]
    last_cursor: str


class CellsCapacityJson(Struct, frozen=True):
    """Sum of capacities at an indexed block."""

    capacity: str
    block_hash: str
    block_number: str


def _indexer(services: Services) -> IndexerService:
    if services.indexer is None:
        raise module_is_disabled(Module.INDEXER.value)
    return services.indexer


def check_limit(limit: int, most: int | None) -> None:
    """Objects that an answer may have. Raises RpcError."""
    if limit == 0:
        raise refused("limit should be greater than 0")
    if most is not None and limit > most:
        raise refused(f"limit must be less than {most}")


def _check_mode(search: Search) -> None:
    try:
        refuse_partial(search)
    except QueryError as error:
        raise refused(str(error)) from None


@METHODS.method
async def get_indexer_tip(services: Services) -> IndexerTipJson | None:
    """The last block that the indexer has seen; null before the first."""
    await _indexer(services).follow()
    tip = _indexer(services).tip()
    return None if tip is None else IndexerTipJson(bytes_text(tip[1]), uint_text(tip[0]))


async def _searched(services: Services, read: Callable[[Snapshot], Slices]) -> ThreadStream[Any]:
    try:
        found = await _indexer(services).search(read)
    except IndexBehindError as error:
        raise RpcError(Code.Indexer, str(error)) from None

    def pieces() -> Slices:
        try:
            yield from found
        except QueryError as error:
            raise refused(str(error)) from None

    return ThreadStream(pieces())


@METHODS.method
async def get_cells(
    services: Services,
    search_key: SearchKeyParam,
    order: OrderParam,
    limit: Uint32,
    after: CursorParam | None = None,
) -> ThreadStream[CellsPageJson]:
    """Live cells by lock or type script, in pages.

    `search_key`: script, script_type `lock` or `type`, script_search_mode `prefix` (default) or `exact`, filter,
    with_data. `order`: `asc` or `desc` by block. `after`: the `last_cursor` of the page before.
    """
    options = _indexer(services).options
    _check_mode(search_key.search)
    check_limit(limit, options.request_limit)

    def read(snapshot: Snapshot) -> Slices:
        is_descending = order == "desc"
        found = find_cells(snapshot, search_key.search, after=after, is_descending=is_descending, terms=options.terms)
        return _page(_cell_texts(found, with_data=search_key.with_data), limit)

    return await _searched(services, read)


Text = tuple[bytes, bytes]
"""An object of a page as JSON, and its cursor."""


def _page(objects: Iterator[Text | None], count: int) -> Slices:
    """The JSON of up to `count` objects, object by object; nothing where a pause is due."""
    cursor, before = b"", b'{"objects":['
    for each in objects:
        if each is None:
            yield b""
            continue
        text, cursor = each
        yield before + text
        before = b","
        count -= 1
        if not count:
            break
    yield b'%b],"last_cursor":"0x%b"}' % (b"" if cursor else before, cursor.hex().encode())


def _cell_texts(found: Iterator[FoundCell | None], *, with_data: bool) -> Iterator[Text | None]:
    for each in found:
        yield None if each is None else (encode(_cell_json(each, with_data=with_data)), each.cursor)


def _cell_json(found: FoundCell, *, with_data: bool) -> IndexerCellJson:
    cell = found.cell
    return IndexerCellJson(
        cell_output_json(cell.output),
        bytes_text(cell.data) if with_data else None,
        out_point_json(OutPoint.trusted(found.out_point)),
        uint_text(cell.number),
        uint_text(cell.tx_index),
    )


@METHODS.method
async def get_transactions(
    services: Services,
    search_key: SearchKeyParam,
    order: OrderParam,
    limit: Uint32,
    after: CursorParam | None = None,
) -> ThreadStream[TransactionsPageJson] | ThreadStream[GroupedTransactionsPageJson]:
    """Transactions with an input or output of a script, in pages; `group_by_transaction` gathers a transaction's."""
    options = _indexer(services).options
    check_limit(limit, options.request_limit)
    _check_mode(search_key.search)

    def read(snapshot: Snapshot) -> Slices:
        is_descending = order == "desc"
        found = find_transactions(
            snapshot, search_key.search, after=after, is_descending=is_descending, terms=options.terms
        )
        return _grouped_page(found, limit) if search_key.is_grouped else _page(_transaction_texts(found), limit)

    return await _searched(services, read)


def _transaction_texts(found: Iterator[FoundTransaction | None]) -> Iterator[Text | None]:
    for each in found:
        if each is None or not each.is_match:
            yield None
            continue
        tx_hash, number = bytes_text(each.tx_hash), uint_text(each.number)
        row = IndexerTxJson(tx_hash, number, uint_text(each.tx_index), uint_text(each.io_index), io_type(each))
        yield encode(row), each.cursor


def _grouped_page(found: Iterator[FoundTransaction | None], count: int) -> Slices:
    """The JSON of up to `count` transactions. As the reference's, the page ends behind the last row that it looked at,
    taken by the filter or not.

    Rows of one transaction stand together, except under a prefix that several of its scripts share.
    """
    group: IndexerGroupedTxJson | None = None
    cursor = last_hash = b""
    before, left = b'{"objects":[', count
    for each in found:
        if each is None:
            yield b""
            continue
        if not left and each.tx_hash != last_hash:
            break
        cursor = each.cursor
        if not each.is_match:
            continue
        if group is None or each.tx_hash != last_hash:
            if group is not None:
                yield before + encode(group)
                before = b","
            last_hash, left = each.tx_hash, left - 1
            group = IndexerGroupedTxJson(bytes_text(each.tx_hash), uint_text(each.number), uint_text(each.tx_index), [])
        group.cells.append((io_type(each), uint_text(each.io_index)))
    text = b"" if group is None else encode(group)
    yield b'%b%b],"last_cursor":"0x%b"}' % (before, text, cursor.hex().encode())


def io_type(found: FoundTransaction) -> str:
    return "output" if found.is_output else "input"


@METHODS.method
async def get_cells_capacity(services: Services, search_key: SearchKeyParam) -> ThreadStream[CellsCapacityJson | None]:
    """Sum of the capacities of all live cells of a script, and the block that it is of."""
    options = _indexer(services).options
    _check_mode(search_key.search)

    def read(snapshot: Snapshot) -> Slices:
        tip = Index.tip_of(snapshot)
        capacity = 0
        for each in find_capacity(snapshot, search_key.search, options.terms):
            capacity += each or 0
            yield b""
        answer = tip and CellsCapacityJson(uint_text(capacity), bytes_text(tip[1]), uint_text(tip[0]))
        yield encode(answer)

    return await _searched(services, read)
