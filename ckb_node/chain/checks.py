"""How much of a block's rules is checked before it is attached in bulk: all, all but scripts, the body alone, none.

A check is called with a transaction whose tip is the block's parent. It raises the error of the rule that the block
breaks, or returns what is to be stored of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from ckb_node.chain.attach import TxTotals
from ckb_node.chain.errors import KnownInvalidBlockError
from consensus.errors import CkbError
from consensus.fast.block import fast_prepare_block, fast_verify_block_body
from consensus.fast.chain import fast_verify_header
from consensus.params import Consensus
from consensus.rules.block import verify_block_body
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.header import verify_number
from consensus.rules.verify_block import NotOnTipError, PreparedBlock, finish_block
from consensus.types.blockchain import Block
from consensus.types.core import EpochExt
from storage.chain_txn import ChainTxn


class Checks(Enum):
    """What is checked of blocks that are taken in bulk."""

    ALL = "all"
    ALL_BUT_SCRIPTS = "all but scripts"
    NONE = "none"


class CheckedBlock(NamedTuple):
    """A block that may be attached. While `scripts` are still to be run its cycles count as zero."""

    epoch: EpochExt
    facts: TxTotals
    scripts: PreparedBlock | None = None


BlockCheck = Callable[[ChainTxn, Block], CheckedBlock]
"""Raises InvalidOnChain, or the CkbError of a rule that says nothing final about the block's hash."""

RunScripts = Callable[[ChainTxn, PreparedBlock], Sequence[int] | None]
"""Cycles of each transaction but the cellbase, None when the scripts are run later; BlockTransactionError."""


class InvalidOnChain(Exception):  # noqa: N818 - carries the verdict to the writer, which stores it
    """The block breaks a rule of its place in the chain: it, and whatever stands on it, can never be valid."""

    def __init__(self, cause: CkbError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def scripts_trusted(_: ChainTxn, prepared: PreparedBlock) -> Sequence[int]:
    """Assume that all scripts pass; their cycles are unknown and count as zero."""
    return [0] * len(prepared.fees)


def scripts_later(_: ChainTxn, prepared: PreparedBlock) -> Sequence[int] | None:
    """Leave the scripts to ckb_node.chain.bulk, which runs them in parallel; without transactions there are none."""
    return None if prepared.fees else []


def check_of(
    checks: Checks, consensus: Consensus, now_ms: Callable[[], int], run_scripts: RunScripts = scripts_later
) -> BlockCheck:
    """What checks a block before it is attached."""
    if checks is Checks.NONE:
        return no_rules(consensus)
    scripts = scripts_trusted if checks is Checks.ALL_BUT_SCRIPTS else run_scripts
    return all_rules(consensus, scripts, now_ms)


def all_rules(consensus: Consensus, run_scripts: RunScripts, now_ms: Callable[[], int]) -> BlockCheck:
    """Every rule; of scripts, what `run_scripts` does with them. What was found invalid before stays so."""

    def check(txn: ChainTxn, block: Block) -> CheckedBlock:
        _verify_not_known_invalid(txn, block)
        fast_verify_header(consensus, block.header, txn, now_ms())
        fast_verify_block_body(consensus, block)
        try:
            prepared = fast_prepare_block(consensus, block, txn)
            cycles = run_scripts(txn, prepared)
            if cycles:
                finish_block(consensus, prepared, cycles)
        except NotOnTipError:
            raise
        except CkbError as error:
            verify_block_epoch(_epoch_of(consensus, txn), block.header)
            raise InvalidOnChain(error) from error
        if cycles is None:
            unknown = [0] * len(prepared.fees)
            return CheckedBlock(prepared.epoch, TxTotals(prepared.fees, unknown, prepared.sizes), prepared)
        return CheckedBlock(prepared.epoch, TxTotals(prepared.fees, cycles, prepared.sizes))

    return check


def _verify_not_known_invalid(txn: ChainTxn, block: Block) -> None:
    if txn.may_be_known(block.number):
        ext = txn.block_ext(block.hash)
        if ext is not None and ext.verified is False:
            raise KnownInvalidBlockError(block.hash)


def body_rules(consensus: Consensus) -> BlockCheck:
    """What the block alone must satisfy, and its place in the chain."""
    place = no_rules(consensus)

    def check(txn: ChainTxn, block: Block) -> CheckedBlock:
        verify_block_body(consensus, block)
        return place(txn, block)

    return check


def no_rules(consensus: Consensus) -> BlockCheck:
    """Its place in the chain only. What the transactions paid and took is unknown: fees and cycles are zero."""

    def check(txn: ChainTxn, block: Block) -> CheckedBlock:
        verify_number(block.header, txn.tip_header())
        none = [0] * (len(block.transactions) - 1)
        return CheckedBlock(_epoch_of(consensus, txn), TxTotals(none, none, none))

    return check


def _epoch_of(consensus: Consensus, txn: ChainTxn) -> EpochExt:
    """The epoch of the block after the tip."""
    return next_epoch_ext(consensus, txn.tip_header(), txn.tip_epoch(), txn)
