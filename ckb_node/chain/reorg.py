"""Attaching a branch: each block is verified on the one below it, while scripts of those below still run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Final

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.checks import scripts_trusted
from ckb_node.chain.errors import KnownInvalidBlockError
from ckb_node.verification.script_queue import ScriptQueue
from ckb_node.verification.scripts import ScriptService
from consensus.errors import CkbError
from consensus.fast.block import fast_prepare_block
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.mmr import nodes_of_block
from consensus.rules.verify_block import PreparedBlock, finish_block
from consensus.types.blockchain import Block
from consensus.types.core import VALID
from storage.chain_txn import ChainTxn

RunScripts = Callable[[ChainTxn, PreparedBlock], Sequence[int]]


class BadBlock(Exception):  # noqa: N818 - carries a verdict to who began the transaction, never seen outside
    """A block of the branch breaks a rule: the transaction is worth nothing."""

    def __init__(self, block_hash: bytes, cause: CkbError) -> None:
        super().__init__(str(cause))
        self.block_hash, self.cause = block_hash, cause


class BranchVerifier:
    """`consensus.rules.verify_block.verify_block` for blocks that stand on each other, scripts run as the service
    likes.
    """

    def __init__(self, consensus: Consensus, scripts: ScriptService, assume_valid: AssumeValid) -> None:
        self._consensus: Final = consensus
        self._scripts: Final = scripts
        self._assume_valid: Final = assume_valid

    def attach(self, txn: ChainTxn, blocks: Sequence[bytes], load: Callable[[bytes], Block]) -> None:
        """Make stored blocks the tip, one after the other; the first one's parent is the tip. Raises BadBlock."""
        if len(blocks) == 1:
            self._attach(txn, load(blocks[0]), self._scripts.run_block)
            return
        with closing(_ScriptsBeside(txn, self._scripts)) as beside:
            for block_hash in blocks:
                try:
                    self._attach(txn, load(block_hash), partial(beside.run, block_hash))
                except BadBlock:
                    beside.collect(to_end=True)  # the lowest that is bad is the one to name
                    raise
                beside.collect(to_end=False)
            beside.collect(to_end=True)

    def _attach(self, txn: ChainTxn, block: Block, run_scripts: RunScripts) -> None:
        """A block that was on the main chain before need not prove itself again."""
        ext = require(txn.block_ext(block.hash), "block ext", block.hash)
        if ext.verified is False:
            raise BadBlock(block.hash, KnownInvalidBlockError(block.hash))
        if ext.verified is None:
            if self._assume_valid.trusts(block.header):
                run_scripts = scripts_trusted
            try:
                prepared = fast_prepare_block(self._consensus, block, txn)
                verified = finish_block(self._consensus, prepared, run_scripts(txn, prepared))
            except CkbError as error:
                raise BadBlock(block.hash, error) from error
            ext = ext.replace(
                verified_flag=VALID, txs_fees=verified.fees, cycles=verified.cycles, txs_sizes=verified.sizes
            )
            txn.insert_ext(block.hash, ext)
        txn.attach_block(block, nodes_of_block(txn, block.header)[1])


class _ScriptsBeside:
    """Scripts of a branch in a queue. Cycles count as zero until they are collected."""

    def __init__(self, txn: ChainTxn, service: ScriptService) -> None:
        self._txn, self._queue = txn, ScriptQueue(service)
        self._running: deque[bytes] = deque()

    def run(self, block_hash: bytes, txn: ChainTxn, prepared: PreparedBlock) -> Sequence[int]:
        """Put a block in the queue, if it has scripts."""
        if prepared.fees:
            self._queue.put(txn, prepared)
            self._running.append(block_hash)
        return scripts_trusted(txn, prepared)

    def collect(self, *, to_end: bool) -> None:
        """Note the cycles of what has passed, of all when it goes `to_end`. BadBlock when one did not pass."""
        txn = self._txn
        try:
            for cycles in self._queue.passed(txn, to_end=to_end):
                block_hash = self._running.popleft()
                ext = require(txn.block_ext(block_hash), "block ext", block_hash)
                txn.insert_ext(block_hash, ext.replace(cycles=cycles))
        except CkbError as error:
            raise BadBlock(self._running[0], error) from error

    def close(self) -> None:
        """Return when nothing reads the transaction any more."""
        self._queue.close()
