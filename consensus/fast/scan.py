"""One pass over a block's transactions: their cells, fees, and how capacity moves; see consensus/fast/block.py.

The ordinary rules of a block's transactions (consensus/rules/resolve.py, verify_transaction.py, dao.py) are decided
over flat lists. A transaction that spends a cell of the genesis cellbase is resolved here too, and then judged by the
plain rules of its context.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from consensus.codec.layout import OUT_POINT_SIZE, U64_MAX
from consensus.context import ChainReader
from consensus.crypto.hashing import data_hash
from consensus.params import Consensus
from consensus.rules.dao import (
    CapacityMoves,
    dao_type_code,
    freed_capacity,
    is_withdrawing,
    maximum_withdraw_of_input,
)
from consensus.rules.hardfork import chain_root_is_required
from consensus.rules.outputs import outputs_capacity
from consensus.rules.resolve import MAX_DEP_EXPANSION, dep_group_members
from consensus.rules.since import require_sinces_passed
from consensus.rules.transaction import is_mature, require_same_lock_size
from consensus.rules.verify_block import HeadersWith
from consensus.rules.verify_transaction import verify_block_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    SHANNONS_PER_BYTE,
    Block,
    CellDep,
    CellOutput,
    Header,
    Transaction,
)
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo, epoch_number
from consensus.types.tx_slice import TxSlice

_SMALL_GROUP = 1024
"""Bytes of a dep group's data."""
_MAX_GROUPS = 64

Found = tuple[Sequence[CellMeta], Sequence[CellMeta], Sequence[CellMeta]]
"""Inputs, cell deps, dep groups of one transaction."""


class NotOrdinary(Exception):  # noqa: N818 - leaves the fast path, never seen outside
    """The plain rules must verify the whole block."""


class _Deps(NamedTuple):
    """What equal cell deps resolve to. `points` are all out points that must not be spent before."""

    cell_deps: list[CellMeta]
    dep_groups: list[CellMeta]
    points: frozenset[bytes]


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
        self._added += sum(cellbase.layout.occupied_bytes) * SHANNONS_PER_BYTE
        self.found.append(((), (), ()))

    def visit(self, position: int) -> None:
        """Verify the transaction at `position` and record it. CkbError or NotOrdinary: the plain rules must decide."""
        transaction, spent = self._block.tx_slices[position], self._spent
        layout, consumed = transaction.layout, transaction.consumed
        deps = self._deps_of(transaction, position)
        if not spent.isdisjoint(deps.points):
            raise NotOrdinary
        if layout.header_deps and not all(map(self._reader.is_main, transaction.header_deps)):
            raise NotOrdinary
        cells, total, freed = [], 0, 0
        for out_point in consumed:
            if out_point in spent:
                raise NotOrdinary
            cell = self._cell(out_point, position)
            cells.append(cell)
            total += cell.capacity
            freed += cell.occupied_capacity()
        if len(consumed) > 1 and len(set(consumed)) != len(consumed):
            raise NotOrdinary
        self.found.append((cells, deps.cell_deps, deps.dep_groups))
        if any(cell.is_of_cellbase for cell in cells) and not self._are_usual(cells):
            self._judge_by_plain_rules(position)
        else:
            self._judge(transaction, cells, total)
            self._freed += freed
        spent.update(consumed)
        self._added += sum(layout.occupied_bytes) * SHANNONS_PER_BYTE
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
            deps = self._find_deps(transaction, position)
            if self._positions.keys().isdisjoint(point[:32] for point in deps.points):
                self._deps[packed] = deps
        return deps

    def _find_deps(self, transaction: TxSlice, position: int) -> _Deps:
        """As `consensus.rules.resolve.resolve_cell_deps`, with the maturity of the cells."""
        packed = transaction.packed_cell_deps
        points: list[bytes] = []
        dep_groups: list[CellMeta] = []
        for index, dep_type in enumerate(transaction.layout.dep_types):
            at = index * CellDep.SIZE
            point = packed[at : at + OUT_POINT_SIZE]
            if dep_type != DEP_TYPE_DEP_GROUP:
                points.append(point)
                continue
            group = self._cell(point, position)
            dep_groups.append(group)
            points += _members_of(group)
            if len(points) > MAX_DEP_EXPANSION:
                raise NotOrdinary
        if len(points) > MAX_DEP_EXPANSION:
            raise NotOrdinary
        cell_deps = [self._cell(point, position) for point in points]
        maturity = self._consensus.cellbase_maturity_epochs
        if not all(is_mature(cell, self.env.epoch, maturity) for cell in cell_deps):
            raise NotOrdinary
        return _Deps(cell_deps, dep_groups, frozenset((*points, *(group.out_point for group in dep_groups))))

    # ------------------------------------------------------------ judging

    def _are_usual(self, cells: Sequence[CellMeta]) -> bool:
        """None is of the genesis cellbase. NotOrdinary if one is immature."""
        maturity = self._consensus.cellbase_maturity_epochs
        if not all(is_mature(cell, self.env.epoch, maturity) for cell in cells):
            raise NotOrdinary
        return not any(cell.is_of_cellbase and cell.info is not None and cell.info.is_genesis for cell in cells)

    def _judge(self, transaction: TxSlice, cells: Sequence[CellMeta], total: int) -> None:
        """As `verify_block_transaction`, for mature cells of `total` shannons."""
        layout, sinces = transaction.layout, transaction.sinces
        if any(sinces):
            require_sinces_passed(self._consensus, sinces, cells, self.env, self._headers)
        capacities: tuple[int, ...] = layout.capacities.unpack_from(transaction.raw)
        outputs = sum(capacities)
        worth = total + self._interest(transaction, cells)
        if not outputs <= worth <= U64_MAX:
            raise NotOrdinary
        for size, capacity in zip(layout.occupied_bytes, capacities, strict=True):
            if size * SHANNONS_PER_BYTE > capacity:
                raise NotOrdinary
        self._worth += worth
        self.fees.append(worth - outputs)

    def _interest(self, transaction: TxSlice, cells: Sequence[CellMeta]) -> int:
        """Shannons by which inputs are worth more than their capacity, with the rule for the locks of NervosDAO."""
        interest = 0
        for index, cell in enumerate(cells):
            if not cell.has_type or cell.type_code != self._dao_code:
                continue
            if is_withdrawing(self._consensus, cell):
                header_deps, witnesses = transaction.header_deps, transaction.witnesses
                worth = maximum_withdraw_of_input(index, cell, header_deps, witnesses, self._headers)
                interest += worth - cell.capacity
            elif self._dao_locks_count and index < len(transaction.layout.outputs):
                require_same_lock_size(self._consensus, index, cell, _output_of(transaction, index))
        return interest

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


def _members_of(group: CellMeta) -> Sequence[bytes]:
    """`dep_group_members`, cached for small groups, which most transactions share. Raises InvalidDepGroupError."""
    if group.data_size > _SMALL_GROUP:
        return dep_group_members(group)
    members = _MEMBERS.get(group.data)
    if members is None:
        if len(_MEMBERS) >= _MAX_GROUPS:
            _MEMBERS.clear()
        members = _MEMBERS[group.data] = dep_group_members(group)
    return members


_MEMBERS: dict[bytes, Sequence[bytes]] = {}
