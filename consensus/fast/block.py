"""The fast path through a block's rules: what ordinary transactions need, without an object for every part.

Nothing here refuses anything. Each function either finds by cheaper means that the plain rules would pass, or hands the
transaction or the whole block to the plain rules (consensus/rules/block.py, verify_block.py), which then say what is
wrong. So the rules are read there, and here only what makes a case ordinary; tests hold both against each other.

Ordinary is a transaction that spends cells of earlier blocks without since, header deps or NervosDAO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import NamedTuple, overload

from consensus.codec.layout import BLOCK_ENTRY_SIZE, SHORT_ID_SIZE, U64_MAX
from consensus.codec.tx_layout import TxLayout
from consensus.context import ChainReader
from consensus.crypto.hashing import ZERO_HASH, ckb_hash
from consensus.crypto.merkle import merkle_root
from consensus.errors import BlockError, CkbError, MoleculeError
from consensus.fast.chain import (
    ancestors_of,
    chain_root_matches,
    dao_field_matches,
    reward_matches,
)
from consensus.lookup import require
from consensus.params import TX_VERSION, Consensus
from consensus.rules.block import (
    FIELDS_WITHOUT_EXTENSION,
    is_cellbase_witness,
    verify_block_body,
    verify_extension_size,
)
from consensus.rules.dao import (
    CapacityMoves,
    added_capacity,
    freed_capacity,
    is_dao_script,
    transaction_maximum_withdraw,
)
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.hardfork import ENABLED_HASH_TYPES, is_hash_type
from consensus.rules.resolve import MAX_DEP_EXPANSION, BlockCells, dep_group_members, resolve_transaction
from consensus.rules.transaction import is_mature
from consensus.rules.two_phase import window_numbers
from consensus.rules.uncles import verify_uncles
from consensus.rules.verify_block import HeadersWith, NotOnTipError, PreparedBlock, prepare_block
from consensus.rules.verify_transaction import verify_block_transaction, verify_transaction_non_contextual
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    NULL_OUT_POINT,
    SHANNONS_PER_BYTE,
    Block,
    CellDep,
    Header,
    OutPoint,
    TxSlice,
)
from consensus.types.core import CellMeta, EpochExt, ResolvedTransaction

_NULL_POINT = NULL_OUT_POINT.raw
_SMALL_GROUP = 1024
"""Bytes of a dep group's data."""
_MAX_GROUPS = 64


def _decided_per_layout(rule: Callable[[TxLayout], bool]) -> Callable[[TxLayout], bool]:
    """Cache the verdict of a rule that reads the layout only."""

    @wraps(rule)
    def decided(layout: TxLayout) -> bool:
        verdict = layout.verdicts.get(rule)
        if verdict is None:
            verdict = layout.verdicts[rule] = rule(layout)
        return verdict

    return decided


class _NotOrdinary(Exception):  # noqa: N818 - leaves the fast path, never seen outside
    """The plain rules must verify the whole block."""


# ---------------------------------------------------------------- the body


def fast_verify_block_body(consensus: Consensus, block: Block) -> None:
    """`verify_block_body`, which decides if the block is not ordinary."""
    try:
        slices = block.tx_slices
    except MoleculeError:
        return verify_block_body(consensus, block)
    if not _has_ordinary_frame(consensus, block) or not _is_ordinary_cellbase(slices[0], block.number):
        return verify_block_body(consensus, block)
    if not _commits_to(block, slices) or any(_NULL_POINT in transaction.consumed for transaction in slices[1:]):
        return verify_block_body(consensus, block)
    passed: set[tuple[int, bytes]] = set()
    for index, transaction in enumerate(slices):
        start, end = transaction.layout.cell_deps
        key = id(transaction.layout), transaction.raw[start:end]
        if key in passed:
            continue
        if not _passes_non_contextual(consensus, transaction.layout):
            verify_transaction_non_contextual(consensus, block.transactions[index])
        if transaction.layout.header_deps <= 1 and index:  # only the cellbase may lack outputs
            passed.add(key)
    return None


def _has_ordinary_frame(consensus: Consensus, block: Block) -> bool:
    """Not genesis, no uncles, extension and size within limits, no duplicate proposals."""
    fields, proposals = len(block.bounds) - 1, len(block.proposal_bytes) // SHORT_ID_SIZE
    if block.number == 0 or block.has_uncles or fields > FIELDS_WITHOUT_EXTENSION + 1 or not block.tx_slices:
        return False
    if proposals > consensus.max_block_proposals or (proposals and len(set(block.own_proposal_ids)) != proposals):
        return False
    try:
        verify_extension_size(block)
    except BlockError:
        return False
    return block.raw_size <= consensus.max_block_bytes


def _commits_to(block: Block, slices: Sequence[TxSlice]) -> bool:
    """The header's roots are those of the body, and no transaction stands twice."""
    header, hashes = block.header, [transaction.hash for transaction in slices]
    proposals = block.proposal_bytes
    witness_root = merkle_root([transaction.witness_hash for transaction in slices])
    return (
        header.transactions_root == ckb_hash(merkle_root(hashes) + witness_root)
        and header.proposals_hash == (ckb_hash(proposals) if proposals else ZERO_HASH)
        and header.extra_hash == block.extra_hash()
        and len(set(hashes)) == len(hashes)
    )


def _is_ordinary_cellbase(cellbase: TxSlice, number: int) -> bool:
    """One null input with the number, one good witness, at most one output with neither data nor type; no deps."""
    layout = cellbase.layout
    if cellbase.since_and_points != (number, _NULL_POINT) or not _suits_a_cellbase(layout):
        return False
    start, end = layout.witnesses[0]
    return _names_a_miner(cellbase.raw[start:end])


@_decided_per_layout
def _suits_a_cellbase(layout: TxLayout) -> bool:
    """What `_is_ordinary_cellbase` asks of the structure."""
    return (
        len(layout.witnesses) == 1
        and len(layout.data) == len(layout.outputs) <= 1
        and all(start == end for start, end in layout.data)
        and not (layout.type_hash_types or layout.header_deps or layout.dep_types)
        and ENABLED_HASH_TYPES.issuperset(layout.lock_hash_types)
    )


@lru_cache(maxsize=64)
def _names_a_miner(witness: bytes) -> bool:
    return is_cellbase_witness(witness)


def _passes_non_contextual(consensus: Consensus, layout: TxLayout) -> bool:
    """All rules of `verify_transaction_non_contextual` hold, whatever stands between the structural bytes."""
    return layout.size + BLOCK_ENTRY_SIZE <= consensus.max_block_bytes and _has_sound_structure(layout)


@_decided_per_layout
def _has_sound_structure(layout: TxLayout) -> bool:
    return (
        layout.version == TX_VERSION
        and layout.input_count > 0
        and 0 < len(layout.outputs) == len(layout.data)
        and len(layout.dep_types) <= 1
        and layout.header_deps <= 1
        and all(dep_type <= DEP_TYPE_DEP_GROUP for dep_type in layout.dep_types)
        and ENABLED_HASH_TYPES.issuperset(layout.lock_hash_types)
        and all(map(is_hash_type, layout.type_hash_types))
    )


# ---------------------------------------------------------------- the context


def fast_prepare_block(consensus: Consensus, block: Block, reader: ChainReader) -> PreparedBlock:
    """`prepare_block`, which decides if the block is not ordinary or anything is wrong with it."""
    try:
        return _prepare(consensus, block, reader)
    except (_NotOrdinary, CkbError):
        return prepare_block(consensus, block, reader)


def _prepare(consensus: Consensus, block: Block, reader: ChainReader) -> PreparedBlock:
    parent, slices = reader.tip_header(), block.tx_slices
    if parent.hash != block.parent_hash:
        raise NotOnTipError(block.parent_hash, parent.hash)
    epoch = next_epoch_ext(consensus, parent, reader.tip_epoch(), reader)
    if not _is_of_epoch(block.header, epoch):
        verify_block_epoch(epoch, block.header)
    if block.has_uncles:
        verify_uncles(consensus, block, epoch, reader)
    _require_proposals(consensus, block, parent, reader)
    scan = _BlockScan(consensus, block, reader)
    scan.visit_cellbase(slices[0])
    for position in range(1, len(slices)):
        scan.visit(position)
    if not (
        dao_field_matches(consensus, block.header, parent, epoch, scan.moves())
        and reward_matches(consensus, block, parent, reader)
        and chain_root_matches(consensus, block, parent, reader)
    ):
        raise _NotOrdinary
    sizes = [transaction.layout.size + BLOCK_ENTRY_SIZE for transaction in slices[1:]]
    return PreparedBlock(_Resolved(block, scan.found), scan.fees, scan.env, epoch, sizes)


def _is_of_epoch(header: Header, epoch: EpochExt) -> bool:
    """`verify_block_epoch` holds: the packed field is that of the block's place in `epoch`, the target the epoch's."""
    return header.epoch == epoch.packed_field_at(header.number) and header.compact_target == epoch.compact_target


def _require_proposals(consensus: Consensus, block: Block, parent: Header, reader: ChainReader) -> None:
    """`verify_two_phase`, nearest blocks first: most transactions are committed as early as the window allows."""
    missing = set(block.committed_ids)
    if not missing:
        return
    ancestors = ancestors_of(consensus, parent, reader)
    for height in reversed(window_numbers(consensus.proposal_window, block.number)):
        block_hash = ancestors(parent.number - height)
        missing -= require(reader.proposal_ids(block_hash), "proposal ids", block_hash)
        if not missing:
            return
    raise _NotOrdinary


class _Deps(NamedTuple):
    """What equal cell deps resolve to. `points` are all out points that must not be spent before."""

    cell_deps: list[CellMeta]
    dep_groups: list[CellMeta]
    points: frozenset[bytes]


_Found = tuple[Sequence[CellMeta], Sequence[CellMeta], Sequence[CellMeta]]
"""Inputs, cell deps, dep groups of one transaction."""


class _BlockScan:
    """One pass over the transactions of a block in order: cells found, fees, and how capacity moves."""

    def __init__(self, consensus: Consensus, block: Block, reader: ChainReader) -> None:
        self.consensus, self.block, self.reader = consensus, block, reader
        self.env = TxEnv.committed(block.header)
        self.found: list[_Found] = []
        self.fees: list[int] = []
        self._added = self._freed = self._worth = self._capacity = 0
        self._spent: set[bytes] = set()
        self._in_block = {transaction.hash for transaction in block.tx_slices}
        self._deps: dict[bytes, _Deps | None] = {}
        self._block_cells: BlockCells | None = None

    def moves(self) -> CapacityMoves:
        """How all transactions visited so far move capacity."""
        return CapacityMoves(self._added, self._freed, self._worth, self._capacity)

    def visit_cellbase(self, cellbase: TxSlice) -> None:
        """Record the cellbase, which spends nothing. Raises _NotOrdinary if it has deps."""
        if not _is_ordinary_cellbase(cellbase, self.block.number):
            raise _NotOrdinary
        self._added += sum(cellbase.layout.occupied_bytes) * SHANNONS_PER_BYTE
        self.found.append(((), (), ()))

    def visit(self, position: int) -> None:
        """Verify the transaction at `position`, by the plain rules if it is not ordinary. Raises CkbError or
        _NotOrdinary."""
        transaction = self.block.tx_slices[position]
        if not self._visit_ordinary(transaction):
            self._visit_by_plain_rules(position)

    def _visit_ordinary(self, transaction: TxSlice) -> bool:
        """Record an ordinary transaction; False, with nothing changed, if it is not ordinary."""
        layout, spent, consumed = transaction.layout, self._spent, transaction.consumed
        if layout.header_deps or any(transaction.sinces):
            return False
        deps = self._deps_of(transaction)
        if deps is None or not spent.isdisjoint(deps.points):
            return False
        cells, total, freed = [], 0, 0
        for out_point in consumed:
            if out_point in spent or out_point[:32] in self._in_block:
                return False
            cell = self.reader.cell(out_point)
            if cell is None or not self._is_ordinary_cell(cell):
                return False
            cells.append(cell)
            total += cell.capacity
            freed += cell.occupied_capacity()
        capacities: tuple[int, ...] = layout.capacities.unpack_from(transaction.raw)
        outputs = sum(capacities)
        if not outputs <= total <= U64_MAX or (len(consumed) > 1 and len(set(consumed)) != len(consumed)):
            return False
        for size, capacity in zip(layout.occupied_bytes, capacities, strict=True):
            if size * SHANNONS_PER_BYTE > capacity:
                return False
        spent.update(consumed)
        self._added += sum(layout.occupied_bytes) * SHANNONS_PER_BYTE
        self._freed += freed
        self._worth += total
        self._capacity += total
        self.fees.append(total - outputs)
        self.found.append((cells, deps.cell_deps, deps.dep_groups))
        return True

    def _is_ordinary_cell(self, cell: CellMeta) -> bool:
        """Mature, not an output of the genesis cellbase, no NervosDAO type script."""
        info = cell.info
        if info is None:
            return False
        if info.tx_index == 0 and (
            info.is_genesis or not is_mature(cell, self.env.epoch, self.consensus.cellbase_maturity_epochs)
        ):
            return False
        return not cell.has_type or not is_dao_script(self.consensus, cell.output.type_)

    def _deps_of(self, transaction: TxSlice) -> _Deps | None:
        """The resolved cell deps; None when they are not ordinary: of this block, missing, immature, too many."""
        start, end = transaction.layout.cell_deps
        packed = transaction.raw[start:end]
        if packed not in self._deps:
            self._deps[packed] = self._find_deps(transaction)
        return self._deps[packed]

    def _find_deps(self, transaction: TxSlice) -> _Deps | None:
        """As `consensus.rules.resolve.resolve_cell_deps`."""
        raw, (start, _), cell_at = transaction.raw, transaction.layout.cell_deps, self.reader.cell
        points: list[bytes] = []
        dep_groups: list[CellMeta] = []
        for index, dep_type in enumerate(transaction.layout.dep_types):
            at = start + index * CellDep.SIZE
            point = raw[at : at + OutPoint.SIZE]
            if dep_type != DEP_TYPE_DEP_GROUP:
                points.append(point)
                continue
            group = cell_at(point)
            if group is None:
                return None
            dep_groups.append(group)
            points += _members_of(group)
            if len(points) > MAX_DEP_EXPANSION:
                return None
        cell_deps = [cell for cell in map(cell_at, points) if cell is not None]
        if len(cell_deps) != len(points) or len(points) > MAX_DEP_EXPANSION:
            return None
        maturity = self.consensus.cellbase_maturity_epochs
        if not all(is_mature(cell, self.env.epoch, maturity) for cell in cell_deps):
            return None
        all_points = frozenset((*points, *(group.out_point for group in dep_groups)))
        if any(out_point[:32] in self._in_block for out_point in all_points):
            return None
        return _Deps(cell_deps, dep_groups, all_points)

    def _visit_by_plain_rules(self, position: int) -> None:
        """The plain rules over one transaction."""
        consensus, headers = self.consensus, HeadersWith(self.block.header, self.reader)
        if self._block_cells is None:
            self._block_cells = BlockCells(self.block, self.reader)
        self._block_cells.verify_order_of(position)
        rtx = resolve_transaction(self.block.transactions[position], self._block_cells, self.reader, self._spent)
        self._spent.update(cell.out_point for cell in rtx.inputs)
        fee = verify_block_transaction(consensus, rtx, self.env, headers, self.reader.tip_header())
        self._added += added_capacity(rtx.transaction)
        self._freed += freed_capacity(consensus, rtx)
        self._worth += transaction_maximum_withdraw(consensus, rtx, self.reader)
        self._capacity += rtx.inputs_capacity()
        self.fees.append(fee)
        self.found.append((rtx.inputs, rtx.cell_deps, rtx.dep_groups))


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


class _Resolved(Sequence[ResolvedTransaction]):
    """Resolved transactions, created on access: with assume-valid nobody accesses them."""

    def __init__(self, block: Block, found: Sequence[_Found]) -> None:
        self._block, self._found = block, found

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> ResolvedTransaction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ResolvedTransaction]: ...
    def __getitem__(self, index: int | slice) -> ResolvedTransaction | Sequence[ResolvedTransaction]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        transaction, tx_slice = self._block.transactions[index], self._block.tx_slices[index]
        transaction.__dict__.update(hash=tx_slice.hash, witness_hash=tx_slice.witness_hash)
        return ResolvedTransaction(transaction, *self._found[index])
