"""How each indexer answers the methods of its module: the key-value one in short steps of the lane, the rich one in a
thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from ckb_node.indexer.query import CellFilter, Page, QueryError, Search, Terms, refuse_partial
from ckb_node.indexer.service import IndexBehindError, IndexerOptions
from ckb_node.rpc import indexer_pages
from ckb_node.rpc.calls import EncodedJson, ThreadStream, encode
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.indexer_texts import CellTexts, group_text, page_text, tx_texts
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
        return await self._searched(
            lambda snapshot: indexer_pages.cells(snapshot, page, self._terms, with_data=with_data)
        )

    async def transactions(self, page: Page, *, is_grouped: bool) -> ThreadStream[Any]:
        """See Answers."""
        read = indexer_pages.grouped if is_grouped else indexer_pages.transactions
        return await self._searched(lambda snapshot: read(snapshot, page, self._terms))

    async def capacity(self, search: Search) -> ThreadStream[CellsCapacityJson | None]:
        """See Answers."""
        return await self._searched(lambda snapshot: indexer_pages.capacity(snapshot, search, self._terms))

    def cells_now(self, page: Page, *, with_data: bool) -> bytes | None:
        """As `cells`, if that takes but a moment."""
        if not _is_short(page):
            return None
        return self._found_now(lambda snapshot: indexer_pages.cells(snapshot, page, self._terms, with_data=with_data))

    def transactions_now(self, page: Page, *, is_grouped: bool) -> bytes | None:
        """As `transactions`, if that takes but a moment."""
        if not _is_short(page):
            return None
        read = indexer_pages.grouped if is_grouped else indexer_pages.transactions
        return self._found_now(lambda snapshot: read(snapshot, page, self._terms))

    def capacity_now(self, search: Search) -> bytes | None:
        """As `capacity`, where a sum is kept."""
        if search.filter != CellFilter() or self._terms.is_spent is not None:
            return None
        return self._found_now(lambda snapshot: indexer_pages.capacity(snapshot, search, self._terms))

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
        return EncodedJson(encode(found and indexer_pages.capacity_json(*found)))

    async def _found(self, read: Callable[[RichReader], T]) -> T:
        try:
            return await self._indexer.search(read)
        except QueryError as error:
            raise refused(str(error)) from None
        except IndexBehindError as error:
            raise RpcError(Code.Indexer, str(error)) from None
