"""Block filters (RFC 45): which scripts a block touches, as a Golomb-coded set after BIP 158, for light clients.

Elements are the hashes of lock and type scripts of all cells that the block makes or spends, each once. A filter is the
element count (u64, little endian), then the sorted values of the elements as differences in Golomb-Rice code, most
significant bit first, the last byte filled up with zeros. Each filter is bound to those before it by its filter hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from consensus.codec.layout import OUTPUT_LOCK_AND_TYPE
from consensus.crypto.hashing import ckb_hash, ckb_hash_concat
from consensus.types.blockchain import NULL_OUT_POINT, Block, out_point_key
from consensus.types.tx_slice import TxSlice

ScriptHashes = tuple[bytes, ...]
"""Of one cell: the hash of its lock, and that of its type script if it has one."""


class BlockScripts(NamedTuple):
    """What a block's filter is made of: script hashes of the cells that it makes, and out points that it spends."""

    created: dict[bytes, ScriptHashes]
    spent: list[bytes]


def script_hashes(output: bytes) -> ScriptHashes:
    """Of a serialised CellOutput that passed the strict check."""
    lock_at, type_at = OUTPUT_LOCK_AND_TYPE.unpack_from(output)
    lock_hash = ckb_hash(output[lock_at:type_at])
    return (lock_hash, ckb_hash(output[type_at:])) if type_at < len(output) else (lock_hash,)


def block_scripts(block: Block) -> BlockScripts:
    """Of a block that passed the strict molecule check; a cellbase spends nothing."""
    created: dict[bytes, ScriptHashes] = {}
    spent: list[bytes] = []
    for transaction in block.tx_slices:
        raw, tx_hash = transaction.raw, transaction.hash
        for index, (start, end) in enumerate(transaction.layout.outputs):
            created[out_point_key(tx_hash, index)] = script_hashes(raw[start:end])
        if not _is_cellbase(transaction):
            spent += transaction.consumed
    return BlockScripts(created, spent)


def _is_cellbase(transaction: TxSlice) -> bool:
    """As Transaction.is_cellbase."""
    layout = transaction.layout
    return (
        layout.input_count == 1 and len(layout.witnesses) == 1 and transaction.since_and_points[1] == NULL_OUT_POINT.raw
    )


def filter_elements(scripts: BlockScripts, scripts_of: Callable[[bytes], ScriptHashes | None]) -> list[bytes]:
    """Distinct script hashes (32 bytes each), sorted.

    `scripts_of` answers for a cell that was made by an earlier block. One that it does not know is left out: no valid
    block spends such a cell, but blocks that were taken without checks may.
    """
    elements: set[bytes] = set()
    for hashes in scripts.created.values():
        elements.update(hashes)
    for out_point in scripts.spent:
        if out_point not in scripts.created:
            elements.update(scripts_of(out_point) or ())
    return sorted(elements)


def filter_hash(parent: bytes, data: bytes) -> bytes:
    """The filter hash of a block: `parent` is that of the block before it, 32 zero bytes for the genesis block."""
    return ckb_hash_concat(parent, ckb_hash(data))
