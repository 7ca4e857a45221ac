"""How each indexer answers the methods of its module: the key-value one in short steps of the lane, the rich one in a
thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from ckb_node.indexer.index import Index
from ckb_node.indexer.keys import CELL_HEAD, PACKED_CELL, PACKED_SCRIPTS_AT, TX_PLACE
from ckb_node.indexer.query import (
    CellFilter,
    FoundCell,
    FoundTransaction,
    Page,
    QueryError,
    Search,
    Terms,
    find_capacity,
    find_cells,
    find_transactions,
    refuse_partial,
)
from ckb_node.indexer.service import IndexBehindError, IndexerOptions
from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc.calls import EncodedJson, ThreadStream, encode
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.indexer_texts import PAGE_HEAD, CellTexts, group_text, page_end, page_text, tx_texts
from ckb_node.rpc.indexer_types import (
    CellsCapacityJson,
    CellsPageJson,
    GroupedTransactionsPageJson,
    TransactionsPageJson,
    refused,
)
from ckb_node.rpc.services import IndexerService, RichIndexerService, RichReader
from ckb_node.runtime.lane import Slices
from storage.kv import Snapshot

T = TypeVar("T")

MOST_NOW: Final = 128
"""Rows of a page that may be found on the event loop."""
NOW_S: Final = 0.002
"""After which it gives up there."""
CellsPage = ThreadStream[CellsPageJson] | EncodedJson[CellsPageJson]
TransactionsPage = (
    ThreadStream[TransactionsPageJson]
    | ThreadStream[GroupedTransactionsPageJson]
    | EncodedJson[TransactionsPageJson]
    | EncodedJson[GroupedTransactionsPageJson]
)
Capacity = ThreadStream[CellsCapacityJson | None] | EncodedJson[CellsCapacityJson | None]


class Answers(Protocol):
    """An indexer as the methods use it. All raise RpcError."""

    @property
    def options(self) -> IndexerOptions:
        """What the operator chose."""

    def tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block."""

    async def follow(self) -> None:
        """Wait a moment until the index has followed the chain."""

    def check_mode(self, search: Search) -> None:
        """Whether the indexer has this way to search."""

    async def cells(self, page: Page, *, with_data: bool) -> CellsPage:
        """Live cells."""

    async def transactions(self, page: Page, *, is_grouped: bool) -> TransactionsPage:
        """Inputs and outputs, or transactions with them."""

    async def capacity(self, search: Search) -> Capacity:
        """The sum of all live cells."""


def capacity_json(capacity: int, number: int, block_hash: bytes) -> CellsCapacityJson:
    """A sum, and the block that it is of."""
    return CellsCapacityJson(uint_text(capacity), bytes_text(block_hash), uint_text(number))


class KeyValueAnswers:
    """See Answers."""

    def __init__(self, indexer: IndexerService) -> None:
        self._indexer = indexer
        self.options = indexer.options
        self.tip = indexer.tip
        self.follow = indexer.follow

    def check_mode(self, search: Search) -> None:
        """See Answers."""
        try:
            refuse_partial(search)
        except QueryError as error:
            raise refused(str(error)) from None

    async def cells(self, page: Page, *, with_data: bool) -> ThreadStream[CellsPageJson]:
        """See Answers."""
        return await self._searched(lambda snapshot: _cells(snapshot, page, self._terms, with_data))

    async def transactions(self, page: Page, *, is_grouped: bool) -> ThreadStream[Any]:
        """See Answers."""
        read = _grouped if is_grouped else _transactions
        return await self._searched(lambda snapshot: read(snapshot, page, self._terms))

    async def capacity(self, search: Search) -> ThreadStream[CellsCapacityJson | None]:
        """See Answers."""
        return await self._searched(lambda snapshot: _capacity(snapshot, search, self._terms))

    def cells_now(self, page: Page, *, with_data: bool) -> bytes | None:
        """As `cells`, if that takes but a moment."""
        if not _is_short(page):
            return None
        return self._found_now(lambda snapshot: _cells(snapshot, page, self._terms, with_data))

    def transactions_now(self, page: Page, *, is_grouped: bool) -> bytes | None:
        """As `transactions`, if that takes but a moment."""
        if not _is_short(page):
            return None
        read = _grouped if is_grouped else _transactions
        return self._found_now(lambda snapshot: read(snapshot, page, self._terms))

    def capacity_now(self, search: Search) -> bytes | None:
        """As `capacity`, where a sum is kept."""
        if search.filter != CellFilter() or self._terms.is_spent is not None:
            return None
        return self._found_now(lambda snapshot: _capacity(snapshot, search, self._terms))

    def _found_now(self, read: Callable[[Snapshot], Slices]) -> bytes | None:
        """On the event loop, where a turn of the lane would take as long; what takes longer is begun anew there."""
        snapshot = self._indexer.snapshot_now()
        if snapshot is None:
            return None
        slices, found, end = read(snapshot), [], time.perf_counter() + NOW_S
        try:
            for piece in slices:
                found.append(piece)
                if time.perf_counter() > end:
                    return None
        except QueryError as error:
            raise refused(str(error)) from None
        finally:
            slices.close()
            snapshot.close()
        return b"".join(found)

    @property
    def _terms(self) -> Terms:
        return self.options.terms

    async def _searched(self, read: Callable[[Snapshot], Slices]) -> ThreadStream[Any]:
        try:
            found = await self._indexer.search(read)
        except IndexBehindError as error:
            raise RpcError(Code.Indexer, str(error)) from None

        def pieces() -> Slices:
            try:
                yield from found
            except QueryError as error:
                raise refused(str(error)) from None

        return ThreadStream(pieces())


def _is_short(page: Page) -> bool:
    """Its rows are known to be few."""
    return page.search.filter == CellFilter() and page.limit is not None and page.limit <= MOST_NOW


def _cells(snapshot: Snapshot, page: Page, terms: Terms, with_data: bool) -> Slices:
    texts = CellTexts(with_data=with_data)

    def text(found: FoundCell) -> str:
        _, out_point, packed = found
        number, tx_index, length, capacity = PACKED_CELL.unpack_from(packed)
        end = CELL_HEAD.size + length
        scripts = texts.serialised_scripts(packed[PACKED_SCRIPTS_AT:end])
        return texts.cell(capacity, scripts, packed[end:], out_point, number, tx_index)

    steps = find_cells(snapshot, page, terms)
    yield from _page((step[-1].cursor if step else b"", list(map(text, step))) for step in steps)


def _transactions(snapshot: Snapshot, page: Page, terms: Terms) -> Slices:
    def texts(step: list[FoundTransaction]) -> tuple[bytes, list[str]]:
        taken = [each for each in step if each.cells]
        if not taken:
            return b"", []
        last = taken[-1]
        found: list[str] = []
        for key, tx_hash, cells, _ in taken:
            number, tx_index = TX_PLACE.unpack_from(key, -TX_PLACE.size)
            found += tx_texts(tx_hash, number, tx_index, cells)
        return last.cursor(last.cells[-1]), found

    yield from _page(map(texts, find_transactions(snapshot, page, terms)))


def _page(steps: Iterator[tuple[bytes, list[str]]]) -> Slices:
    """A page of the cursors and texts of steps; nothing where one found nothing."""
    cursor, before = b"", PAGE_HEAD
    for last, texts in steps:
        if texts:
            yield (before + ",".join(texts)).encode()
            cursor, before = last, ","
        else:
            yield b""
    yield (("" if cursor else before) + page_end(cursor)).encode()


def _grouped(snapshot: Snapshot, page: Page, terms: Terms) -> Slices:
    """Up to `limit` transactions. As the reference's, the page ends behind the last row that it looked at, taken by the
    filter or not.

    Rows of one transaction stand together, except under a prefix that several of its scripts share.
    """
    groups: list[FoundTransaction] = []
    cursor, before, left = b"", PAGE_HEAD, page.limit or 0
    for step in find_transactions(snapshot, replace(page, limit=None), terms):
        for each in step:
            is_same = bool(groups) and each.tx_hash == groups[-1].tx_hash
            if not left and not is_same:
                break
            cursor = each.key + each.last if each.last else cursor
            if each.cells and is_same:
                groups[-1].cells.extend(each.cells)
            elif each.cells:
                groups.append(each)
                left -= 1
        else:
            done, groups = groups[:-1], groups[-1:]
            yield (before + ",".join(map(_group_text, done))).encode() if done else b""
            before = "," if done else before
            continue
        break
    yield ((before + ",".join(map(_group_text, groups)) if groups else before) + page_end(cursor)).encode()


def _group_text(group: FoundTransaction) -> str:
    return group_text(group.tx_hash, *group.place, group.cells)


def _capacity(snapshot: Snapshot, search: Search, terms: Terms) -> Slices:
    tip = Index.tip_of(snapshot)
    capacity = 0
    for each in find_capacity(snapshot, search, terms):
        capacity += each or 0
        yield b""
    yield encode(tip and capacity_json(capacity, *tip))


class RichAnswers:
    """See Answers."""

    def __init__(self, indexer: RichIndexerService) -> None:
        self._indexer = indexer
        self.options = indexer.options
        self.tip = indexer.tip
        self.follow = indexer.follow

    def check_mode(self, search: Search) -> None:
        """See Answers: it has all."""

    async def cells(self, page: Page, *, with_data: bool) -> EncodedJson[CellsPageJson]:
        """See Answers."""
        texts = CellTexts(with_data=with_data)

        def read(reader: RichReader) -> bytes:
            found, cursor = reader.cells(page, with_data=with_data)
            objects = (
                texts.cell(
                    each.capacity,
                    texts.scripts(each.lock, each.type_),
                    each.data,
                    each.out_point,
                    each.number,
                    each.tx_index,
                )
                for each in found
            )
            return page_text(objects, cursor)

        return EncodedJson(await self._found(read))

    async def transactions(self, page: Page, *, is_grouped: bool) -> EncodedJson[Any]:
        """See Answers."""

        def read(reader: RichReader) -> bytes:
            found, cursor = reader.transactions(page)
            texts = (tx_texts(each.tx_hash, each.number, each.tx_index, each.cells) for each in found)
            return page_text(chain.from_iterable(texts), cursor)

        def read_groups(reader: RichReader) -> bytes:
            found, cursor = reader.grouped(page)
            texts = (group_text(each.tx_hash, each.number, each.tx_index, each.cells) for each in found)
            return page_text(texts, cursor)

        return EncodedJson(await self._found(read_groups if is_grouped else read))

    async def capacity(self, search: Search) -> EncodedJson[CellsCapacityJson | None]:
        """See Answers."""
        found = await self._found(lambda reader: reader.capacity(search))
        return EncodedJson(encode(found and capacity_json(*found)))

    async def _found(self, read: Callable[[RichReader], T]) -> T:
        try:
            return await self._indexer.search(read)
        except QueryError as error:
            raise refused(str(error)) from None
        except IndexBehindError as error:
            raise RpcError(Code.Indexer, str(error)) from None
