"""What transactions of templates do to capacity, kept from one template to the next.

A transaction whose cells are all on the chain, and that waits for no time, stays as it was found while the chain only
grows and the pool keeps it: the pool drops what spends or reads a cell that a block has spent.
"""

from __future__ import annotations

from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from consensus.context import ChainReader
from consensus.rules.dao import CapacityMoves
from consensus.types.core import ResolvedTransaction

MAX_SETTLED: Final = 20_000


class SettledMoves:
    """By the bytes of transactions, since witnesses tell what a withdrawal is worth. Of one state of the chain and
    those that follow it. One thread at a time."""

    def __init__(self) -> None:
        self._moves: Final[BoundedMap[bytes, CapacityMoves]] = BoundedMap(max_count=MAX_SETTLED)
        """Few bytes besides those that the pool has: blocks hold fewer."""
        self._tip = b""

    def move_to(self, reader: ChainReader) -> None:
        """Forget all unless the chain has only grown."""
        if not self._tip or not reader.is_main(self._tip):
            self._moves.clear()
        self._tip = reader.tip_header().hash

    def clear(self) -> None:
        self._moves.clear()

    def get(self, raw: bytes) -> CapacityMoves | None:
        return self._moves.use(raw)

    def note(self, rtx: ResolvedTransaction, moves: CapacityMoves, block_hash: bytes) -> None:
        """Keep what was found of a transaction, if it stays so. `block_hash` is that of the block being made."""
        cells = (*rtx.inputs, *rtx.cell_deps, *rtx.dep_groups)
        is_on_chain = all(cell.info is not None and cell.info.block_hash != block_hash for cell in cells)
        if is_on_chain and not any(each.since for each in rtx.transaction.body.inputs):
            self.put(rtx.transaction.raw, moves)

    def put(self, raw: bytes, moves: CapacityMoves) -> None:
        """Keep what stays so."""
        self._moves.put(raw, moves)
