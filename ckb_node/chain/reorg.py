"""Fork choice: which branch is the main chain, and the way there. Raises BadBlock when the branch breaks a rule.

Blocks of a branch are verified one on the other, while the scripts of those below still run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.attach import TxTotals, attach_block, detach_to, place_of, stored_ext, write_ext
from ckb_node.chain.checks import scripts_trusted
from ckb_node.chain.errors import KnownInvalidBlockError
from ckb_node.verification.script_queue import ScriptQueue
from ckb_node.verification.scripts import ScriptService
from consensus.errors import CkbError
from consensus.fast.block import fast_prepare_block
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.verify_block import PreparedBlock, finish_block
from consensus.types.blockchain import Block, Header
from consensus.types.core import BlockExt
from storage.chain_txn import ChainTxn

RunScripts = Callable[[ChainTxn, PreparedBlock], Sequence[int]]


class BadBlock(Exception):  # noqa: N818 - carries the verdict to the writer, which began the transaction
    """A block of the branch breaks a rule: the transaction must be discarded."""

    def __init__(self, block_hash: bytes, cause: CkbError) -> None:
        super().__init__(str(cause))
        self.block_hash, self.cause = block_hash, cause


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of the tip by hashes: `detached` newest first, `attached` oldest first."""

    old_tip: Header
    detached: Sequence[bytes]
    attached: Sequence[bytes]


def is_heavier(txn: ChainTxn, ext: BlockExt) -> bool:
    """Whether a stored block's branch becomes the main chain: of branches with equal work the one seen first stays."""
    return ext.total_difficulty > stored_ext(txn, txn.tip_header().hash).total_difficulty


def detach_to_fork(txn: ChainTxn, block: Block) -> Switch:
    """Detach down to the block where the branch of a stored `block` begins; `attached` are still to be attached.

    One block at a time is in memory.
    """
    old_tip = txn.tip_header()
    branch, parent_hash = [block.hash], block.parent_hash
    while not txn.is_main(parent_hash):
        branch.append(parent_hash)
        parent_hash = require(txn.header(parent_hash), "header", parent_hash).parent_hash
    return Switch(old_tip, detach_to(txn, parent_hash), branch[::-1])


def switch_unverified(txn: ChainTxn, block: Block) -> Switch:
    """Make a stored block the tip without any rule: what its transactions paid and took stays unknown."""
    switch = detach_to_fork(txn, block)
    for block_hash in switch.attached:
        ext = stored_ext(txn, block_hash)
        if ext.verified is not True:
            write_ext(txn, block_hash, place_of(ext), verified=True)
        attach_block(txn, _stored(txn, block_hash))
    return switch


class BranchVerifier:
    """`consensus.rules.verify_block.verify_block` for blocks that stand on each other; scripts run in parallel."""

    def __init__(self, consensus: Consensus, scripts: ScriptService, assume_valid: AssumeValid) -> None:
        self._consensus: Final = consensus
        self._scripts: Final = scripts
        self._assume_valid: Final = assume_valid

    def switch_to(self, txn: ChainTxn, block: Block) -> Switch:
        """Make a stored block the tip. Raises BadBlock."""
        switch = detach_to_fork(txn, block)
        self.attach(txn, switch.attached)
        return switch

    def attach(self, txn: ChainTxn, blocks: Sequence[bytes]) -> None:
        """Make stored blocks the tip, one after the other; the first one's parent is the tip. Raises BadBlock."""
        if len(blocks) == 1:
            self._attach(txn, blocks[0], self._scripts.run_block)
            return
        with closing(_ScriptsBeside(txn, self._scripts)) as beside:
            for block_hash in blocks:
                try:
                    self._attach(txn, block_hash, partial(beside.run, block_hash))
                except BadBlock:
                    beside.collect(to_end=True)  # a lower block whose scripts fail is the one to report
                    raise
                beside.collect(to_end=False)
            beside.collect(to_end=True)

    def _attach(self, txn: ChainTxn, block_hash: bytes, run_scripts: RunScripts) -> None:
        """A block that was on the main chain before is not verified again."""
        block, ext = _stored(txn, block_hash), stored_ext(txn, block_hash)
        if ext.verified is False:
            raise BadBlock(block_hash, KnownInvalidBlockError(block_hash))
        if ext.verified is None:
            if self._assume_valid.trusts(block.header):
                run_scripts = scripts_trusted
            try:
                prepared = fast_prepare_block(self._consensus, block, txn)
                verified = finish_block(self._consensus, prepared, run_scripts(txn, prepared))
            except CkbError as error:
                raise BadBlock(block_hash, error) from error
            facts = TxTotals(verified.fees, verified.cycles, verified.sizes)
            write_ext(txn, block_hash, place_of(ext), verified=True, facts=facts)
        attach_block(txn, block)


class _ScriptsBeside:
    """Scripts of a branch in a queue. Cycles count as zero until they are collected."""

    def __init__(self, txn: ChainTxn, service: ScriptService) -> None:
        self._txn, self._queue = txn, ScriptQueue(service)
        self._running: deque[tuple[bytes, PreparedBlock]] = deque()

    def run(self, block_hash: bytes, txn: ChainTxn, prepared: PreparedBlock) -> Sequence[int]:
        """Put a block in the queue, if it has scripts."""
        if prepared.fees:
            self._queue.put(txn, prepared)
            self._running.append((block_hash, prepared))
        return scripts_trusted(txn, prepared)

    def collect(self, *, to_end: bool) -> None:
        """Note the cycles of what has passed, of all when it goes `to_end`. BadBlock when one did not pass."""
        txn = self._txn
        try:
            for cycles in self._queue.passed(txn, to_end=to_end):
                block_hash, prepared = self._running.popleft()
                facts = TxTotals(prepared.fees, cycles, prepared.sizes)
                write_ext(txn, block_hash, place_of(stored_ext(txn, block_hash)), verified=True, facts=facts)
        except CkbError as error:
            raise BadBlock(self._running[0][0], error) from error

    def close(self) -> None:
        """Return when nothing reads the transaction any more."""
        self._queue.close()


def _stored(txn: ChainTxn, block_hash: bytes) -> Block:
    return require(txn.block(block_hash), "block", block_hash)
