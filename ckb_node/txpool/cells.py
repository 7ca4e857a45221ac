"""Cells as a transaction of the pool sees them: outputs of pool transactions on top of the chain's live cells."""

from __future__ import annotations

from ckb_node.txpool.graph import PoolGraph
from consensus.context import CellProvider
from consensus.rules.resolve import cell_of_output
from consensus.types.core import CellMeta


class PoolCells:
    """Cells that waiting transactions create, then those of the chain. Whether they are spent is not checked here."""

    def __init__(self, graph: PoolGraph, chain: CellProvider) -> None:
        self._graph, self._chain = graph, chain

    def cell(self, out_point: bytes) -> CellMeta | None:
        entry = self._graph.by_hash(out_point[:32])
        if entry is None:
            return self._chain.cell(out_point)
        return cell_of_output(entry.tx, out_point, None)
