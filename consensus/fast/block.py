"""The quick way through a block's rules: what ordinary transactions need, without an object for every part.

Nothing here refuses anything. Each function either finds by cheaper means that the plain rules would pass, or hands the
transaction or the whole block to the plain rules (consensus/rules/block.py, verify_block.py), which then say what is
wrong. So the rules are read there, and here only what makes a case ordinary; tests hold both against each other.

Ordinary is a transaction that spends cells of earlier blocks without since, header deps or NervosDAO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import NamedTuple, overload

from consensus.codec.shapes import Shape
from consensus.context import ChainReader
from consensus.crypto.hashing import ZERO_HASH, ckb_hash
from consensus.crypto.merkle import merkle_root
from consensus.errors import BlockError, CkbError, MoleculeError
from consensus.fast.chain import (
    ancestors_of,
    carries_chain_root,
    carries_dao_field,
    pays_what_is_due,
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
    MAX_U64,
    CapacityMoves,
    added_capacity,
    freed_capacity,
    is_dao_script,
    transaction_fee,
    transaction_maximum_withdraw,
)
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.hardfork import ENABLED_HASH_TYPES, chain_root_is_required, is_hash_type
from consensus.rules.resolve import MAX_DEP_EXPANSION, BlockCells, dep_group_members, resolve_transaction
from consensus.rules.transaction import (
    is_mature,
    verify_dao_lock_sizes,
    verify_transaction_alone,
    verify_transaction_in_context,
)
from consensus.rules.two_phase import window_numbers
from consensus.rules.uncles import verify_uncles
from consensus.rules.verify_block import HeadersWith, NotOnTipError, PreparedBlock, prepare_block
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    NULL_OUT_POINT,
    SHANNONS_PER_BYTE,
    SHORT_ID_SIZE,
    Block,
    CellDep,
    FlatTransaction,
    Header,
    OutPoint,
)
from consensus.types.core import CellMeta, EpochExt, EpochFraction, ResolvedTransaction

_NULL_POINT = NULL_OUT_POINT.raw
_SMALL_GROUP = 1024
"""Bytes of a dep group's data."""
_MOST_GROUPS = 64
_BLOCK_ENTRY = 4
"""Bytes that a transaction takes in a block beside itself: its offset."""


def _once_a_shape(rule: Callable[[Shape], bool]) -> Callable[[Shape], bool]:
    """The rule decides once about all transactions of a shape."""

    @wraps(rule)
    def decided(shape: Shape) -> bool:
        verdict = shape.verdicts.get(rule)
        if verdict is None:
            verdict = shape.verdicts[rule] = rule(shape)
        return verdict

    return decided


class _NotOrdinary(Exception):  # noqa: N818 - a way out of the quick path, never seen outside
    """The plain rules must decide about the whole block."""


# ---------------------------------------------------------------- the body


def verify_block_body_quickly(consensus: Consensus, block: Block) -> None:
    """`verify_block_body`, which decides if the block is not ordinary."""
    try:
        flat = block.flat
    except MoleculeError:
        return verify_block_body(consensus, block)
    if not _has_ordinary_frame(consensus, block) or not _is_ordinary_cellbase(flat[0], block.number):
        return verify_block_body(consensus, block)
    if not _commits_to(block, flat) or any(_NULL_POINT in transaction.consumed for transaction in flat[1:]):
        return verify_block_body(consensus, block)
    passed: set[tuple[int, bytes]] = set()
    for index, transaction in enumerate(flat):
        start, end = transaction.shape.cell_deps
        key = id(transaction.shape), transaction.raw[start:end]
        if key in passed:
            continue
        if not _is_sound_alone(consensus, transaction.shape):
            verify_transaction_alone(consensus, block.transactions[index])
        if transaction.shape.header_deps <= 1 and index:  # only the cellbase may lack outputs
            passed.add(key)
    return None


def _has_ordinary_frame(consensus: Consensus, block: Block) -> bool:
    """Everything around the transactions: not genesis, no uncles, an extension of a fair size, no limit exceeded."""
    fields, proposals = len(block.bounds) - 1, len(block.proposal_bytes) // SHORT_ID_SIZE
    if block.number == 0 or block.has_uncles or fields > FIELDS_WITHOUT_EXTENSION + 1 or not block.flat:
        return False
    if proposals > consensus.max_block_proposals or (proposals and len(set(block.own_proposal_ids)) != proposals):
        return False
    try:
        verify_extension_size(block)
    except BlockError:
        return False
    return block.raw_size <= consensus.max_block_bytes


def _commits_to(block: Block, flat: Sequence[FlatTransaction]) -> bool:
    """The header's roots are those of the body, and no transaction stands twice."""
    header, hashes = block.header, [transaction.hash for transaction in flat]
    proposals = block.proposal_bytes
    witness_root = merkle_root([transaction.witness_hash for transaction in flat])
    return (
        header.transactions_root == ckb_hash(merkle_root(hashes) + witness_root)
        and header.proposals_hash == (ckb_hash(proposals) if proposals else ZERO_HASH)
        and header.extra_hash == block.extra_hash()
        and len(set(hashes)) == len(hashes)
    )


def _is_ordinary_cellbase(cellbase: FlatTransaction, number: int) -> bool:
    """One null input with the number, one good witness, at most one output with neither data nor type; no deps."""
    shape = cellbase.shape
    if cellbase.since_and_points != (number, _NULL_POINT) or not _suits_a_cellbase(shape):
        return False
    start, end = shape.witnesses[0]
    return _names_a_miner(cellbase.raw[start:end])


@_once_a_shape
def _suits_a_cellbase(shape: Shape) -> bool:
    """What `_is_ordinary_cellbase` asks of the structure."""
    return (
        len(shape.witnesses) == 1
        and len(shape.data) == len(shape.outputs) <= 1
        and all(start == end for start, end in shape.data)
        and not (shape.type_hash_types or shape.header_deps or shape.dep_types)
        and ENABLED_HASH_TYPES.issuperset(shape.lock_hash_types)
    )


@lru_cache(maxsize=64)
def _names_a_miner(witness: bytes) -> bool:
    return is_cellbase_witness(witness)


def _is_sound_alone(consensus: Consensus, shape: Shape) -> bool:
    """All rules of `verify_transaction_alone` hold, whatever stands between the structural bytes."""
    return shape.size + _BLOCK_ENTRY <= consensus.max_block_bytes and _has_sound_structure(shape)


@_once_a_shape
def _has_sound_structure(shape: Shape) -> bool:
    return (
        shape.version == TX_VERSION
        and shape.input_count > 0
        and 0 < len(shape.outputs) == len(shape.data)
        and len(shape.dep_types) <= 1
        and shape.header_deps <= 1
        and all(dep_type <= DEP_TYPE_DEP_GROUP for dep_type in shape.dep_types)
        and ENABLED_HASH_TYPES.issuperset(shape.lock_hash_types)
        and all(map(is_hash_type, shape.type_hash_types))
    )


# ---------------------------------------------------------------- the context


def prepare_block_quickly(consensus: Consensus, block: Block, reader: ChainReader) -> PreparedBlock:
    """`prepare_block`, which decides if the block is not ordinary or anything is wrong with it."""
    try:
        return _prepare(consensus, block, reader)
    except (_NotOrdinary, CkbError):
        return prepare_block(consensus, block, reader)


def _prepare(consensus: Consensus, block: Block, reader: ChainReader) -> PreparedBlock:
    parent, flat = reader.tip_header(), block.flat
    if parent.hash != block.parent_hash:
        raise NotOnTipError(block.parent_hash, parent.hash)
    epoch = next_epoch_ext(consensus, parent, reader.tip_epoch(), reader)
    if not _is_of_epoch(block.header, epoch):
        verify_block_epoch(epoch, block.header)
    if block.has_uncles:
        verify_uncles(consensus, block, epoch, reader)
    _require_proposals(consensus, block, parent, reader)
    pass_ = _Pass(consensus, block, reader)
    pass_.over_cellbase(flat[0])
    for position in range(1, len(flat)):
        pass_.over(position)
    if not (
        carries_dao_field(consensus, block.header, parent, epoch, pass_.moves())
        and pays_what_is_due(consensus, block, parent, reader)
        and carries_chain_root(consensus, block, parent, reader)
    ):
        raise _NotOrdinary
    sizes = [transaction.shape.size + _BLOCK_ENTRY for transaction in flat[1:]]
    return PreparedBlock(_Resolved(block, pass_.found), pass_.fees, pass_.env, epoch, sizes)


def _is_of_epoch(header: Header, epoch: EpochExt) -> bool:
    """`verify_block_epoch` holds: the packed field is that of the block's place in `epoch`, the target the epoch's."""
    expected = epoch.number | (header.number - epoch.start_number) << 24 | epoch.length << 40
    return header.epoch == expected and header.compact_target == epoch.compact_target


def _require_proposals(consensus: Consensus, block: Block, parent: Header, reader: ChainReader) -> None:
    """`verify_two_phase`, looking at the nearest blocks first: nearly everything is committed as soon as it may be."""
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


class _Pass:
    """One pass over the transactions of a block in order: cells found, fees, and how capacity moves."""

    def __init__(self, consensus: Consensus, block: Block, reader: ChainReader) -> None:
        self.consensus, self.block, self.reader = consensus, block, reader
        self.env = TxEnv.committed(block.header)
        self.found: list[_Found] = []
        self.fees: list[int] = []
        self._added = self._freed = self._worth = self._capacity = 0
        self._spent: set[bytes] = set()
        self._in_block = {transaction.hash for transaction in block.flat}
        self._deps: dict[bytes, _Deps | None] = {}
        self._block_cells: BlockCells | None = None

    def moves(self) -> CapacityMoves:
        """Of all transactions."""
        return CapacityMoves(self._added, self._freed, self._worth, self._capacity)

    def over_cellbase(self, cellbase: FlatTransaction) -> None:
        """It spends nothing; only one without deps is ordinary."""
        if not _is_ordinary_cellbase(cellbase, self.block.number):
            raise _NotOrdinary
        self._added += sum(cellbase.shape.occupied_bytes) * SHANNONS_PER_BYTE
        self.found.append(((), (), ()))

    def over(self, position: int) -> None:
        """The next transaction; by the plain rules if it is not ordinary. Raises CkbError or _NotOrdinary."""
        transaction = self.block.flat[position]
        if not self._over_ordinary(transaction):
            self._over_any(position)

    def _over_ordinary(self, transaction: FlatTransaction) -> bool:
        """Take an ordinary transaction; do nothing but say so if it is none."""
        shape, spent, consumed = transaction.shape, self._spent, transaction.consumed
        if shape.header_deps or any(transaction.sinces):
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
        capacities: tuple[int, ...] = shape.capacities.unpack_from(transaction.raw)
        outputs = sum(capacities)
        if not outputs <= total <= MAX_U64 or (len(consumed) > 1 and len(set(consumed)) != len(consumed)):
            return False
        for size, capacity in zip(shape.occupied_bytes, capacities, strict=True):
            if size * SHANNONS_PER_BYTE > capacity:
                return False
        spent.update(consumed)
        self._added += sum(shape.occupied_bytes) * SHANNONS_PER_BYTE
        self._freed += freed
        self._worth += total
        self._capacity += total
        self.fees.append(total - outputs)
        self.found.append((cells, deps.cell_deps, deps.dep_groups))
        return True

    def _is_ordinary_cell(self, cell: CellMeta) -> bool:
        """It counts as what it is: neither immature, nor of the genesis cellbase, nor in NervosDAO."""
        info = cell.info
        if info is None:
            return False
        if info.tx_index == 0 and (
            info.is_genesis or not is_mature(cell, self.env.epoch, self.consensus.cellbase_maturity_epochs)
        ):
            return False
        return not cell.has_type or not is_dao_script(self.consensus, cell.output.type_)

    def _deps_of(self, transaction: FlatTransaction) -> _Deps | None:
        """The resolved cell deps; None when they are not ordinary: of this block, missing, immature, too many."""
        start, end = transaction.shape.cell_deps
        packed = transaction.raw[start:end]
        if packed not in self._deps:
            self._deps[packed] = self._find_deps(transaction)
        return self._deps[packed]

    def _find_deps(self, transaction: FlatTransaction) -> _Deps | None:
        """As `consensus.rules.resolve.resolve_cell_deps`."""
        raw, (start, _), cell_at = transaction.raw, transaction.shape.cell_deps, self.reader.cell
        points: list[bytes] = []
        dep_groups: list[CellMeta] = []
        for index, dep_type in enumerate(transaction.shape.dep_types):
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

    def _over_any(self, position: int) -> None:
        """The plain rules over one transaction."""
        consensus, headers = self.consensus, HeadersWith(self.block.header, self.reader)
        if self._block_cells is None:
            self._block_cells = BlockCells(self.block, self.reader)
        self._block_cells.verify_order_of(position)
        rtx = resolve_transaction(self.block.transactions[position], self._block_cells, self.reader, self._spent)
        self._spent.update(cell.out_point for cell in rtx.inputs)
        verify_transaction_in_context(consensus, rtx, self.env, headers)
        fee = transaction_fee(consensus, rtx, headers)
        if chain_root_is_required(consensus, EpochFraction.unpack(self.reader.tip_header().epoch).number):
            verify_dao_lock_sizes(consensus, rtx)
        self._added += added_capacity(rtx.transaction)
        self._freed += freed_capacity(consensus, rtx)
        self._worth += transaction_maximum_withdraw(consensus, rtx, self.reader)
        self._capacity += rtx.inputs_capacity()
        self.fees.append(fee)
        self.found.append((rtx.inputs, rtx.cell_deps, rtx.dep_groups))


def _members_of(group: CellMeta) -> Sequence[bytes]:
    """`dep_group_members`; of small groups, which most transactions share, remembered. Raises InvalidDepGroupError."""
    if group.data_size > _SMALL_GROUP:
        return dep_group_members(group)
    members = _MEMBERS.get(group.data)
    if members is None:
        if len(_MEMBERS) >= _MOST_GROUPS:
            _MEMBERS.clear()
        members = _MEMBERS[group.data] = dep_group_members(group)
    return members


_MEMBERS: dict[bytes, Sequence[bytes]] = {}


class _Resolved(Sequence[ResolvedTransaction]):
    """Resolved transactions, made when they are asked for: who trusts scripts never asks."""

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
        transaction, flat = self._block.transactions[index], self._block.flat[index]
        transaction.__dict__.update(hash=flat.hash, witness_hash=flat.witness_hash)
        return ResolvedTransaction(transaction, *self._found[index])
