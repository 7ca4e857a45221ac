"""The fast path through a block's rules: what nearly all transactions need, without an object for every part.

Nothing here refuses anything. Each function either finds by cheaper means that the plain rules would pass, or hands the
whole block to the plain rules (consensus/rules/block.py, verify_block.py), which then say what is wrong. So the rules
are read there, and here only how a usual case is recognised; tests hold both against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import overload

from consensus.codec.layout import BLOCK_ENTRY_SIZE, CELL_DEP_SIZE, SHORT_ID_SIZE
from consensus.codec.tx_layout import TxLayout
from consensus.context import ChainReader
from consensus.crypto.hashing import ZERO_HASH, ckb_hash
from consensus.errors import BlockError, CkbError, MoleculeError
from consensus.fast.chain import (
    ancestors_of,
    chain_root_matches,
    dao_field_matches,
    reward_matches,
)
from consensus.fast.scan import BlockScan, Found, NotOrdinary, transaction_view
from consensus.kernels.merkle import fast_merkle_root
from consensus.lookup import require
from consensus.params import TX_VERSION, Consensus
from consensus.rules.block import (
    FIELDS_WITHOUT_EXTENSION,
    is_cellbase_witness,
    verify_block_body,
    verify_extension_size,
)
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.hardfork import ENABLED_HASH_TYPES, is_hash_type
from consensus.rules.two_phase import window_numbers
from consensus.rules.uncles import verify_uncles
from consensus.rules.verify_block import NotOnTipError, PreparedBlock, prepare_block
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    NULL_OUT_POINT,
    Block,
    Header,
    proposals_hash,
)
from consensus.types.core import EpochExt, ResolvedTransaction
from consensus.types.tx_slice import TxSlice

_NULL_POINT = NULL_OUT_POINT.raw
_FEW_DEPS = 16 * CELL_DEP_SIZE
"""Bytes of cell deps about which a verdict is remembered."""


def _decided_per_layout(rule: Callable[[TxLayout], bool]) -> Callable[[TxLayout], bool]:
    """Cache the verdict of a rule that reads the layout only."""

    @wraps(rule)
    def decided(layout: TxLayout) -> bool:
        verdict = layout.verdicts.get(rule)
        if verdict is None:
            verdict = layout.verdicts[rule] = rule(layout)
        return verdict

    return decided


# ---------------------------------------------------------------- the body


def fast_verify_block_body(consensus: Consensus, block: Block) -> None:
    """`verify_block_body`, which decides if the block is not ordinary."""
    try:
        slices = block.tx_slices
    except MoleculeError:
        return verify_block_body(consensus, block)
    if not _has_ordinary_frame(consensus, block) or not _is_ordinary_cellbase(slices[0], block.number):
        return verify_block_body(consensus, block)
    if not _commits_to(block, slices) or not all(map(is_sound, slices[1:])):
        return verify_block_body(consensus, block)
    return None


def _has_ordinary_frame(consensus: Consensus, block: Block) -> bool:
    """Not genesis, extension and size within limits, no duplicate proposals."""
    fields, proposals = len(block.bounds) - 1, len(block.proposal_bytes) // SHORT_ID_SIZE
    if block.number == 0 or fields > FIELDS_WITHOUT_EXTENSION + 1 or not block.tx_slices:
        return False
    if proposals > consensus.max_block_proposals or (proposals and len(set(block.own_proposal_ids)) != proposals):
        return False
    try:
        verify_extension_size(block)
    except BlockError:
        return False
    size = block.size_without_uncle_proposals() if block.has_uncles else block.raw_size
    return size <= consensus.max_block_bytes


def _commits_to(block: Block, slices: Sequence[TxSlice]) -> bool:
    """The headers' roots are those of the body and of the uncles, and no transaction stands twice."""
    header, hashes = block.header, [transaction.hash for transaction in slices]
    proposals = block.proposal_bytes
    witness_root = fast_merkle_root([transaction.witness_hash for transaction in slices])
    return (
        header.transactions_root == ckb_hash(fast_merkle_root(hashes) + witness_root)
        and header.proposals_hash == (ckb_hash(proposals) if proposals else ZERO_HASH)
        and header.extra_hash == block.extra_hash()
        and len(set(hashes)) == len(hashes)
        and not (block.has_uncles and _has_a_false_uncle(block))
    )


def _has_a_false_uncle(block: Block) -> bool:
    """The proposals of an uncle are not those of its header."""
    return any(uncle.header.proposals_hash != proposals_hash(uncle.proposals) for uncle in block.uncles)


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
        layout.version == TX_VERSION
        and len(layout.witnesses) == 1
        and len(layout.data) == len(layout.outputs) <= 1
        and all(start == end for start, end in layout.data)
        and not (layout.type_hash_types or layout.header_deps or layout.dep_types)
        and ENABLED_HASH_TYPES.issuperset(layout.lock_hash_types)
    )


@lru_cache(maxsize=64)
def _names_a_miner(witness: bytes) -> bool:
    return is_cellbase_witness(witness)


def is_sound(transaction: TxSlice) -> bool:
    """Of a transaction that is in a block of a good size and not the first: the rules of
    `verify_transaction_non_contextual` hold, and it is no cellbase."""
    layout = transaction.layout
    return (
        _has_sound_structure(layout)
        and _NULL_POINT not in transaction.since_and_points
        and not (_has_several_deps(layout) and _names_a_dep_twice(transaction))
    )


@_decided_per_layout
def _has_sound_structure(layout: TxLayout) -> bool:
    return (
        layout.version == TX_VERSION
        and layout.input_count > 0
        and 0 < len(layout.outputs) == len(layout.data)
        and all(dep_type <= DEP_TYPE_DEP_GROUP for dep_type in layout.dep_types)
        and ENABLED_HASH_TYPES.issuperset(layout.lock_hash_types)
        and all(map(is_hash_type, layout.type_hash_types))
    )


@_decided_per_layout
def _has_several_deps(layout: TxLayout) -> bool:
    return len(layout.dep_types) > 1 or layout.header_deps > 1


def _names_a_dep_twice(transaction: TxSlice) -> bool:
    """`verify_no_duplicate_deps` refuses."""
    packed, layout = transaction.packed_cell_deps, transaction.layout
    if (_repeats_a_dep if len(packed) <= _FEW_DEPS else _repeats_a_dep.__wrapped__)(packed):
        return True
    return layout.header_deps > 1 and len(set(transaction.header_deps)) != layout.header_deps


@lru_cache(maxsize=256)
def _repeats_a_dep(packed: bytes) -> bool:
    """Cell deps end to end; most transactions of a kind name the same ones."""
    deps = [packed[at : at + CELL_DEP_SIZE] for at in range(0, len(packed), CELL_DEP_SIZE)]
    return len(set(deps)) != len(deps)


# ---------------------------------------------------------------- the context


def fast_prepare_block(consensus: Consensus, block: Block, reader: ChainReader) -> PreparedBlock:
    """`prepare_block`, which decides if the block is not ordinary or anything is wrong with it."""
    try:
        return _prepare(consensus, block, reader)
    except (NotOrdinary, CkbError):
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
    if not _is_ordinary_cellbase(slices[0], block.number):
        raise NotOrdinary
    scan = BlockScan(consensus, block, reader, parent)
    scan.visit_cellbase(slices[0])
    for position in range(1, len(slices)):
        scan.visit(position)
    if not (
        dao_field_matches(consensus, block.header, parent, epoch, scan.moves())
        and reward_matches(consensus, block, parent, reader)
        and chain_root_matches(consensus, block, parent, reader)
    ):
        raise NotOrdinary
    sizes = [transaction.layout.size + BLOCK_ENTRY_SIZE for transaction in slices[1:]]
    witness_hashes = [transaction.witness_hash for transaction in slices[1:]]
    return PreparedBlock(_Resolved(block, scan.found), scan.fees, scan.env, epoch, sizes, witness_hashes)


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
    raise NotOrdinary


class _Resolved(Sequence[ResolvedTransaction]):
    """Resolved transactions, created on access: nobody accesses those whose scripts need not run."""

    def __init__(self, block: Block, found: Sequence[Found]) -> None:
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
        return ResolvedTransaction(transaction_view(self._block, index), *self._found[index])
