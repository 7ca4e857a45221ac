"""Pages of one search, bounded in bytes."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection

from ckb_node.indexer.query import Io, Page, QueryError, Search, Terms
from ckb_node.rich_indexer import search as searches
from ckb_node.rich_indexer.search import RichCell, RichTx, place_of

MOST_BYTES: Final = 64 << 20
"""Of data and arguments in one answer; a larger one is refused."""
ROW_BYTES: Final = 512
"""What a row counts besides."""


class FoundRichTx(NamedTuple):
    """A transaction with inputs and outputs that were found."""

    tx_hash: bytes
    number: int
    tx_index: int
    cells: list[Io]


class AnswerTooLargeError(QueryError):
    """More than one answer may hold."""

    def __init__(self) -> None:
        super().__init__("the answer is too large; ask with a smaller limit or without data")


class TablesReader:
    """See ckb_node.rpc.services.RichReader."""

    def __init__(self, connection: Connection, terms: Terms) -> None:
        self._connection: Final = connection
        self._terms: Final = terms

    def cells(self, page: Page, *, with_data: bool) -> tuple[list[RichCell], bytes]:
        """See RichReader."""
        found, size = [], 0
        for cell in searches.find_cells(self._connection, page, self._terms, with_data=with_data):
            size += ROW_BYTES + len(cell.data) + len(cell.lock) + len(cell.type_ or b"")
            if size > MOST_BYTES:
                raise AnswerTooLargeError
            found.append(cell)
        return found, searches.cell_cursor(found[-1].id) if found else b""

    def transactions(self, page: Page) -> tuple[list[FoundRichTx], bytes]:
        """See RichReader."""
        after = page.after
        searches.check_tx_cursor(after)
        left, rows = page.limit or 0, list[RichTx]()
        for each in searches.find_transactions(self._connection, page):
            rows.append(RichTx(each.id, each.cells[:left]))
            left -= len(rows[-1].cells)
            _check_cells((page.limit or 0) - left)
            if not left:
                break
        return self._with_hashes(rows), searches.next_tx_cursor(rows, after)

    def grouped(self, page: Page) -> tuple[list[FoundRichTx], bytes]:
        """See RichReader."""
        rows, cells = list[RichTx](), 0
        for each in searches.find_grouped(self._connection, page):
            rows.append(each)
            cells += len(each.cells)
            _check_cells(cells)
            if len(rows) == page.limit:
                break
        return self._with_hashes(rows), searches.cell_cursor(rows[-1].id if rows else 0)

    def _with_hashes(self, rows: list[RichTx]) -> list[FoundRichTx]:
        hashes = searches.hashes_of(self._connection, [each.id for each in rows])
        return [FoundRichTx(hashes[tx_id], *place_of(tx_id), cells) for tx_id, cells in rows]

    def capacity(self, search: Search) -> tuple[int, int, bytes] | None:
        """Sum of capacities, height and hash of the block; None without cells."""
        return searches.find_capacity(self._connection, search, self._terms)

    def spender(self, tx_hash: bytes, index: int) -> bytes | None:
        """The hash of the transaction that spends an output; None when the tables do not have it."""
        return searches.find_spender(self._connection, tx_hash, index)


def _check_cells(count: int) -> None:
    if count * ROW_BYTES > MOST_BYTES:
        raise AnswerTooLargeError
