"""How each indexer answers the methods of its module: the key-value one in short steps of the lane, the rich one in a
thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from ckb_node.indexer.index import Index
from ckb_node.indexer.keys import CAPACITY
from ckb_node.indexer.query import (
    CellFilter,
    FoundCell,
    FoundTransaction,
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
from ckb_node.rpc.indexer_texts import PAGE_HEAD, CellTexts, group_text, page_end, page_text, tx_text
from ckb_node.rpc.indexer_types import (
    CellsCapacityJson,
    CellsPageJson,
    GroupedTransactionsPageJson,
    Page,
    TransactionsPageJson,
    refused,
)
from ckb_node.rpc.services import IndexerService, RichIndexerService, RichReader, RichTxRow
from ckb_node.runtime.lane import Slices
from storage.kv import Snapshot

T = TypeVar("T")

STEPS_AT_ONCE: Final = 4
"""A page of a hundred transactions has two steps and its end."""
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

    async def transactions(self, page: Page, *, is_grouped: bool) -> EncodedJson[Any] | ThreadStream[Any]:
        """See Answers."""
        read = _grouped if is_grouped else _transactions
        found = await self._searched(lambda snapshot: read(snapshot, page, self._terms))
        return found if page.search.filter.script is not None else _begun(found)

    async def capacity(self, search: Search) -> EncodedJson[Any] | ThreadStream[Any]:
        """See Answers."""
        found = await self._searched(lambda snapshot: _capacity(snapshot, search, self._terms))
        is_sum_kept = search.filter == CellFilter() and self._terms.is_spent is None
        return _begun(found) if is_sum_kept else found

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


def _begun(found: ThreadStream[Any]) -> EncodedJson[Any] | ThreadStream[Any]:
    """Do the first steps now, a fraction of a millisecond: rows side by side. A turn in the lane costs more."""
    first = list(islice(found.pieces, STEPS_AT_ONCE))
    if len(first) < STEPS_AT_ONCE:
        return EncodedJson(b"".join(first))

    def pieces() -> Slices:
        yield b"".join(first)
        yield from found.pieces

    return ThreadStream(pieces())


def _cells(snapshot: Snapshot, page: Page, terms: Terms, with_data: bool) -> Slices:
    texts = CellTexts(with_data=with_data)

    def text(found: FoundCell) -> str:
        out_point, number, tx_index, raw, data, _ = found
        (capacity,) = CAPACITY.unpack_from(raw)
        return texts.cell(capacity, texts.scripts_of_output(raw), data, out_point, number, tx_index)

    steps = find_cells(
        snapshot, page.search, after=page.after, is_descending=page.is_descending, limit=page.limit, terms=terms
    )
    yield from _page((step[-1].cursor if step else b"", [text(each) for each in step]) for step in steps)


def _transactions(snapshot: Snapshot, page: Page, terms: Terms) -> Slices:
    def texts(step: list[FoundTransaction]) -> tuple[bytes, list[str]]:
        taken = [each for each in step if each.is_match]
        return taken[-1].cursor if taken else b"", [tx_text(*each[:5]) for each in taken]

    yield from _page(map(texts, _tx_steps(snapshot, page, terms, page.limit)))


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
    groups: list[list[FoundTransaction]] = []
    cursor, before, left = b"", PAGE_HEAD, page.limit
    for step in _tx_steps(snapshot, page, terms, None):
        for each in step:
            is_same = bool(groups) and each.tx_hash == groups[-1][-1].tx_hash
            if not left and not is_same:
                break
            cursor = each.cursor
            if each.is_match and is_same:
                groups[-1].append(each)
            elif each.is_match:
                groups.append([each])
                left -= 1
        else:
            done, groups = groups[:-1], groups[-1:]
            yield (before + ",".join(map(_group_text, done))).encode() if done else b""
            before = "," if done else before
            continue
        break
    yield ((before + ",".join(map(_group_text, groups)) if groups else before) + page_end(cursor)).encode()


def _group_text(group: Sequence[FoundTransaction | RichTxRow]) -> str:
    first = group[0]
    cells = [(each.is_output, each.io_index) for each in group]
    return group_text(first.tx_hash, first.number, first.tx_index, cells)


def _tx_steps(snapshot: Snapshot, page: Page, terms: Terms, limit: int | None) -> Iterator[list[FoundTransaction]]:
    return find_transactions(
        snapshot, page.search, after=page.after, is_descending=page.is_descending, limit=limit, terms=terms
    )


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
            found, cursor = reader.cells(
                page.search, page.limit, page.after, is_descending=page.is_descending, with_data=with_data
            )
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
            rows, cursor = reader.transactions(page.search, page.limit, page.after, is_descending=page.is_descending)
            texts = (tx_text(row.tx_hash, row.number, row.tx_index, row.io_index, row.is_output) for row in rows)
            return page_text(texts, cursor)

        def read_groups(reader: RichReader) -> bytes:
            groups, cursor = reader.grouped(page.search, page.limit, page.after, is_descending=page.is_descending)
            return page_text(map(_group_text, groups), cursor)

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
