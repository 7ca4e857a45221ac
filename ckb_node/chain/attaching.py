"""What bulk import stores of a block that was checked."""

from __future__ import annotations

from collections.abc import Sequence

from ckb_node.chain.checks import CheckedBlock
from ckb_node.chain.invalid import remember_invalid
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.lookup import require
from consensus.types.blockchain import Block
from consensus.types.core import INVALID, BlockExt, valid_block_ext
from storage.chain_txn import ChainTxn


def attach_checked(
    txn: ChainTxn, block: Block, checked: CheckedBlock, mmr_nodes: Sequence[bytes], received_at: int
) -> None:
    """Store a block and make it the tip; its parent is the tip. `received_at` in ms."""
    parent = _ext(txn, block.parent_hash)
    ext = valid_block_ext(
        parent.total_difficulty + compact_to_difficulty(block.header.compact_target),
        parent.total_uncles_count + (len(block.uncles) if block.has_uncles else 0),
        received_at,
        checked.fees,
        checked.cycles,
        checked.sizes,
    )
    txn.insert_block(block)
    txn.insert_epoch(block.hash, checked.epoch)
    txn.insert_ext(block.hash, ext)
    txn.attach_block(block, mmr_nodes)


def note_cycles(txn: ChainTxn, block: Block, checked: CheckedBlock) -> None:
    """The scripts of an attached block have run."""
    ext = _ext(txn, block.hash)
    txn.insert_ext(
        block.hash,
        valid_block_ext(
            ext.total_difficulty, ext.total_uncles_count, ext.received_at, checked.fees, checked.cycles, checked.sizes
        ),
    )


def note_invalid(txn: ChainTxn, block: Block, received_at: int) -> None:
    """Remember that a block, and all stored ones that stand on it, are invalid: they are never looked at again."""
    parent = _ext(txn, block.parent_hash)
    ext = BlockExt(
        total_difficulty=parent.total_difficulty + compact_to_difficulty(block.header.compact_target),
        total_uncles_count=parent.total_uncles_count + len(block.uncles),
        received_at=received_at,
        txs_fees=[],
        verified_flag=INVALID,
    )
    remember_invalid(txn, block.header, ext)


def _ext(txn: ChainTxn, block_hash: bytes) -> BlockExt:
    return require(txn.block_ext(block_hash), "block ext", block_hash)
