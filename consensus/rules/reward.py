"""Who is paid how much by a block's cellbase (RFC 15, RFC 20 "Two-Step Transaction Confirmation").

A block is paid when it is final: the cellbase of block n pays the miner of block n - 11, its target. He gets the
primary issuance and the miner's share of the secondary issuance of the target, 60 % of the fees of transactions that
the target committed, and 40 % of the fees of transactions that the target was the first to propose.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from consensus.codec.layout import U64_MAX
from consensus.context import ChainReader
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.dao import DaoOverflowError, primary_block_reward, secondary_block_reward, share
from consensus.types.blockchain import Block, CellbaseWitness, Header, Script


class BlockReward(NamedTuple):
    """Shannons. `tx_fee` is the committer's part of fees, `proposal_reward` the proposer's."""

    total: int
    primary: int
    secondary: int
    tx_fee: int
    proposal_reward: int


def finalize_target(consensus: Consensus, number: int) -> int:
    """Number of the block that block `number` pays (the genesis block for the first ones)."""
    return max(number - consensus.finalization_delay, 0)


def has_finalization_target(consensus: Consensus, number: int) -> bool:
    """Block `number` pays a miner; the first 11 blocks pay nobody and their cellbase has no output."""
    return number > consensus.finalization_delay


def block_reward(consensus: Consensus, parent: Header, reader: ChainReader) -> tuple[Script, BlockReward]:
    """Lock and reward of the target of the block after `parent`, which is on the reader's main chain.

    For the first 11 blocks these are the genesis block's, which no cellbase pays: see `has_finalization_target`.
    """
    number = finalize_target(consensus, parent.number + 1)
    target_hash = require(reader.main_hash(number), "main chain hash", number)
    target = require(reader.header(target_hash), "header", target_hash)
    tx_fee = committer_reward(consensus, target, reader)
    proposal = proposer_reward(consensus, parent, target, reader)
    primary = primary_block_reward(target, reader)
    secondary = secondary_block_reward(consensus, target, reader)
    total = tx_fee + proposal + primary + secondary
    if total > U64_MAX:
        raise DaoOverflowError("block reward", total)
    return _miner_lock(target, reader), BlockReward(total, primary, secondary, tx_fee, proposal)


def committer_reward(consensus: Consensus, target: Header, reader: ChainReader) -> int:
    """Shannons for committing: of each fee, fee − ⌊40 % of fee⌋, which is not always ⌊60 % of fee⌋."""
    ext = require(reader.block_ext(target.hash), "block ext", target.hash)
    return sum(fee - share("proposer's fee", fee, consensus.proposer_reward_ratio) for fee in ext.txs_fees)


def proposer_reward(consensus: Consensus, parent: Header, target: Header, reader: ChainReader) -> int:
    """Shannons for proposing transactions that were committed up to `parent`.

    A transaction pays the earliest block that proposed it inside its window. Walk commits back from `parent`; with each
    step one older block comes into the window of the commits seen, and what it proposed, the target did not do first.
    The walk ends at block 1 even when that is the target itself, so block 1 is paid for commits in block 11 only; this
    is consensus.
    """
    pending = set(require(reader.proposal_ids(target.hash), "proposals", target.hash))
    proposed_earlier: set[bytes] = set()
    window = consensus.proposal_window
    window_length = window.farthest - window.closest + 1
    first_commit = max(parent.number + 1 - window_length, 1 + window.closest)
    reward, committing = 0, parent
    while pending:
        for short_id, fee in _committed_fees(committing, reader):
            if short_id in pending:
                pending.remove(short_id)
                if short_id not in proposed_earlier:
                    reward += share("proposer's fee", fee, consensus.proposer_reward_ratio)
        if committing.number <= first_commit:
            break
        committing = require(reader.header(committing.parent_hash), "header", committing.parent_hash)
        oldest = max(committing.number - window.farthest, 1)
        oldest_hash = require(reader.main_hash(oldest), "main chain hash", oldest)
        proposed_earlier |= require(reader.proposal_ids(oldest_hash), "proposals", oldest_hash)
    return reward


def _committed_fees(header: Header, reader: ChainReader) -> Iterator[tuple[bytes, int]]:
    """Short id and fee of each transaction that the block committed, the cellbase left out."""
    ext = require(reader.block_ext(header.hash), "block ext", header.hash)
    if not ext.txs_fees:
        return iter(())
    return zip(_block(header, reader).committed_ids, ext.txs_fees, strict=False)


def _miner_lock(target: Header, reader: ChainReader) -> Script:
    """The lock that the target's miner named in the first witness of its cellbase."""
    return lock_of_witness(_block(target, reader).cellbase_witness)


@lru_cache(maxsize=32)
def lock_of_witness(witness: bytes) -> Script:
    """The lock that a cellbase's witness names. A miner's blocks share it, so it is parsed once."""
    return CellbaseWitness.parse(witness).lock


def _block(header: Header, reader: ChainReader) -> Block:
    return require(reader.block(header.hash), "block", header.hash)
