"""What the rich indexer's tables hold."""

from __future__ import annotations

from typing import Any

from ckb_node.rich_indexer.database import Database
from ckb_node.rich_indexer.schema import METADATA


def all_rows(database: Database) -> dict[str, list[Any]]:
    """The rows of each table, by their keys."""
    with database.reading(60) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select().order_by(*table.primary_key))]
            for table in METADATA.sorted_tables
        }
