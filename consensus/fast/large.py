"""The rules of a large transaction by itself, without objects for its parts: thousands of them take tens of
milliseconds and ten times its bytes of memory, whoever sent it."""

from __future__ import annotations

from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import CELL_DEP_SIZE, NUMBER_SIZE, U32
from consensus.crypto.hashing import HASH_SIZE
from consensus.params import TX_VERSION
from consensus.rules.hardfork import ENABLED_HASH_TYPES, is_hash_type
from consensus.rules.outputs import facts_of_large
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, Transaction

__all__ = ["is_sound_large"]


def is_sound_large(transaction: Transaction) -> bool:
    """The rules of `verify_transaction_non_contextual` but for the size hold. False also of a small one, and of what
    the plain rules have to decide."""
    facts = facts_of_large(transaction)
    if facts is None:
        return False
    raw = transaction.raw
    version, deps, headers, inputs, *_ = trusted_bounds(raw, U32.unpack_from(raw, NUMBER_SIZE)[0])
    actual_version, input_count = (int(U32.unpack_from(raw, at)[0]) for at in (version, inputs))
    return (
        actual_version == TX_VERSION
        and input_count > 0
        and 0 < facts.outputs == facts.data
        and ENABLED_HASH_TYPES.issuperset(facts.lock_hash_types)
        and all(map(is_hash_type, facts.type_hash_types))
        and max(facts.dep_types, default=0) <= DEP_TYPE_DEP_GROUP
        and not _repeats(raw, deps, CELL_DEP_SIZE)
        and not _repeats(raw, headers, HASH_SIZE)
    )


def _repeats(raw: bytes, vector: int, size: int) -> bool:
    """A vector of items of one size has one of them twice."""
    count: int = U32.unpack_from(raw, vector)[0]
    first = vector + NUMBER_SIZE
    return len({raw[at : at + size] for at in range(first, first + count * size, size)}) != count
