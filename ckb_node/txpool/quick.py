"""What the pool need not find out again for each transaction, and the rules of usual transactions without objects for
every part.

Nothing here refuses anything: what is not as usual goes the plain way, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Final, NamedTuple

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.txpool.graph import PoolGraph
from ckb_node.txpool.limits import MAX_SHARED, MAX_SHARED_BYTES, MAX_SHARED_CELLS
from consensus.codec.layout import SHORT_ID_SIZE, U64_MAX
from consensus.codec.tx_layout import TxLayout
from consensus.context import CellProvider, ChainReader
from consensus.errors import CkbError, MoleculeError
from consensus.fast.block import is_sound
from consensus.fast.large import is_sound_large
from consensus.params import Consensus
from consensus.rules.dao import CapacityMoves, dao_type_code
from consensus.rules.resolve import ResolvedDeps, resolve_cell_deps
from consensus.rules.transaction import is_mature
from consensus.types.blockchain import TX_LAYOUTS, Transaction
from consensus.types.core import CellMeta, EpochFraction, ResolvedTransaction
from consensus.types.tx_slice import TxSlice

MAX_BYTES: Final = 16 << 10
"""Larger transactions are few, and rarely like another."""


def sound_slice(transaction: Transaction) -> TxSlice | None:
    """Its parts, when it keeps the rules that need nothing but itself and is no cellbase. Its hashes are known then."""
    raw = transaction.raw
    if len(raw) > MAX_BYTES:
        return None
    try:
        layout = TX_LAYOUTS.check(raw, 0, len(raw))
    except MoleculeError:
        return None
    if layout is None:
        return None
    tx_slice = TxSlice(raw, 0, len(raw), layout)
    transaction.__dict__.update(hash=tx_slice.hash, witness_hash=tx_slice.witness_hash)
    return tx_slice if is_sound(tx_slice) else None


def is_sound_alone(transaction: Transaction) -> bool:
    """It keeps the rules that need nothing but itself, whatever its size. False also of what the plain rules have to
    decide."""
    is_small = transaction.raw_size <= MAX_BYTES
    return sound_slice(transaction) is not None if is_small else is_sound_large(transaction)


class _Shared(NamedTuple):
    deps: ResolvedDeps
    out_points: Sequence[bytes]
    size: int
    are_mature: bool


class SharedDeps:
    """Deps of one state of the chain by their bytes. Those that the pool's transactions create are not kept."""

    def __init__(self, is_mature: Callable[[CellMeta], bool]) -> None:
        self._is_mature: Final = is_mature
        self._known: Final[BoundedMap[bytes, _Shared]] = BoundedMap(
            max_count=MAX_SHARED, max_bytes=MAX_SHARED_BYTES, size_of=attrgetter("size")
        )

    def mature(self, packed: bytes, spent: Container[bytes]) -> ResolvedDeps | None:
        """Those that are known, if all are live and old enough. `packed`: the CellDeps end to end."""
        found = self._known.use(packed)
        if found is None or not found.are_mature or any(out_point in spent for out_point in found.out_points):
            return None
        return found.deps

    def knows(self, packed: bytes) -> bool:
        """They were resolved, whatever came of it."""
        return packed in self._known

    def resolve(self, transaction: Transaction, cells: CellProvider, spent: Container[bytes]) -> ResolvedDeps:
        """As `resolve_cell_deps`."""
        key = b"".join(dep.raw for dep in transaction.body.cell_deps)
        found = self._known.use(key)
        if found is not None and not any(out_point in spent for out_point in found.out_points):
            return found.deps
        deps = resolve_cell_deps(transaction, cells, spent)
        used = (*deps[0], *deps[1])
        if found is None and len(used) <= MAX_SHARED_CELLS and all(cell.info is not None for cell in used):
            size = sum(cell.data_size for cell in used)
            are_mature = all(map(self._is_mature, deps[0]))
            self._known.put(key, _Shared(deps, [cell.out_point for cell in used], size, are_mature))
        return deps


class Usual(NamedTuple):
    """A transaction that keeps all rules but those of scripts, at this state of the chain. `fee` in shannons."""

    rtx: ResolvedTransaction
    fee: int


class UsualRules:
    """The rules of usual transactions at one state of the chain.

    Usual: they spend live cells of the chain only, none of a cellbase or of NervosDAO, wait for no time, and name no
    headers; their deps are known. `deps` of the same state."""

    def __init__(self, consensus: Consensus, reader: ChainReader, epoch: EpochFraction) -> None:
        """`epoch`: that by which maturity is judged."""
        maturity = consensus.cellbase_maturity_epochs
        self.deps: Final = SharedDeps(lambda cell: is_mature(cell, epoch, maturity))
        self._reader: Final = reader
        self._dao_code: Final = dao_type_code(consensus)

    def judge(self, transaction: Transaction, graph: PoolGraph) -> Usual | None:
        """None when the plain rules have to decide. As `resolve_transaction`, `verify_transaction_contextual`,
        `transaction_fee` and `after_scripts`, for a transaction that is not in the pool."""
        tx_slice = sound_slice(transaction)
        if tx_slice is None or tx_slice.hash[:SHORT_ID_SIZE] in graph:
            return None
        layout = tx_slice.layout
        if layout.header_deps or any(tx_slice.sinces):
            return None
        deps = self.deps.mature(tx_slice.packed_cell_deps, graph.spenders)
        cells = None if deps is None else self._inputs(tx_slice.consumed, graph)
        if deps is None or cells is None:
            return None
        capacities: tuple[int, ...] = layout.capacities.unpack_from(tx_slice.raw)
        total, outputs = sum(cell.capacity for cell in cells), sum(capacities)
        if not outputs <= total <= U64_MAX:
            return None
        for occupied, capacity in zip(layout.occupied, capacities, strict=True):
            if occupied > capacity:
                return None
        return Usual(ResolvedTransaction(transaction, cells, *deps), total - outputs)

    def _inputs(self, consumed: Sequence[bytes], graph: PoolGraph) -> list[CellMeta] | None:
        """The cells, if all are usual."""
        if any(out_point in graph.spenders or out_point[:SHORT_ID_SIZE] in graph for out_point in consumed):
            return None
        return self._cells(consumed)

    def _cells(self, out_points: Sequence[bytes]) -> list[CellMeta] | None:
        """Those of the chain, if all are usual and none is named twice."""
        if len(out_points) > 1 and len(set(out_points)) != len(out_points):
            return None
        cells = []
        for out_point in out_points:
            cell = self._reader.cell(out_point)
            if cell is None or cell.is_of_cellbase or (cell.has_type and cell.type_code == self._dao_code):
                return None
            cells.append(cell)
        return cells

    def moves(self, raw: bytes, spent: AbstractSet[bytes]) -> CapacityMoves | None:
        """What a transaction that the pool has does to capacity, if the next block may hold it behind transactions that
        spent these cells. None when the plain rules have to decide. As `resolve_transaction`, `verify_time_relative`
        and `capacity_moves`."""
        layout = TX_LAYOUTS.known(raw, 0, len(raw))
        if layout is None or layout.header_deps:
            return None
        since_and_points = layout.inputs.unpack_from(raw, layout.inputs_at)
        consumed = since_and_points[1::2]
        if any(since_and_points[0::2]) or not spent.isdisjoint(consumed) or not self._has_deps(raw, layout, spent):
            return None
        cells = self._cells(consumed)
        if cells is None:
            return None
        total, freed = sum(cell.capacity for cell in cells), sum(cell.occupied_capacity() for cell in cells)
        return CapacityMoves(layout.occupied_in_all, freed, total, total)

    def _has_deps(self, raw: bytes, layout: TxLayout, spent: AbstractSet[bytes]) -> bool:
        """All are on the chain, live and old enough."""
        packed = raw[slice(*layout.cell_deps)]
        if self.deps.mature(packed, spent) is not None:
            return True
        if self.deps.knows(packed):
            return False
        try:
            self.deps.resolve(Transaction.trusted(raw), self._reader, spent)
        except CkbError:
            return False
        return self.deps.mature(packed, spent) is not None
