"""What is checked of the transactions in a peer's message before anything is looked up ("check_data" of the protocol).

The rules of a transaction say all of this again; here it is what makes the whole message malformed.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.codec.tx_layout import TxLayout
from consensus.rules.hardfork import is_hash_type
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, TX_LAYOUTS, Block, Transaction

__all__ = ["block_is_sound", "layout_is_sound", "transactions_are_sound"]


def block_is_sound(block: Block) -> bool:
    """Of a block that passed the strict check."""
    raw = block.raw
    return all(layout_is_sound(layout or TX_LAYOUTS.of(raw, a, b)) for a, b, layout in block.checked_transactions)


def transactions_are_sound(transactions: Iterable[Transaction]) -> bool:
    """Of transactions that passed the strict check."""
    return all(layout_is_sound(TX_LAYOUTS.of(tx.raw, 0, tx.raw_size)) for tx in transactions)


def layout_is_sound(layout: TxLayout) -> bool:
    """As many data as outputs, hash types and kinds of deps that exist; decided once for all of one structure."""
    verdict = layout.verdicts.get(_is_sound)
    if verdict is None:
        verdict = layout.verdicts[_is_sound] = _is_sound(layout)
    return verdict


def _is_sound(layout: TxLayout) -> bool:
    return (
        len(layout.outputs) == len(layout.data)
        and all(dep_type <= DEP_TYPE_DEP_GROUP for dep_type in layout.dep_types)
        and all(map(is_hash_type, layout.lock_hash_types))
        and all(map(is_hash_type, layout.type_hash_types))
    )
