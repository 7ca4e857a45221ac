"""What is checked of the transactions in a peer's message before anything is looked up ("check_data" of the protocol).

The rules of a transaction say all of this again; here it is what makes the whole message malformed.
"""

from __future__ import annotations

from itertools import pairwise

from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import (
    CELL_DEP_SIZE,
    NUMBER_SIZE,
    OUTPUT_LOCK_AND_TYPE,
    SCRIPT_HASH_TYPE_AT,
    SHORT_ID_SIZE,
    U32,
)
from consensus.codec.tx_layout import TxLayout
from consensus.kernels.outputs import MAX_INPUT, outputs_facts
from consensus.kernels.strict import LARGE
from consensus.params import Consensus
from consensus.rules.hardfork import is_hash_type
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, TX_LAYOUTS, Block

__all__ = ["block_is_sound", "max_block_size", "transaction_is_sound"]


def max_block_size(consensus: Consensus) -> int:
    """Bytes that no valid block exceeds: what uncles propose does not count for its limit."""
    return consensus.max_block_bytes + consensus.max_uncles * consensus.max_block_proposals * SHORT_ID_SIZE


def block_is_sound(block: Block) -> bool:
    """Of a block that passed the strict check."""
    return all(
        _is_sound(block.raw, at, end) if layout is None else _layout_is_sound(layout)
        for at, end, layout in block.checked_transactions
    )


def transaction_is_sound(raw: bytes, start: int, end: int) -> bool:
    """Of the transaction raw[start:end], which passed the strict check."""
    layout = TX_LAYOUTS.known(raw, start, end)
    return _is_sound(raw, start, end) if layout is None else _layout_is_sound(layout)


def _is_sound(raw: bytes, start: int, end: int) -> bool:
    """Of a transaction whose layout is not known, which would cost ten times as much to find out."""
    return _is_sound_at_once(raw, start, end) if LARGE < end - start <= MAX_INPUT else _is_sound_by_walk(raw, start)


def _is_sound_at_once(raw: bytes, start: int, end: int) -> bool:
    facts = outputs_facts(raw, start, end)
    hash_types = facts.lock_hash_types | facts.type_hash_types
    return (
        facts.outputs == facts.data
        and max(facts.dep_types, default=0) <= DEP_TYPE_DEP_GROUP
        and all(map(is_hash_type, hash_types))
    )


def _is_sound_by_walk(raw: bytes, at: int) -> bool:
    _, deps, _, _, outputs, data, _ = trusted_bounds(raw, at + U32.unpack_from(raw, at + NUMBER_SIZE)[0])
    spans = trusted_bounds(raw, outputs)
    if len(spans) != len(trusted_bounds(raw, data)):
        return False
    first = deps + NUMBER_SIZE + CELL_DEP_SIZE - 1
    dep_types = raw[first : first + CELL_DEP_SIZE * U32.unpack_from(raw, deps)[0] : CELL_DEP_SIZE]
    if max(dep_types, default=0) > DEP_TYPE_DEP_GROUP:
        return False
    hash_types = set()
    for start, end in pairwise(spans):
        lock, type_ = OUTPUT_LOCK_AND_TYPE.unpack_from(raw, start)
        hash_types.add(raw[start + lock + SCRIPT_HASH_TYPE_AT])
        if start + type_ < end:
            hash_types.add(raw[start + type_ + SCRIPT_HASH_TYPE_AT])
    return all(map(is_hash_type, hash_types))


def _layout_is_sound(layout: TxLayout) -> bool:
    """As many data as outputs, hash types and kinds of deps that exist; decided once for all of one structure."""
    verdict = layout.verdicts.get(_has_sound_structure)
    if verdict is None:
        verdict = layout.verdicts[_has_sound_structure] = _has_sound_structure(layout)
    return verdict


def _has_sound_structure(layout: TxLayout) -> bool:
    return (
        len(layout.outputs) == len(layout.data)
        and all(dep_type <= DEP_TYPE_DEP_GROUP for dep_type in layout.dep_types)
        and all(map(is_hash_type, layout.lock_hash_types))
        and all(map(is_hash_type, layout.type_hash_types))
    )
