"""Modules Indexer and RichIndexer of the RPC: the same methods, from key-value tables or from SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ckb_node.indexer.query import Page
from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc.errors import module_is_disabled
from ckb_node.rpc.indexer_answers import Answers, Capacity, CellsPage, KeyValueAnswers, RichAnswers, TransactionsPage
from ckb_node.rpc.indexer_types import CursorParam, IndexerTipJson, OrderParam, SearchKey, SearchKeyParam, refused
from ckb_node.rpc.params import Uint32
from ckb_node.rpc.registry import AtOnce, Methods, Module
from ckb_node.rpc.services import Services


def _key_value(services: Services) -> KeyValueAnswers:
    if services.indexer is None:
        raise module_is_disabled(Module.INDEXER.value)
    return KeyValueAnswers(services.indexer)


def _rich(services: Services) -> Answers:
    if services.rich_indexer is None:
        raise module_is_disabled(Module.RICH_INDEXER.value)
    return RichAnswers(services.rich_indexer)


def _asked(key: SearchKey, order: str, limit: int, after: bytes | None, most: int | None) -> Page:
    """Raises RpcError."""
    if limit == 0:
        raise refused("limit should be greater than 0")
    if most is not None and limit > most:
        raise refused(f"limit must be less than {most}")
    return Page(search=key.search, after=after, is_descending=order == "desc", limit=limit)


class _Now(NamedTuple):
    """What some calls are answered by without waiting; see Method.at_once."""

    cells: AtOnce | None = None
    transactions: AtOnce | None = None
    capacity: AtOnce | None = None


def _cells_now(
    services: Services, search_key: SearchKey, order: str, limit: int, after: bytes | None = None
) -> bytes | None:
    indexer = _key_value(services)
    page = _cells_page(indexer, search_key, order, limit, after)
    return indexer.cells_now(page, with_data=search_key.with_data)


def _transactions_now(
    services: Services, search_key: SearchKey, order: str, limit: int, after: bytes | None = None
) -> bytes | None:
    indexer = _key_value(services)
    page = _transactions_page(indexer, search_key, order, limit, after)
    return indexer.transactions_now(page, is_grouped=search_key.is_grouped)


def _capacity_now(services: Services, search_key: SearchKey) -> bytes | None:
    indexer = _key_value(services)
    indexer.check_mode(search_key.search)
    return indexer.capacity_now(search_key.search)


def _cells_page(indexer: Answers, key: SearchKey, order: str, limit: int, after: bytes | None) -> Page:
    """Raises RpcError."""
    indexer.check_mode(key.search)
    return _asked(key, order, limit, after, indexer.options.request_limit)


def _transactions_page(indexer: Answers, key: SearchKey, order: str, limit: int, after: bytes | None) -> Page:
    """Raises RpcError."""
    page = _asked(key, order, limit, after, indexer.options.request_limit)
    indexer.check_mode(page.search)
    return page


def _methods(module: Module, answers: Callable[[Services], Answers], now: _Now) -> Methods:
    methods = Methods(module)

    @methods.method
    async def get_indexer_tip(services: Services) -> IndexerTipJson | None:
        """The last block that the indexer has seen; null before the first."""
        indexer = answers(services)
        await indexer.follow()
        tip = indexer.tip()
        return None if tip is None else IndexerTipJson(bytes_text(tip[1]), uint_text(tip[0]))

    @methods.method(at_once=now.cells)
    async def get_cells(
        services: Services,
        search_key: SearchKeyParam,
        order: OrderParam,
        limit: Uint32,
        after: CursorParam | None = None,
    ) -> CellsPage:
        """Live cells by lock or type script, in pages.

        `search_key`: script, script_type `lock` or `type`, script_search_mode `prefix` (default), `exact` or, in module
        RichIndexer alone, `partial`: the arguments contain those given; filter, with_data. `order`: `asc` or `desc` by
        block. `after`: the `last_cursor` of the page before.
        """
        indexer = answers(services)
        page = _cells_page(indexer, search_key, order, limit, after)
        return await indexer.cells(page, with_data=search_key.with_data)

    @methods.method(at_once=now.transactions)
    async def get_transactions(
        services: Services,
        search_key: SearchKeyParam,
        order: OrderParam,
        limit: Uint32,
        after: CursorParam | None = None,
    ) -> TransactionsPage:
        """Transactions with an input or output of a script, in pages; `group_by_transaction` gathers a transaction's.

        In module RichIndexer all conditions of cells may be given, in module Indexer the other script and a range of
        blocks.
        """
        indexer = answers(services)
        page = _transactions_page(indexer, search_key, order, limit, after)
        return await indexer.transactions(page, is_grouped=search_key.is_grouped)

    @methods.method(at_once=now.capacity)
    async def get_cells_capacity(services: Services, search_key: SearchKeyParam) -> Capacity:
        """Sum of the capacities of all live cells of a script, and the block that it is of; in module RichIndexer null
        when there are none."""
        indexer = answers(services)
        indexer.check_mode(search_key.search)
        return await indexer.capacity(search_key.search)

    return methods


METHODS = _methods(Module.INDEXER, _key_value, _Now(_cells_now, _transactions_now, _capacity_now))
RICH_METHODS = _methods(Module.RICH_INDEXER, _rich, _Now())
