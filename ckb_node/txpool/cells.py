"""Cells as a transaction of the pool sees them: outputs of pool transactions on top of the chain's live cells."""

from __future__ import annotations

from functools import partial

from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.graph import PoolGraph
from consensus.codec.block_layout import created_cell
from consensus.codec.layout import U32
from consensus.context import CellProvider
from consensus.crypto.hashing import HASH_SIZE, data_hash
from consensus.types.blockchain import CellOutput
from consensus.types.core import CellMeta


class PoolCells:
    """Cells that waiting transactions create, then those of the chain. Whether they are spent is not checked here."""

    def __init__(self, graph: PoolGraph, chain: CellProvider) -> None:
        self._graph, self._chain = graph, chain

    def cell(self, out_point: bytes) -> CellMeta | None:
        entry = self._graph.by_hash(out_point[:HASH_SIZE])
        return self._chain.cell(out_point) if entry is None else _created(entry, out_point)


def _created(entry: PoolEntry, out_point: bytes) -> CellMeta | None:
    """Found without a look at the entry's other outputs: a child may spend thousands of them."""
    index: int = U32.unpack_from(out_point, HASH_SIZE)[0]
    if index >= entry.output_count:
        return None
    raw = entry.raw
    (output_start, output_end), (start, end) = created_cell(raw, index)
    data = raw[start:end]
    return CellMeta(
        out_point=out_point,
        output=CellOutput.trusted(raw[output_start:output_end]),
        data_size=len(data),
        data_hash=data_hash(data),
        info=None,
        load_data=partial(bytes, data),
    )
