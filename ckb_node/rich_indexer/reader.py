"""Pages of one search, bounded in bytes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from ckb_node.indexer.query import QueryError, Search, Terms
from ckb_node.rich_indexer import search as searches
from ckb_node.rich_indexer.search import RichCell, RichTx

MOST_BYTES: Final = 64 << 20
"""Of data and arguments in one answer; a larger one is refused."""
ROW_BYTES: Final = 512
"""What a row counts besides."""


class AnswerTooLargeError(QueryError):
    """More than one answer may hold."""

    def __init__(self) -> None:
        super().__init__("the answer is too large; ask with a smaller limit or without data")


class TablesReader:
    """See ckb_node.rpc.services.RichReader."""

    def __init__(self, connection: Connection, terms: Terms) -> None:
        self._connection: Final = connection
        self._terms: Final = terms

    def cells(
        self, search: Search, limit: int, after: bytes | None, *, is_descending: bool, with_data: bool
    ) -> tuple[list[RichCell], bytes]:
        """Up to `limit` live cells, and the cursor of the last."""
        found, size = [], 0
        for cell in searches.find_cells(
            self._connection,
            search,
            self._terms,
            after=after,
            is_descending=is_descending,
            with_data=with_data,
            limit=limit,
        ):
            size += ROW_BYTES + len(cell.data) + len(cell.lock) + len(cell.type_ or b"")
            if size > MOST_BYTES:
                raise AnswerTooLargeError
            found.append(cell)
        return found, searches.cell_cursor(found[-1].id) if found else b""

    def transactions(
        self, search: Search, limit: int, after: bytes | None, *, is_descending: bool
    ) -> tuple[list[RichTx], bytes]:
        """Up to `limit` inputs and outputs, and the cursor of the last."""
        searches.check_tx_cursor(after)
        rows: list[RichTx] = []
        for row in searches.find_transactions(
            self._connection, search, after=after, is_descending=is_descending, limit=limit
        ):
            rows.append(row)
            _check_rows(len(rows))
        return rows, searches.next_tx_cursor(rows, after)

    def grouped(
        self, search: Search, limit: int, after: bytes | None, *, is_descending: bool
    ) -> tuple[list[list[RichTx]], bytes]:
        """Up to `limit` transactions with their inputs and outputs, and the cursor of the last."""
        groups, rows = [], 0
        for group in searches.find_grouped(self._connection, search, after=after, is_descending=is_descending):
            groups.append(group)
            rows += len(group)
            _check_rows(rows)
            if len(groups) == limit:
                break
        return groups, searches.cell_cursor(groups[-1][0].tx_id if groups else 0)

    def capacity(self, search: Search) -> tuple[int, int, bytes] | None:
        """Sum of capacities, height and hash of the block; None without cells."""
        return searches.find_capacity(self._connection, search, self._terms)

    def spender(self, tx_hash: bytes, index: int) -> bytes | None:
        """The hash of the transaction that spends an output; None when the tables do not have it."""
        return searches.find_spender(self._connection, tx_hash, index)


def _check_rows(count: int) -> None:
    if count * ROW_BYTES > MOST_BYTES:
        raise AnswerTooLargeError
