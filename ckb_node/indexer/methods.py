"""Module Indexer of the RPC."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Literal

from msgspec import Struct

from ckb_node.indexer.index import Index
from ckb_node.indexer.query import (
    CellFilter,
    FoundTransaction,
    QueryError,
    Range,
    ScriptType,
    Search,
    SearchMode,
    find_cells,
    find_transactions,
)
from ckb_node.indexer.service import IndexerService
from ckb_node.rpc.errors import invalid_params
from ckb_node.rpc.hextext import bytes_text, parse_bytes, parse_uint64, uint_text
from ckb_node.rpc.jsontypes import (
    CellOutputJson,
    OutPointJson,
    ScriptJson,
    cell_output_json,
    out_point_json,
    read_script,
)
from ckb_node.rpc.params import Codec, Uint32
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Services
from consensus.types.blockchain import OutPoint

MAX_LIMIT = 0xFFFFFFFF
MAX_ARGS = 65535
MAX_GROUPED_CELLS = 100_000

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
    script = read_script(key.script)
    if len(script.args) > MAX_ARGS:
        raise invalid_params("search_key.script.args len should be less than 65535")
    search = Search(
        script=script,
        script_type=ScriptType(key.script_type),
        mode=SearchMode(key.script_search_mode or "prefix"),
        filter=_read_filter(key.filter or FilterJson()),
    )
    return SearchKey(search, key.with_data is not False, key.group_by_transaction is True)


def _read_filter(conditions: FilterJson) -> CellFilter:
    return CellFilter(
        script=None if conditions.script is None else read_script(conditions.script),
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

    objects: list[IndexerTxJson] | list[IndexerGroupedTxJson]
    last_cursor: str


class CellsCapacityJson(Struct, frozen=True):
    """Sum of capacities at an indexed block."""

    capacity: str
    block_hash: str
    block_number: str


def _indexer(services: Services) -> IndexerService:
    service = services.extensions[IndexerService]
    assert isinstance(service, IndexerService)  # noqa: S101 - the assembly registers it under its own type
    return service


def _checked_limit(limit: int) -> int:
    if limit == 0:
        raise invalid_params("limit should be greater than 0")
    return min(limit, MAX_LIMIT)


@METHODS.method
def get_indexer_tip(services: Services) -> IndexerTipJson | None:
    """The last block that the indexer has seen; null before the first."""
    tip = _indexer(services).tip()
    return None if tip is None else IndexerTipJson(bytes_text(tip[1]), uint_text(tip[0]))


@METHODS.method
def get_cells(
    services: Services,
    search_key: SearchKeyParam,
    order: OrderParam,
    limit: Uint32,
    after: CursorParam | None = None,
) -> CellsPageJson:
    """Live cells by lock or type script, in pages.

    `search_key`: script, script_type `lock` or `type`, script_search_mode `prefix` (default) or `exact`, filter,
    with_data. `order`: `asc` or `desc` by block. `after`: the `last_cursor` of the page before.
    """
    count = _checked_limit(limit)
    with_data = search_key.with_data
    snapshot = _indexer(services).snapshot()
    try:
        found = find_cells(snapshot, search_key.search, after=after, is_descending=order == "desc")
        page = list(islice(found, count))
    except QueryError as error:
        raise invalid_params(str(error)) from None
    finally:
        snapshot.close()
    objects = [
        IndexerCellJson(
            cell_output_json(each.cell.output),
            bytes_text(each.cell.data) if with_data else None,
            out_point_json(OutPoint.trusted(each.out_point)),
            uint_text(each.cell.number),
            uint_text(each.cell.tx_index),
        )
        for each in page
    ]
    return CellsPageJson(objects, bytes_text(page[-1].cursor if page else b""))


@METHODS.method
def get_transactions(
    services: Services,
    search_key: SearchKeyParam,
    order: OrderParam,
    limit: Uint32,
    after: CursorParam | None = None,
) -> TransactionsPageJson:
    """Transactions with an input or output of a script, in pages; `group_by_transaction` gathers a transaction's."""
    count = _checked_limit(limit)
    snapshot = _indexer(services).snapshot()
    try:
        found = find_transactions(snapshot, search_key.search, after=after, is_descending=order == "desc")
        if search_key.is_grouped:
            return _grouped_page(found, count)
        page = list(islice(found, count))
    except QueryError as error:
        raise invalid_params(str(error)) from None
    finally:
        snapshot.close()
    objects = [
        IndexerTxJson(
            bytes_text(each.tx_hash),
            uint_text(each.number),
            uint_text(each.tx_index),
            uint_text(each.io_index),
            _io_type(each),
        )
        for each in page
    ]
    return TransactionsPageJson(objects, bytes_text(page[-1].cursor if page else b""))


def _grouped_page(found: Iterator[FoundTransaction], count: int) -> TransactionsPageJson:
    groups: list[IndexerGroupedTxJson] = []
    cursor = last_hash = b""
    for each in islice(found, MAX_GROUPED_CELLS):
        if each.tx_hash != last_hash:
            if len(groups) == count:
                break
            last_hash = each.tx_hash
            groups.append(
                IndexerGroupedTxJson(bytes_text(each.tx_hash), uint_text(each.number), uint_text(each.tx_index), [])
            )
        groups[-1].cells.append((_io_type(each), uint_text(each.io_index)))
        cursor = each.cursor
    return TransactionsPageJson(groups, bytes_text(cursor))


def _io_type(found: FoundTransaction) -> str:
    return "output" if found.is_output else "input"


@METHODS.method
def get_cells_capacity(services: Services, search_key: SearchKeyParam) -> CellsCapacityJson | None:
    """Sum of the capacities of all live cells of a script, and the block that it is of."""
    snapshot = _indexer(services).snapshot()
    try:
        tip = Index.tip_of(snapshot)
        if tip is None:
            return None
        found = find_cells(snapshot, search_key.search, after=None, is_descending=False)
        capacity = sum(each.cell.output.capacity for each in found)
    except QueryError as error:
        raise invalid_params(str(error)) from None
    finally:
        snapshot.close()
    return CellsCapacityJson(uint_text(capacity), bytes_text(tip[1]), uint_text(tip[0]))
