"""Whether a block may be stored: what is known of it and its parent, its header, its body. No rule needs the tip."""

from __future__ import annotations

from enum import Enum

from ckb_node.chain.errors import ForeignGenesisError, InvalidParentError, KnownInvalidBlockError
from consensus.fast.block import fast_verify_block_body
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.block import verify_block_body
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.header import verify_header
from consensus.rules.pow import verify_pow
from consensus.types.blockchain import Block, Header
from consensus.types.core import EpochExt
from storage.chain_txn import ChainTxn


class BlockStatus(Enum):
    """What the store knows of a block that comes."""

    NEW = "its parent is stored"
    KNOWN = "stored before"
    ORPHAN = "its parent is unknown"


def status_of(txn: ChainTxn, block: Block) -> BlockStatus:
    """Look a block and its parent up. Raises KnownInvalidBlockError, ForeignGenesisError, InvalidParentError."""
    known = txn.block_ext(block.hash)
    if known is not None:
        if known.verified is False:
            raise KnownInvalidBlockError(block.hash)
        return BlockStatus.KNOWN
    if block.number == 0:
        raise ForeignGenesisError(block.hash)
    parent_ext = txn.block_ext(block.parent_hash)
    if parent_ext is not None and parent_ext.verified is False:
        raise InvalidParentError(block.parent_hash)
    if parent_ext is None or txn.header(block.parent_hash) is None:
        return BlockStatus.ORPHAN
    return BlockStatus.NEW


def verify_admission(consensus: Consensus, txn: ChainTxn, block: Block, now_ms: int) -> EpochExt:
    """Header and body of a block whose parent is stored; its epoch. Raises HeaderError, EpochError, BlockError."""
    verify_header(consensus, block.header, txn, now_ms)
    epoch = epoch_after(consensus, txn, require(txn.header(block.parent_hash), "header", block.parent_hash))
    verify_block_epoch(epoch, block.header)
    fast_verify_block_body(consensus, block)
    return epoch


def verify_orphan(consensus: Consensus, block: Block) -> None:
    """What is checked of an orphan: its place in the pool costs proof of work, and the body belongs to the header."""
    verify_pow(consensus, block.header)
    verify_block_body(consensus, block)


def epoch_after(consensus: Consensus, txn: ChainTxn, parent: Header) -> EpochExt:
    """The epoch of a block above a stored one, on whatever branch."""
    return next_epoch_ext(consensus, parent, require(txn.block_epoch(parent.hash), "epoch", parent.hash), txn)
