"""The rules of a block on top of its parent's chain, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consensus.context import ChainReader, HeaderProvider
from consensus.errors import BlockError, CkbError, text_with_kind
from consensus.params import Consensus
from consensus.rules.block_contextual import verify_chain_root, verify_dao_field, verify_reward
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.resolve import resolve_block
from consensus.rules.two_phase import verify_two_phase
from consensus.rules.uncles import verify_uncles
from consensus.rules.verify_transaction import ScriptRunner, verify_block_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Block, Header
from consensus.types.core import EpochExt, ResolvedTransaction


class NotOnTipError(BlockError):
    """The reader's tip is not the block's parent: the caller must bring the chain there first."""

    def __init__(self, parent_hash: bytes, tip_hash: bytes) -> None:
        super().__init__(f"parent 0x{parent_hash.hex()} is not the tip 0x{tip_hash.hex()}")
        self.parent_hash, self.tip_hash = parent_hash, tip_hash


class BlockTransactionError(BlockError):
    """A transaction of the block breaks a rule of its context."""

    def __init__(self, index: int, cause: CkbError) -> None:
        super().__init__(
            f"Block(BlockTransactions(BlockTransactionsError(index: {index}, error: {text_with_kind(cause)})))"
        )
        self.index, self.cause = index, cause


class BlockCyclesError(BlockError):
    """The scripts of the block take more cycles than a block may."""

    def __init__(self, limit: int, actual: int) -> None:
        super().__init__("Block(ExceededMaximumCycles(No reason provided))")
        self.limit, self.actual = limit, actual


class PreparedBlock(NamedTuple):
    """Valid if its scripts succeed. `resolved` includes the cellbase; `fees` (shannons) leaves it out."""

    resolved: Sequence[ResolvedTransaction]
    fees: Sequence[int]
    env: TxEnv
    epoch: EpochExt
    sizes: Sequence[int]
    """Bytes that each transaction but the cellbase takes in the block."""
    witness_hashes: Sequence[bytes]
    """Of each transaction but the cellbase."""

    def with_scripts(self, index: int) -> ResolvedTransaction:
        """One of the transactions whose scripts must run: all but the cellbase, which does not count."""
        return self.resolved[index + 1]


@dataclass(frozen=True, slots=True)
class BlockVerified:
    """A valid block. `resolved` starts with the cellbase; `fees` (shannons), `cycles`, `sizes` (bytes) leave it out."""

    resolved: Sequence[ResolvedTransaction]
    fees: Sequence[int]
    cycles: Sequence[int]
    sizes: Sequence[int]


def verify_block(consensus: Consensus, block: Block, reader: ChainReader, scripts: ScriptRunner) -> BlockVerified:
    """All rules that need the chain below the block; `reader`'s tip is the parent.

    `verify_header` (consensus/rules/header.py) and `verify_block_body` (consensus/rules/block.py) must have passed
    before. Raises a CkbError: BlockError, ResolveError, EpochError, DaoError; BlockTransactionError around what one
    transaction breaks.
    """
    prepared = prepare_block(consensus, block, reader)
    return finish_block(consensus, prepared, run_scripts(consensus, prepared, scripts))


def run_scripts(
    consensus: Consensus, prepared: PreparedBlock, scripts: ScriptRunner, done: Sequence[int] = ()
) -> list[int]:
    """RFC 22 "Lock Script", "Type Script": all scripts of the block succeed.

    Each runs with the cycles that those before it left. `done` are the cycles of the first transactions, where they are
    known already. Returns the cycles of all.
    """
    cycles = list(done)
    budget = max(consensus.max_block_cycles - sum(cycles), 0)
    for index in range(len(cycles), len(prepared.fees)):
        try:
            cycles.append(scripts.run(prepared.with_scripts(index), prepared.env, budget))
        except CkbError as error:
            raise BlockTransactionError(index + 1, error) from error
        budget = max(budget - cycles[-1], 0)
    return cycles


def prepare_block(consensus: Consensus, block: Block, reader: ChainReader) -> PreparedBlock:
    """ckb, no RFC: the block stands on the reader's tip, then all of `verify_block` but the scripts, in order.

    The caller may run the scripts in any order or in parallel.
    """
    parent = reader.tip_header()
    if parent.hash != block.parent_hash:
        raise NotOnTipError(block.parent_hash, parent.hash)
    resolved = resolve_block(block, reader, reader)
    epoch = next_epoch_ext(consensus, parent, reader.tip_epoch(), reader)
    verify_block_epoch(epoch, block.header)
    verify_uncles(consensus, block, epoch, reader)
    verify_two_phase(consensus.proposal_window, block, reader)
    verify_dao_field(consensus, block.header, resolved, parent, epoch, reader)
    verify_reward(consensus, block, parent, reader)
    verify_chain_root(consensus, block, parent, reader)
    env = TxEnv.committed(block.header)
    fees = verify_block_transactions(consensus, resolved, env, parent, HeadersWith(block.header, reader))
    sizes = [rtx.transaction.size_in_block for rtx in resolved[1:]]
    witness_hashes = [rtx.transaction.witness_hash for rtx in resolved[1:]]
    return PreparedBlock(resolved, fees, env, epoch, sizes, witness_hashes)


def verify_block_transactions(
    consensus: Consensus,
    resolved: Sequence[ResolvedTransaction],
    env: TxEnv,
    parent: Header,
    headers: HeaderProvider,
) -> list[int]:
    """Rules of every transaction but the cellbase, scripts left out; their fees in shannons."""
    fees = []
    for index, rtx in enumerate(resolved[1:], start=1):
        try:
            fees.append(verify_block_transaction(consensus, rtx, env, headers, parent))
        except CkbError as error:
            raise BlockTransactionError(index, error) from error
    return fees


def finish_block(consensus: Consensus, prepared: PreparedBlock, cycles: Sequence[int]) -> BlockVerified:
    """RFC 14 "Consensus Change": the scripts of a block take at most `max_block_cycles`; BlockCyclesError otherwise.

    `cycles` are those of each transaction but the cellbase.
    """
    total = sum(cycles)
    if total > consensus.max_block_cycles:
        raise BlockCyclesError(consensus.max_block_cycles, total)
    return BlockVerified(prepared.resolved, prepared.fees, cycles, prepared.sizes)


class HeadersWith:
    """Stored headers and that of the block under verification, in which some resolved cells are committed."""

    def __init__(self, header: Header, below: HeaderProvider) -> None:
        self._header, self._below = header, below

    def header(self, block_hash: bytes) -> Header | None:
        return self._header if block_hash == self._header.hash else self._below.header(block_hash)
