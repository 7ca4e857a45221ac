"""NervosDAO cells that a transaction spends, over flat bytes; see consensus/fast/block.py.

The rules are `maximum_withdraw_of_input` in consensus/rules/dao.py and `require_same_lock_size` in
consensus/rules/transaction.py.
"""

from __future__ import annotations

from struct import Struct

from consensus.codec.layout import (
    DAO_FIELD,
    NUMBER_SIZE,
    OUTPUT_LOCK_AND_TYPE,
    SCRIPT_ARGS_AT,
    SCRIPT_CODE_HASH_AT,
    U32,
    U64_MAX,
)
from consensus.context import HeaderProvider
from consensus.params import Consensus
from consensus.rules.dao import DAO_DATA_SIZE
from consensus.types.core import CellMeta
from consensus.types.tx_slice import TxSlice

__all__ = ["fast_maximum_withdraw", "keeps_lock_size", "packed_input_type"]

_WITNESS_ARGS = Struct("<IIII")
"""Size, offsets of lock, input type and output type."""


def fast_maximum_withdraw(index: int, cell: CellMeta, transaction: TxSlice, headers: HeaderProvider) -> int | None:
    """`maximum_withdraw_of_input`, None if the plain rule must decide. `cell` is withdrawing."""
    layout, info, named = transaction.layout, cell.info, transaction.header_deps
    if info is None or info.block_hash not in named or index >= len(layout.witnesses):
        return None
    start, end = layout.witnesses[index]
    packed = packed_input_type(transaction.raw[start:end])
    if packed is None or len(packed) != DAO_DATA_SIZE:
        return None
    position = int.from_bytes(packed, "little")
    deposit = headers.header(named[position]) if position < len(named) else None
    withdrawing = headers.header(info.block_hash)
    if deposit is None or withdrawing is None or deposit.number >= withdrawing.number:
        return None
    occupied = cell.occupied_capacity()
    counted = cell.capacity - occupied
    _, before, _, _ = DAO_FIELD.unpack(deposit.dao)
    _, after, _, _ = DAO_FIELD.unpack(withdrawing.dao)
    if counted < 0 or not before:
        return None
    worth: int = (counted * after // before & U64_MAX) + occupied  # truncated as by the rule
    return worth if worth <= U64_MAX else None


def packed_input_type(witness: bytes) -> bytes | None:
    """`input_type` of a strictly well formed WitnessArgs that has one; None otherwise."""
    if len(witness) < _WITNESS_ARGS.size:
        return None
    size, lock_at, input_at, output_at = _WITNESS_ARGS.unpack_from(witness)
    if (
        size != len(witness)
        or not _WITNESS_ARGS.size == lock_at <= input_at < output_at <= size
        or not (_is_option(witness, lock_at, input_at) and _is_option(witness, input_at, output_at))
        or not _is_option(witness, output_at, size)
    ):
        return None
    return witness[input_at + NUMBER_SIZE : output_at]


def _is_option(data: bytes, start: int, end: int) -> bool:
    """Nothing, or bytes behind their length."""
    size = end - start - NUMBER_SIZE
    return start == end or (size >= 0 and U32.unpack_from(data, start)[0] == size)


def keeps_lock_size(consensus: Consensus, dao_code: bytes, cell: CellMeta, transaction: TxSlice, index: int) -> bool:
    """`require_same_lock_size` passes for the output at `index`. `cell` has the type script of NervosDAO, whose code
    is `dao_code`."""
    raw, (start, end) = transaction.raw, transaction.layout.outputs[index]
    lock_at, type_at = OUTPUT_LOCK_AND_TYPE.unpack_from(raw, start)
    type_start = start + type_at
    if type_start == end or raw[type_start + SCRIPT_CODE_HASH_AT : type_start + SCRIPT_ARGS_AT] != dao_code:
        return True
    if any(cell.data) or type_at - lock_at == cell.lock_size:
        return True
    info = cell.info
    return info is not None and info.block_number < consensus.starting_block_limiting_dao_withdrawing_lock
