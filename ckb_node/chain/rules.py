"""How much of a block's rules is checked before it is attached in bulk: all, all but scripts, the body alone, none.

A judge is asked with a transaction whose tip is the block's parent; it raises the error of the rule that the block
breaks, and else says what has to be stored of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from ckb_node.chain.scripts import ScriptService
from consensus.block import verify_block_body
from consensus.epoch import next_epoch_ext
from consensus.errors import CkbError
from consensus.header import verify_header, verify_number
from consensus.params import Consensus
from consensus.quick import prepare_block_quickly, verify_block_body_quickly
from consensus.types.blockchain import Block
from consensus.types.core import EpochExt
from consensus.verify_block import BlockTransactionError, PreparedBlock, finish_block
from storage.chain_txn import ChainTxn


@dataclass(frozen=True, slots=True)
class Judged:
    """Facts of a block that may be attached. All but `epoch` leave the cellbase out; fees in shannons."""

    epoch: EpochExt
    fees: Sequence[int]
    cycles: Sequence[int]
    sizes: Sequence[int]


Judge = Callable[[ChainTxn, Block], Judged]
RunScripts = Callable[[ChainTxn, PreparedBlock], Sequence[int]]
"""Cycles of each transaction but the cellbase; BlockTransactionError when one fails."""


def scripts_in(executor: Executor, service: ScriptService) -> RunScripts:
    """Run the scripts of a block's transactions side by side."""

    def run(txn: ChainTxn, prepared: PreparedBlock) -> Sequence[int]:
        runner, limit = service.over(txn), service.consensus.max_block_cycles
        running = [executor.submit(runner.run, rtx, prepared.env, limit) for rtx in prepared.with_scripts]
        cycles = []
        try:
            for index, future in enumerate(running, start=1):
                try:
                    cycles.append(future.result())
                except CkbError as error:
                    raise BlockTransactionError(index, error) from error
        finally:
            # None may go on reading the transaction when this returns.
            for future in running:
                if not future.cancel():
                    future.exception()
        return cycles

    return run


def scripts_trusted(_: ChainTxn, prepared: PreparedBlock) -> Sequence[int]:
    """Take it that all scripts pass; nobody knows their cycles, which count as zero."""
    return [0] * len(prepared.fees)


def all_rules(consensus: Consensus, run_scripts: RunScripts, now_ms: Callable[[], int]) -> Judge:
    """Every rule; of scripts, what `run_scripts` does with them."""

    def judge(txn: ChainTxn, block: Block) -> Judged:
        verify_header(consensus, block.header, txn, now_ms())
        verify_block_body_quickly(consensus, block)
        prepared = prepare_block_quickly(consensus, block, txn)
        verified = finish_block(consensus, prepared, run_scripts(txn, prepared))
        return Judged(prepared.epoch, verified.fees, verified.cycles, verified.sizes)

    return judge


def body_rules(consensus: Consensus) -> Judge:
    """What the block alone must satisfy, and its place in the chain."""
    place = no_rules(consensus)

    def judge(txn: ChainTxn, block: Block) -> Judged:
        verify_block_body(consensus, block)
        return place(txn, block)

    return judge


def no_rules(consensus: Consensus) -> Judge:
    """Its place in the chain only. Nobody knows what the transactions paid and took: fees and cycles are zero."""

    def judge(txn: ChainTxn, block: Block) -> Judged:
        verify_number(block.header, txn.tip_header())
        none = [0] * (len(block.transactions) - 1)
        return Judged(_epoch_of(consensus, txn), none, none, none)

    return judge


def _epoch_of(consensus: Consensus, txn: ChainTxn) -> EpochExt:
    """The epoch of the block after the tip."""
    return next_epoch_ext(consensus, txn.tip_header(), txn.tip_epoch(), txn)
