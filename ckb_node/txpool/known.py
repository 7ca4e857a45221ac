"""Cells that a large transaction names, looked up beside the event loop."""

from __future__ import annotations

from typing import Final

from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.rules.resolve import MAX_DEP_EXPANSION, dep_group_members
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, Transaction
from consensus.types.core import CellMeta

CHECKED_AT_ONCE: Final = 16 << 10
"""Transactions of more bytes are looked up beside the loop before the pool checks them."""


class KnownCells:
    """The chain's live cells of one state; those that the transaction names are at hand."""

    def __init__(self, reader: ChainReader, transaction: Transaction) -> None:
        """Takes long; for a thread."""
        self.reader: Final = reader
        self._cells: dict[bytes, CellMeta | None] = {}
        for out_point in transaction.consumed:
            self._look_up(out_point)
        expanded = 0
        for dep in transaction.body.cell_deps:
            cell = self._look_up(dep.out_point.raw)
            is_group = dep.dep_type == DEP_TYPE_DEP_GROUP
            expanded += self._look_up_members(cell) if is_group and cell is not None else 1
            if expanded > MAX_DEP_EXPANSION:  # the pool will refuse it
                return

    def _look_up(self, out_point: bytes) -> CellMeta | None:
        if out_point not in self._cells:
            self._cells[out_point] = self.reader.cell(out_point)
        return self._cells[out_point]

    def _look_up_members(self, group: CellMeta) -> int:
        """How many the group has; the pool will say what is wrong with one that has none."""
        try:
            members = dep_group_members(group)
        except CkbError:
            return 0
        for member in members[:MAX_DEP_EXPANSION]:
            self._look_up(member)
        return len(members)

    def cell(self, out_point: bytes) -> CellMeta | None:
        """As ChainReader."""
        if out_point in self._cells:
            return self._cells[out_point]
        return self.reader.cell(out_point)
