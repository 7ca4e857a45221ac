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
    UnknownParentError,
)
from ckb_node.chain.events import ChainChanged
from ckb_node.chain.orphans import OrphanPool
from consensus.block import verify_block_body
from consensus.difficulty import difficulty_of_compact
from consensus.epoch import next_epoch_ext
from consensus.errors import CkbError
from consensus.header import verify_header
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from consensus.types.core import INVALID, VALID, BlockExt
from consensus.verify_block import BlockVerified, ScriptRunner, verify_block
from storage.chain_store import ChainStore, ChainTxn

TRUNCATE_LIMIT = 50_000


class Verdict(Enum):
    """What became of a submitted block."""

    BEST = "on the main chain"
    SIDE = "stored on a side branch"
    KNOWN = "known before"
    ORPHAN = "waits for its parent"


@dataclass(slots=True)
class Outcome:
    """A block's verdict and the changes of the tip that it (and orphans that waited for it) caused, in order."""

    verdict: Verdict
    changes: list[ChainChanged] = field(default_factory=list)


class _BadBlock(Exception):  # noqa: N818 - carries a verdict from the switch to its caller, never seen outside
    def __init__(self, block_hash: bytes, cause: CkbError) -> None:
        super().__init__(str(cause))
        self.block_hash, self.cause = block_hash, cause


class BlockProcessor:
    """Owns all writing to the store. `runner` runs scripts; `now_ms` is the wall clock."""

    def __init__(
        self, consensus: Consensus, store: ChainStore, runner: ScriptRunner, now_ms: Callable[[], int]
    ) -> None:
        self.consensus, self.store, self.runner, self.now_ms = consensus, store, runner, now_ms
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
                    outcome.changes += self._process_one(orphan).changes
                except CkbError:
                    continue
                parents.append(orphan.hash)

    def _process_one(self, block: Block) -> Outcome:
        view = self.store.view()
        known = view.block_ext(block.hash)
        if known is not None:
            if known.verified is False:
                raise KnownInvalidBlockError(block.hash)
            return Outcome(Verdict.KNOWN)
        parent = view.header(block.parent_hash)
        parent_ext = view.block_ext(block.parent_hash)
        if parent is None or parent_ext is None:
            self.orphans.add(block)
            return Outcome(Verdict.ORPHAN)
        if parent_ext.verified is False:
            raise InvalidParentError(block.parent_hash)
        verify_block_body(self.consensus, block)
        verify_header(self.consensus, block.header, view, self.now_ms())
        return self._store_and_choose(block, parent, parent_ext)

    def _store_and_choose(self, block: Block, parent: Header, parent_ext: BlockExt) -> Outcome:
        txn = self.store.begin()
        ext = self._insert(txn, block, parent, parent_ext)
        old_tip = txn.tip_header()
        old_ext = txn.block_ext(old_tip.hash)
        if old_ext is not None and ext.total_difficulty <= old_ext.total_difficulty:
            txn.commit()
            return Outcome(Verdict.SIDE)
        try:
            change = self._switch(txn, block)
        except _BadBlock as bad:
            txn.discard()
            self._mark_invalid(block, parent, parent_ext, bad.block_hash)
            if bad.block_hash == block.hash:
                raise bad.cause from None
            raise InvalidBranchError(bad.block_hash, bad.cause) from None
        except BaseException:
            txn.discard()
            raise
        txn.commit()
        self.orphans.expire(block.header.epoch & 0xFFFFFF)
        return Outcome(Verdict.BEST, [change])

    def _insert(self, txn: ChainTxn, block: Block, parent: Header, parent_ext: BlockExt) -> BlockExt:
        """Store a block that passed the rules which need no chain state."""
        parent_epoch = txn.block_epoch(block.parent_hash)
        if parent_epoch is None:
            raise UnknownParentError(block.parent_hash)
        epoch = next_epoch_ext(self.consensus, parent, parent_epoch, txn)
        uncles = 0 if epoch.is_head(block.number) else parent_ext.total_uncles_count
        ext = BlockExt(
            total_difficulty=parent_ext.total_difficulty + difficulty_of_compact(block.header.compact_target),
            total_uncles_count=uncles + len(block.uncles),
            received_at=self.now_ms(),
            txs_fees=[],
            verified_flag=None,
        )
        txn.insert_block(block, ext, epoch)
        return ext

    def _switch(self, txn: ChainTxn, block: Block) -> ChainChanged:
        """Make `block` the tip: detach down to the common ancestor, verify and attach the branch."""
        old_tip = txn.tip_header()
        branch = [block]
        while not txn.is_main(branch[-1].parent_hash):
            branch.append(_stored(txn, branch[-1].parent_hash))
        ancestor_hash = branch[-1].parent_hash
        detached = []
        while txn.tip_header().hash != ancestor_hash:
            tip = _stored(txn, txn.tip_header().hash)
            txn.detach_block(tip)
            detached.append(tip)
        attached = list(reversed(branch))
        for each in attached:
            self._verify_and_attach(txn, each)
        return ChainChanged(old_tip, block.header, detached, attached)

    def _verify_and_attach(self, txn: ChainTxn, block: Block) -> None:
        ext = txn.block_ext(block.hash)
        if ext is None or ext.verified is None:
            try:
                verified = verify_block(self.consensus, block, txn, self.runner)
            except CkbError as error:
                raise _BadBlock(block.hash, error) from error
            ext = txn.block_ext(block.hash)
            if ext is not None:
                txn.update_ext(block.hash, _verified_ext(ext, verified))
        txn.attach_block(block)

    def _mark_invalid(self, block: Block, parent: Header, parent_ext: BlockExt, bad_hash: bytes) -> None:
        """Remember the bad block and all of the branch above it, so that nothing is ever built on them again."""
        txn = self.store.begin()
        self._insert(txn, block, parent, parent_ext)
        cursor = block.hash
        while True:
            ext, header = txn.block_ext(cursor), txn.header(cursor)
            if ext is None or header is None:
                break
            txn.update_ext(cursor, ext.replace(verified_flag=INVALID))
            if cursor == bad_hash:
                break
            cursor = header.parent_hash
        txn.commit()

    def process_unverified(self, block: Block) -> Outcome:
        """Put a block on the chain with every rule skipped (IntegrationTest); its parent must be stored."""
        view = self.store.view()
        parent, parent_ext = view.header(block.parent_hash), view.block_ext(block.parent_hash)
        if parent is None or parent_ext is None:
            raise UnknownParentError(block.parent_hash)
        if view.block_ext(block.hash) is not None:
            return Outcome(Verdict.KNOWN)
        txn = self.store.begin()
        ext = self._insert(txn, block, parent, parent_ext)
        count = len(block.transactions) - 1
        txn.update_ext(
            block.hash,
            ext.replace(verified_flag=VALID, txs_fees=[0] * count, cycles=[0] * count, txs_sizes=[0] * count),
        )
        tip_ext = txn.block_ext(txn.tip_header().hash)
        if tip_ext is not None and ext.total_difficulty <= tip_ext.total_difficulty:
            txn.commit()
            return Outcome(Verdict.SIDE)
        change = self._switch(txn, block)
        txn.commit()
        return Outcome(Verdict.BEST, [change])

    def truncate(self, block_hash: bytes) -> ChainChanged | None:
        """Make a main-chain block the tip again and forget that what came after it was ever verified."""
        txn = self.store.begin()
        target = txn.header(block_hash)
        old_tip = txn.tip_header()
        if target is None or not txn.is_main(block_hash):
            txn.discard()
            raise TruncateError(f"block 0x{block_hash.hex()} is not on the main chain")
        if old_tip.number - target.number > TRUNCATE_LIMIT:
            txn.discard()
            raise TruncateError(f"more than {TRUNCATE_LIMIT} blocks would have to go")
        if old_tip.hash == block_hash:
            txn.discard()
            return None
        detached = []
        while txn.tip_header().hash != block_hash:
            tip = _stored(txn, txn.tip_header().hash)
            txn.detach_block(tip)
            txn.delete_block(tip.hash)
            detached.append(tip)
        txn.commit()
        return ChainChanged(old_tip, target, detached, [])


def _verified_ext(ext: BlockExt, verified: BlockVerified) -> BlockExt:
    return ext.replace(verified_flag=VALID, txs_fees=verified.fees, cycles=verified.cycles, txs_sizes=verified.sizes)


def _stored(txn: ChainTxn, block_hash: bytes) -> Block:
    block = txn.block(block_hash)
    if block is None:
        raise UnknownParentError(block_hash)
    return block
