"""One pass over a block's transactions: their cells, fees, and how capacity moves; see consensus/fast/block.py.

The ordinary rules of a block's transactions (consensus/rules/resolve.py, verify_transaction.py, dao.py) are decided
over flat lists. A transaction that spends a cell of the genesis cellbase is resolved here too, and then judged by the
plain rules of its context.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import gt
from typing import NamedTuple

from consensus.codec.layout import OUT_POINT_SIZE, U64_MAX
from consensus.context import ChainReader
from consensus.crypto.hashing import data_hash
from consensus.fast.chain import ancestors_of
from consensus.fast.dao import fast_maximum_withdraw, keeps_lock_size
from consensus.fast.since import since_has_passed, time_has_passed
from consensus.params import Consensus
from consensus.rules.dao import (
    DAO_DATA_SIZE,
    CapacityMoves,
    dao_type_code,
    freed_capacity,
    maximum_withdraw_of_input,
)
from consensus.rules.hardfork import chain_root_is_required, since_counts_from_block_timestamp
from consensus.rules.outputs import outputs_capacity
from consensus.rules.resolve import MAX_DEP_EXPANSION, dep_group_members
from consensus.rules.since import require_sinces_passed
from consensus.rules.transaction import is_mature
from consensus.rules.verify_block import HeadersWith
from consensus.rules.verify_transaction import verify_block_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    Block,
    CellDep,
    CellOutput,
    Header,
    Transaction,
)
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo, epoch_number
from consensus.types.tx_slice import TxSlice

_FEW_POINTS = 64
_MAX_NAMED = 256

Found = tuple[Sequence[CellMeta], Sequence[CellMeta], Sequence[CellMeta]]
"""Inputs, cell deps, dep groups of one transaction."""


class NotOrdinary(Exception):  # noqa: N818 - leaves the fast path, never seen outside
    """The plain rules must verify the whole block."""


class _Deps(NamedTuple):
    """What equal cell deps resolve to. `points` are all out points that must not be spent before."""

    cell_deps: list[CellMeta]
    dep_groups: list[CellMeta]
    points: frozenset[bytes]


class _Named(NamedTuple):
    """Out points that cell deps name, those that their dep groups list included: the groups' hashes fix the lists."""

    cells: Sequence[bytes]
    groups: Sequence[bytes]
    points: frozenset[bytes]
    transactions: frozenset[bytes]
    """Their hashes."""


class BlockScan:
    """The state of the pass. Transactions are visited in order, the cellbase first."""

    def __init__(self, consensus: Consensus, block: Block, reader: ChainReader, parent: Header) -> None:
        self.env = TxEnv.committed(block.header)
        self.found: list[Found] = []
        self.fees: list[int] = []
        self._consensus, self._block, self._reader, self._parent = consensus, block, reader, parent
        self._headers = HeadersWith(block.header, reader)
        self._dao_code = dao_type_code(consensus)
        self._dao_locks_count = chain_root_is_required(consensus, epoch_number(parent.epoch))
        self._added = self._freed = self._worth = self._capacity = 0
        self._spent: set[bytes] = set()
        self._positions = {transaction.hash: at for at, transaction in enumerate(block.tx_slices)}
        self._deps: dict[bytes, _Deps] = {}
        """Of those that are the same for all transactions of the block."""

    def moves(self) -> CapacityMoves:
        """How all transactions visited so far move capacity."""
        return CapacityMoves(self._added, self._freed, self._worth, self._capacity)

    def visit_cellbase(self, cellbase: TxSlice) -> None:
        """Record the cellbase, which spends nothing and has no deps."""
        self._added += cellbase.layout.occupied_in_all
        self.found.append(((), (), ()))

    def visit(self, position: int) -> None:
        """Verify the transaction at `position` and record it. CkbError or NotOrdinary: the plain rules must decide."""
        transaction, spent = self._block.tx_slices[position], self._spent
        positions, cell_of, dao_code = self._positions, self._reader.cell, self._dao_code
        layout, consumed = transaction.layout, transaction.consumed
        deps = self._deps_of(transaction, position)
        if not spent.isdisjoint(deps.points):
            raise NotOrdinary
        if layout.header_deps and not all(map(self._reader.is_main, transaction.header_deps)):
            raise NotOrdinary
        cells, total, freed = [], 0, 0
        is_of_cellbase = is_saved = False
        for out_point in consumed:
            if out_point in spent:
                raise NotOrdinary
            cell = self._cell(out_point, position) if out_point[:32] in positions else cell_of(out_point)
            if cell is None:
                raise NotOrdinary
            cells.append(cell)
            total += cell.capacity
            freed += cell.occupied_capacity()
            is_of_cellbase |= cell.is_of_cellbase
            if cell.has_type and cell.type_code == dao_code:
                is_saved = True
        if len(consumed) > 1 and len(set(consumed)) != len(consumed):
            raise NotOrdinary
        self.found.append((cells, deps.cell_deps, deps.dep_groups))
        if is_of_cellbase and not self._are_usual(cells):
            self._judge_by_plain_rules(position)
        else:
            interest = self._interest(transaction, cells) if is_saved else 0
            self._judge(transaction, cells, total + interest)
            self._freed += freed
        spent.update(consumed)
        self._added += layout.occupied_in_all
        self._capacity += total

    # ------------------------------------------------------------ resolving

    def _cell(self, out_point: bytes, position: int) -> CellMeta:
        """As `consensus.rules.resolve.BlockCells`, with the order of transactions; NotOrdinary if there is no cell."""
        creator = self._positions.get(out_point[:32])
        if creator is None:
            cell = self._reader.cell(out_point)
        elif creator < position:
            cell = self._created_cell(out_point, creator)
        else:
            raise NotOrdinary
        if cell is None:
            raise NotOrdinary
        return cell

    def _created_cell(self, out_point: bytes, creator: int) -> CellMeta | None:
        """As `consensus.rules.resolve.cell_of_output`, for an output of this block."""
        transaction, index = self._block.tx_slices[creator], int.from_bytes(out_point[32:], "little")
        layout = transaction.layout
        if index >= len(layout.outputs):
            return None
        start, end = layout.data[index]
        data = transaction.raw[start:end]
        header = self._block.header
        return CellMeta(
            out_point=out_point,
            output=_output_of(transaction, index),
            data_size=len(data),
            data_hash=data_hash(data),
            info=TransactionInfo(header.hash, header.number, header.epoch, creator),
            load_data=partial(bytes, data),
        )

    def _deps_of(self, transaction: TxSlice, position: int) -> _Deps:
        """The resolved cell deps; NotOrdinary when they are missing, immature or too many."""
        packed = transaction.packed_cell_deps
        deps = self._deps.get(packed)
        if deps is None:
            deps = self._find_deps(packed, transaction, position)
        return deps

    def _find_deps(self, packed: bytes, transaction: TxSlice, position: int) -> _Deps:
        """As `consensus.rules.resolve.resolve_cell_deps`, with the maturity of the cells."""
        named = _NAMED.get(packed) or self._name(transaction, position)
        are_older = self._positions.keys().isdisjoint(named.transactions)
        cell_of = self._reader.cell if are_older else partial(self._cell, position=position)
        cell_deps = [cell for cell in map(cell_of, named.cells) if cell is not None]
        dep_groups = [cell for cell in map(cell_of, named.groups) if cell is not None]
        if len(cell_deps) != len(named.cells) or len(dep_groups) != len(named.groups):
            raise NotOrdinary
        for cell in cell_deps:
            if cell.is_of_cellbase and not is_mature(cell, self.env.epoch, self._consensus.cellbase_maturity_epochs):
                raise NotOrdinary
        deps = _Deps(cell_deps, dep_groups, named.points)
        if are_older:
            self._deps[packed] = deps
        return deps

    def _name(self, transaction: TxSlice, position: int) -> _Named:
        """What the cell deps name; kept if it is little."""
        packed, points, groups = transaction.packed_cell_deps, list[bytes](), list[bytes]()
        for index, dep_type in enumerate(transaction.layout.dep_types):
            at = index * CellDep.SIZE
            point = packed[at : at + OUT_POINT_SIZE]
            if dep_type == DEP_TYPE_DEP_GROUP:
                groups.append(point)
                points += dep_group_members(self._cell(point, position))
            else:
                points.append(point)
            if len(points) > MAX_DEP_EXPANSION:
                raise NotOrdinary
        every = frozenset((*points, *groups))
        named = _Named(points, groups, every, frozenset(point[:32] for point in every))
        if len(points) + len(groups) <= _FEW_POINTS:
            if len(_NAMED) >= _MAX_NAMED:
                _NAMED.clear()
            _NAMED[packed] = named
        return named

    # ------------------------------------------------------------ judging

    def _are_usual(self, cells: Sequence[CellMeta]) -> bool:
        """None is of the genesis cellbase. NotOrdinary if one is immature."""
        maturity = self._consensus.cellbase_maturity_epochs
        if not all(is_mature(cell, self.env.epoch, maturity) for cell in cells):
            raise NotOrdinary
        return not any(cell.is_of_cellbase and cell.info is not None and cell.info.is_genesis for cell in cells)

    def _judge(self, transaction: TxSlice, cells: Sequence[CellMeta], worth: int) -> None:
        """As `verify_block_transaction`, for mature cells that are worth so many shannons."""
        layout, sinces = transaction.layout, transaction.sinces
        if any(sinces):
            self._judge_sinces(sinces, cells)
        capacities: tuple[int, ...] = layout.capacities.unpack_from(transaction.raw)
        outputs = sum(capacities)
        if not outputs <= worth <= U64_MAX:
            raise NotOrdinary
        if len(layout.occupied) != len(capacities) or any(map(gt, layout.occupied, capacities)):
            raise NotOrdinary
        self._worth += worth
        self.fees.append(worth - outputs)

    def _judge_sinces(self, sinces: Sequence[int], cells: Sequence[CellMeta]) -> None:
        """As `require_sinces_passed`."""
        for since, cell in zip(sinces, cells, strict=True):
            if since and not since_has_passed(since, cell, self.env) and not self._time_has_passed(since, cell):
                require_sinces_passed(self._consensus, (since,), (cell,), self.env, self._headers)

    def _time_has_passed(self, since: int, cell: CellMeta) -> bool:
        consensus = self._consensus
        return since_counts_from_block_timestamp(
            consensus, self.env.epoch_number(consensus.proposal_window)
        ) and time_has_passed(since, cell, ancestors_of(consensus, self._parent, self._reader).median_ms, self._headers)

    def _interest(self, transaction: TxSlice, cells: Sequence[CellMeta]) -> int:
        """Shannons by which inputs are worth more than their capacity, with the rule for the locks of NervosDAO."""
        interest, outputs = 0, len(transaction.layout.outputs)
        for index, cell in enumerate(cells):
            if not cell.has_type or cell.type_code != self._dao_code:
                continue
            if cell.data_size == DAO_DATA_SIZE and any(cell.data):  # as `is_withdrawing`
                interest += self._worth_of(index, cell, transaction) - cell.capacity
            elif (
                self._dao_locks_count
                and index < outputs
                and not keeps_lock_size(self._consensus, self._dao_code, cell, transaction, index)
            ):
                raise NotOrdinary
        return interest

    def _worth_of(self, index: int, cell: CellMeta, transaction: TxSlice) -> int:
        """What a withdrawing cell is worth."""
        worth = fast_maximum_withdraw(index, cell, transaction, self._headers)
        if worth is not None:
            return worth
        return maximum_withdraw_of_input(index, cell, transaction.header_deps, transaction.witnesses, self._headers)

    def _judge_by_plain_rules(self, position: int) -> None:
        """By `verify_block_transaction`, for the cells that were found last."""
        rtx = ResolvedTransaction(transaction_view(self._block, position), *self.found[-1])
        fee = verify_block_transaction(self._consensus, rtx, self.env, self._headers, self._parent)
        self._freed += freed_capacity(self._consensus, rtx)
        self._worth += fee + outputs_capacity(rtx.transaction)
        self.fees.append(fee)


def transaction_view(block: Block, position: int) -> Transaction:
    """A transaction of the block, with the hashes that its slice has."""
    transaction, tx_slice = block.transactions[position], block.tx_slices[position]
    transaction.__dict__.update(hash=tx_slice.hash, witness_hash=tx_slice.witness_hash)
    return transaction


def _output_of(transaction: TxSlice, index: int) -> CellOutput:
    return CellOutput.view(transaction.raw, *transaction.layout.outputs[index])


_NAMED: dict[bytes, _Named] = {}
"""By the bytes of cell deps."""
