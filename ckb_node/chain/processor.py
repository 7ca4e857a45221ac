"""How a block enters the chain: stored, compared, verified, attached. Synchronous; runs in the one writer thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from ckb_node.chain.errors import (
    InvalidBranchError,
    InvalidParentError,
    KnownInvalidBlockError,
    TruncateError,
)
from ckb_node.chain.events import ChainChanged
from ckb_node.chain.orphans import OrphanPool
from ckb_node.chain.scripts import ScriptService
from consensus.block import verify_block_body
from consensus.difficulty import compact_to_difficulty
from consensus.epoch import next_epoch_ext
from consensus.errors import CkbError
from consensus.header import UnknownParentError, verify_header
from consensus.lookup import require
from consensus.mmr import nodes_of_block
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from consensus.types.core import INVALID, VALID, BlockExt, EpochFraction
from consensus.verify_block import BlockVerified, verify_block
from storage.chain_store import ChainStore
from storage.chain_txn import ChainTxn

TRUNCATE_LIMIT = 50_000


class Verdict(Enum):
    """What became of a submitted block."""

    BEST = "on the main chain"
    SIDE = "stored on a side branch"
    KNOWN = "known before"
    ORPHAN = "waits for its parent"


@dataclass(slots=True)
class Outcome:
    """A block's verdict, and what it and the orphans that waited for it caused, in order."""

    verdict: Verdict
    changes: list[ChainChanged] = field(default_factory=list)
    side_blocks: list[Block] = field(default_factory=list)


class _BadBlock(Exception):  # noqa: N818 - carries a verdict from the switch to its caller, never seen outside
    def __init__(self, block_hash: bytes, cause: CkbError) -> None:
        super().__init__(str(cause))
        self.block_hash, self.cause = block_hash, cause


class BlockProcessor:
    """Owns all writing to the store. `now_ms` is the wall clock."""

    def __init__(
        self, consensus: Consensus, store: ChainStore, scripts: ScriptService, now_ms: Callable[[], int]
    ) -> None:
        self.consensus, self.store, self.scripts, self.now_ms = consensus, store, scripts, now_ms
        self.orphans = OrphanPool()

    def process(self, block: Block) -> Outcome:
        """Take a block whose header commits to its body; raise the error of the rule that it breaks."""
        outcome = self._process_one(block)
        if outcome.verdict in (Verdict.BEST, Verdict.SIDE):
            self._process_orphans_after(block.hash, outcome)
        return outcome

    def _process_orphans_after(self, parent_hash: bytes, outcome: Outcome) -> None:
        """Orphans were not asked for by this caller: their failures are theirs alone."""
        parents = [parent_hash]
        while parents:
            for orphan in self.orphans.take_children(parents.pop()):
                try:
                    result = self._process_one(orphan)
                except CkbError:
                    continue
                outcome.changes += result.changes
                outcome.side_blocks += result.side_blocks
                parents.append(orphan.hash)

    def _process_one(self, block: Block) -> Outcome:
        with self.store.begin() as txn:
            known = txn.block_ext(block.hash)
            if known is not None:
                if known.verified is False:
                    raise KnownInvalidBlockError(block.hash)
                return Outcome(Verdict.KNOWN)
            parent, parent_ext = txn.header(block.parent_hash), txn.block_ext(block.parent_hash)
            if parent is None or parent_ext is None:
                self.orphans.add(block)
                return Outcome(Verdict.ORPHAN)
            if parent_ext.verified is False:
                raise InvalidParentError(block.parent_hash)
            verify_block_body(self.consensus, block)
            verify_header(self.consensus, block.header, txn, self.now_ms())
            ext = self._insert(txn, block, parent, parent_ext)
            try:
                outcome = self._choose(txn, block, ext)
            except _BadBlock as bad:
                failure = bad
            else:
                txn.commit()
                self.orphans.expire(EpochFraction.unpack(block.header.epoch).number)
                return outcome
        self._mark_invalid(block, parent, parent_ext, failure.block_hash)
        if failure.block_hash == block.hash:
            raise failure.cause
        raise InvalidBranchError(failure.block_hash, failure.cause)

    def _choose(self, txn: ChainTxn, block: Block, ext: BlockExt) -> Outcome:
        """The heavier chain wins; of equals the one seen first stays."""
        tip_ext = txn.block_ext(txn.tip_header().hash)
        if tip_ext is not None and ext.total_difficulty <= tip_ext.total_difficulty:
            return Outcome(Verdict.SIDE, side_blocks=[block])
        return Outcome(Verdict.BEST, [self._switch(txn, block)])

    def _insert(self, txn: ChainTxn, block: Block, parent: Header, parent_ext: BlockExt) -> BlockExt:
        """Store a block that passed the rules which need no chain state."""
        parent_epoch = require(txn.block_epoch(parent.hash), "epoch", parent.hash)
        epoch = next_epoch_ext(self.consensus, parent, parent_epoch, txn)
        ext = BlockExt(
            total_difficulty=parent_ext.total_difficulty + compact_to_difficulty(block.header.compact_target),
            total_uncles_count=parent_ext.total_uncles_count + len(block.uncles),
            received_at=self.now_ms(),
            txs_fees=[],
            verified_flag=None,
        )
        txn.insert_block(block)
        txn.insert_epoch(block.hash, epoch)
        txn.insert_ext(block.hash, ext)
        return ext

    def _switch(self, txn: ChainTxn, block: Block) -> ChainChanged:
        """Make `block` the tip: detach down to the common ancestor, verify and attach the branch."""
        old_tip = txn.tip_header()
        branch = [block]
        while not txn.is_main(branch[-1].parent_hash):
            branch.append(_stored(txn, branch[-1].parent_hash))
        detached = self._detach_to(txn, branch[-1].parent_hash)
        attached = list(reversed(branch))
        for each in attached:
            self._verify_and_attach(txn, each)
        return ChainChanged(old_tip, block.header, detached, attached)

    def _detach_to(self, txn: ChainTxn, ancestor_hash: bytes) -> list[Block]:
        """Make an ancestor of the tip the tip; the blocks above it, newest first."""
        detached = []
        while txn.tip_header().hash != ancestor_hash:
            tip = _stored(txn, txn.tip_header().hash)
            txn.detach_block(tip)
            detached.append(tip)
        return detached

    def _verify_and_attach(self, txn: ChainTxn, block: Block) -> None:
        """A block that was on the main chain before need not prove itself again."""
        ext = require(txn.block_ext(block.hash), "block ext", block.hash)
        if ext.verified is None:
            try:
                verified = verify_block(self.consensus, block, txn, self.scripts.over(txn))
            except CkbError as error:
                raise _BadBlock(block.hash, error) from error
            txn.insert_ext(block.hash, _verified_ext(ext, verified))
        txn.attach_block(block, nodes_of_block(txn, block.header)[1])

    def _mark_invalid(self, block: Block, parent: Header, parent_ext: BlockExt, bad_hash: bytes) -> None:
        """Remember the bad block and all of the branch above it, so that nothing is ever built on them again."""
        with self.store.begin() as txn:
            self._insert(txn, block, parent, parent_ext)
            cursor = block.hash
            while True:
                ext = require(txn.block_ext(cursor), "block ext", cursor)
                txn.insert_ext(cursor, ext.replace(verified_flag=INVALID))
                if cursor == bad_hash:
                    break
                cursor = require(txn.header(cursor), "header", cursor).parent_hash
            txn.commit()

    def process_unverified(self, block: Block) -> Outcome:
        """Put a block on the chain with every rule skipped (IntegrationTest); its parent must be stored."""
        with self.store.begin() as txn:
            parent, parent_ext = txn.header(block.parent_hash), txn.block_ext(block.parent_hash)
            if parent is None or parent_ext is None:
                raise UnknownParentError(block.parent_hash)
            if txn.block_ext(block.hash) is not None:
                return Outcome(Verdict.KNOWN)
            ext = self._insert(txn, block, parent, parent_ext)
            none = [0] * (len(block.transactions) - 1)
            txn.insert_ext(block.hash, ext.replace(verified_flag=VALID, txs_fees=none, cycles=none, txs_sizes=none))
            outcome = self._choose(txn, block, ext)
            txn.commit()
            return outcome

    def truncate(self, block_hash: bytes) -> ChainChanged | None:
        """Make a main-chain block the tip again and forget all blocks that came after it."""
        with self.store.begin() as txn:
            target, old_tip = txn.header(block_hash), txn.tip_header()
            if target is None or not txn.is_main(block_hash):
                raise TruncateError(f"block 0x{block_hash.hex()} is not on the main chain")
            if old_tip.number - target.number > TRUNCATE_LIMIT:
                raise TruncateError(f"more than {TRUNCATE_LIMIT} blocks would have to go")
            detached = self._detach_to(txn, block_hash)
            for block in detached:
                txn.delete_block(block.header)
            txn.commit()
        return ChainChanged(old_tip, target, detached, []) if detached else None

    def start(self, spec_hash: bytes) -> None:
        """Put the genesis block into an empty store."""
        with self.store.begin() as txn:
            if not txn.is_empty():
                return
            genesis = self.consensus.genesis_block
            none = [0] * (len(genesis.transactions) - 1)
            txn.insert_block(genesis)
            txn.insert_epoch(genesis.hash, self.consensus.genesis_epoch)
            txn.insert_ext(
                genesis.hash,
                BlockExt(
                    total_difficulty=compact_to_difficulty(genesis.header.compact_target),
                    total_uncles_count=0,
                    received_at=genesis.header.timestamp,
                    txs_fees=none,
                    verified_flag=VALID,
                    cycles=none,
                    txs_sizes=none,
                ),
            )
            txn.attach_block(genesis, nodes_of_block(txn, genesis.header)[1])
            txn.put_spec_hash(spec_hash)
            txn.commit()


def _verified_ext(ext: BlockExt, verified: BlockVerified) -> BlockExt:
    return ext.replace(verified_flag=VALID, txs_fees=verified.fees, cycles=verified.cycles, txs_sizes=verified.sizes)


def _stored(txn: ChainTxn, block_hash: bytes) -> Block:
    return require(txn.block(block_hash), "block", block_hash)
