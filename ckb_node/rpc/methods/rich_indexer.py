"""Module RichIndexer of the RPC: the methods of module Indexer from SQL tables, with searches by part of a script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ckb_node.indexer.query import QueryError
from ckb_node.indexer.service import IndexBehindError
from ckb_node.jsonrpc_types.chain import CellOutputJson, OutPointJson, ScriptJson, script_json
from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc.calls import EncodedJson, encode
from ckb_node.rpc.errors import Code, RpcError, module_is_disabled
from ckb_node.rpc.methods.indexer import (
    CellsCapacityJson,
    CellsPageJson,
    CursorParam,
    GroupedTransactionsPageJson,
    IndexerCellJson,
    IndexerGroupedTxJson,
    IndexerTipJson,
    IndexerTxJson,
    OrderParam,
    SearchKeyParam,
    TransactionsPageJson,
    check_limit,
    refused,
)
from ckb_node.rpc.params import Uint32
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import RichCellRow, RichIndexerService, RichTxRow, Services
from consensus.types.blockchain import Script

METHODS = Methods(Module.RICH_INDEXER)

T = TypeVar("T")
_NO_CELL, _NO_TX = "0x", bytes(8)
_NO_OFFSET = bytes(4)


def _indexer(services: Services) -> RichIndexerService:
    if services.rich_indexer is None:
        raise module_is_disabled(Module.RICH_INDEXER.value)
    return services.rich_indexer


async def _found(search: Awaitable[T]) -> T:
    try:
        return await search
    except QueryError as error:
        raise refused(str(error)) from None
    except IndexBehindError as error:
        raise RpcError(Code.Indexer, str(error)) from None


@METHODS.method
async def get_indexer_tip(services: Services) -> IndexerTipJson | None:
    """The last block that the rich indexer has seen; null before the first."""
    await _indexer(services).follow()
    tip = _indexer(services).tip()
    return None if tip is None else IndexerTipJson(bytes_text(tip[1]), uint_text(tip[0]))


@METHODS.method
async def get_cells(
    services: Services,
    search_key: SearchKeyParam,
    order: OrderParam,
    limit: Uint32,
    after: CursorParam | None = None,
) -> EncodedJson[CellsPageJson]:
    """Live cells by lock or type script, in pages, in the order of the chain.

    As in module Indexer, and script_search_mode may be `partial`: the arguments contain those given.
    """
    indexer = _indexer(services)
    check_limit(limit, indexer.options.request_limit)
    cells = await _found(
        indexer.cells(search_key.search, limit, after, is_descending=order == "desc", with_data=search_key.with_data)
    )
    cursor = bytes_text(cells[-1].id.to_bytes(8, "little")) if cells else _NO_CELL
    return await _encoded(services, lambda: CellsPageJson([_cell_json(cell) for cell in cells], cursor))


async def _encoded(services: Services, page: Callable[[], object]) -> EncodedJson[Any]:
    """A page may be long, so its JSON is made beside the event loop."""
    return EncodedJson(await services.lane.run(lambda: encode(page())))


def _script_json(script: tuple[bytes, int, bytes]) -> ScriptJson:
    return script_json(Script(code_hash=script[0], hash_type=script[1], args=script[2]))


def _cell_json(cell: RichCellRow) -> IndexerCellJson:
    type_ = None if cell.type_ is None else _script_json(cell.type_)
    return IndexerCellJson(
        CellOutputJson(uint_text(cell.capacity), _script_json(cell.lock), type_),
        None if cell.data is None else bytes_text(cell.data),
        OutPointJson(bytes_text(cell.tx_hash), uint_text(cell.output_index)),
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
) -> EncodedJson[TransactionsPageJson] | EncodedJson[GroupedTransactionsPageJson]:
    """Transactions with an input or output of a script, in pages; all conditions of cells may be given."""
    indexer = _indexer(services)
    check_limit(limit, indexer.options.request_limit)
    search, is_descending = search_key.search, order == "desc"
    if search_key.is_grouped:
        groups = await _found(indexer.grouped(search, limit, after, is_descending=is_descending))
        last = groups[-1][0].tx_id.to_bytes(8, "little") if groups else _NO_TX
        return await _encoded(services, lambda: _grouped_page(groups, last))
    rows = await _found(indexer.transactions(search, limit, after, is_descending=is_descending))
    cursor = _tx_cursor(rows, after)
    return await _encoded(services, lambda: TransactionsPageJson([_tx_json(row) for row in rows], bytes_text(cursor)))


def _grouped_page(groups: Sequence[Sequence[RichTxRow]], cursor: bytes) -> GroupedTransactionsPageJson:
    return GroupedTransactionsPageJson([_grouped_json(group) for group in groups], bytes_text(cursor))


def _tx_cursor(rows: Sequence[RichTxRow], after: bytes | None) -> bytes:
    """The last row's transaction, and how many of its rows were given in this page and those before it."""
    if not rows:
        return _NO_TX + _NO_OFFSET
    last = rows[-1].tx_id
    count = sum(row.tx_id == last for row in rows)
    if after is not None and after[:8] == last.to_bytes(8, "little"):
        count += int.from_bytes(after[8:], "little")
    return last.to_bytes(8, "little") + count.to_bytes(4, "little")


def _io_type(row: RichTxRow) -> str:
    return "output" if row.is_output else "input"


def _tx_json(row: RichTxRow) -> IndexerTxJson:
    place = bytes_text(row.tx_hash), uint_text(row.number), uint_text(row.tx_index)
    return IndexerTxJson(*place, uint_text(row.io_index), _io_type(row))


def _grouped_json(group: Sequence[RichTxRow]) -> IndexerGroupedTxJson:
    first = group[0]
    place = bytes_text(first.tx_hash), uint_text(first.number), uint_text(first.tx_index)
    return IndexerGroupedTxJson(*place, [(_io_type(row), uint_text(row.io_index)) for row in group])


@METHODS.method
async def get_cells_capacity(services: Services, search_key: SearchKeyParam) -> CellsCapacityJson | None:
    """Sum of the capacities of all live cells of a script, and the block that it is of; null when there are none."""
    found = await _found(_indexer(services).capacity(search_key.search))
    if found is None:
        return None
    capacity, number, block_hash = found
    return CellsCapacityJson(uint_text(capacity), bytes_text(block_hash), uint_text(number))
