"""How a block enters the chain: stored, compared, verified, attached. Synchronous; runs in the one writer thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import structlog

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.errors import (
    ForeignGenesisError,
    InvalidBranchError,
    InvalidParentError,
    KnownInvalidBlockError,
    TruncateError,
)
from ckb_node.chain.events import ChainChanged, StoredBlocks
from ckb_node.chain.invalid import remember_invalid, stored_descendants
from ckb_node.chain.orphans import OrphanPool
from ckb_node.chain.reorg import BadBlock, BranchVerifier
from ckb_node.verification.scripts import ScriptService
from ckb_node.verification.stopping import ScriptsStopped
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.errors import CkbError
from consensus.fast.block import fast_verify_block_body
from consensus.lookup import ChainDataError, require
from consensus.params import Consensus
from consensus.rules.block import BodyMismatchError, verify_block_body
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.header import TemporaryHeaderError, UnknownParentError, verify_header, verify_number
from consensus.rules.mmr import nodes_of_block
from consensus.rules.pow import verify_pow
from consensus.types.blockchain import Block, Header
from consensus.types.core import VALID, BlockExt, EpochExt, EpochFraction
from storage.chain_store import ChainStore
from storage.chain_txn import ChainTxn
from storage.errors import StorageError

log = structlog.get_logger("chain")

TRUNCATE_LIMIT = 50_000

Attach = Callable[[ChainTxn, Sequence[bytes], Callable[[bytes], Block]], None]
"""Puts blocks on the tip, one on the other, or raises BadBlock."""


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
    fault: StorageError | None = None
    """What became of the disk over an orphan: not this caller's error, but the chain's end."""


@dataclass(frozen=True, slots=True)
class _Switch:
    """A change of the tip by hashes: `detached` newest first, `attached` oldest first."""

    old_tip: Header
    detached: Sequence[bytes]
    attached: Sequence[bytes]


class ChainWriter:
    """Owns all writing to the store. `now_ms` is the wall clock."""

    def __init__(
        self,
        consensus: Consensus,
        store: ChainStore,
        scripts: ScriptService,
        now_ms: Callable[[], int],
        assume_valid: AssumeValid | None = None,
    ) -> None:
        self.consensus, self.store, self.scripts, self.now_ms = consensus, store, scripts, now_ms
        self.assume_valid = assume_valid or AssumeValid()
        self._verifier = BranchVerifier(consensus, scripts, self.assume_valid)
        self.orphans = OrphanPool()
        self._orphans_seen_epoch = 0

    # ------------------------------------------------------------ blocks from anywhere

    def process(self, block: Block) -> Outcome:
        """Take a block; raise the error of the rule that it breaks."""
        try:
            outcome = self._process_one(block)
        except CkbError as error:
            self._forget_orphans_of(block, error)
            raise
        if outcome.verdict is not Verdict.ORPHAN:  # those of a known block may have had to wait for a disk
            self._process_orphans_after(block.hash, outcome)
        return outcome

    def _process_orphans_after(self, parent_hash: bytes, outcome: Outcome) -> None:
        """Orphans were not asked for by this caller: their failures are theirs alone. A node that stops leaves them.

        Whatever goes wrong, what is on the chain already must be told to the listeners.
        """
        ready = deque(self.orphans.take_children(parent_hash))
        while ready and not self.scripts.stop.is_set:
            try:
                result = self._process_one(ready[0])
            except CkbError as error:
                orphan = ready.popleft()
                log.warning("an orphan block was refused", hash=f"0x{orphan.hash.hex()}", reason=str(error))
                self._forget_orphans_of(orphan, error)
            except ScriptsStopped:
                break
            except StorageError as error:
                outcome.fault = error
                break
            except ChainDataError as error:
                log.error("orphan blocks must wait", reason=str(error))  # noqa: TRY400 - the text says it all
                break
            except Exception:  # no room for a thread, no memory, a fault of ours
                log.exception("orphan blocks must wait")
                break
            else:
                outcome.changes += result.changes
                outcome.side_blocks += result.side_blocks
                ready += self.orphans.take_children(ready.popleft().hash)
        for orphan in ready:  # until their parent comes again
            self.orphans.add(orphan)

    def _forget_orphans_of(self, block: Block, error: CkbError) -> None:
        """What waits for a block that can never be valid waits in vain."""
        if not isinstance(error, (TemporaryHeaderError, BodyMismatchError)):
            self.orphans.drop_descendants(block.hash)

    def _process_one(self, block: Block) -> Outcome:
        with self.store.begin() as txn:
            known = txn.block_ext(block.hash)
            if known is not None:
                if known.verified is False:
                    raise KnownInvalidBlockError(block.hash)
                return Outcome(Verdict.KNOWN)
            if block.number == 0:
                raise ForeignGenesisError(block.hash)
            parent, parent_ext = txn.header(block.parent_hash), txn.block_ext(block.parent_hash)
            if parent_ext is not None and parent_ext.verified is False:
                raise InvalidParentError(block.parent_hash)
            if parent is None or parent_ext is None:
                return self._keep_orphan(block)
            verify_header(self.consensus, block.header, txn, self.now_ms())
            epoch = self._epoch_after(txn, parent)
            verify_block_epoch(epoch, block.header)
            fast_verify_block_body(self.consensus, block)
            ext = self._insert(txn, block, epoch, parent_ext)
            try:
                switch = self._choose(txn, block, ext, self._verifier.attach)
            except BadBlock as bad:
                failure = bad
            else:
                txn.commit()
                self._expire_orphans(EpochFraction.unpack(block.header.epoch).number)
                return self._outcome(block, switch)
        self._remember_invalid(block.header, ext, failure.block_hash)
        if failure.block_hash == block.hash:
            raise failure.cause
        raise InvalidBranchError(failure.block_hash, failure.cause)

    def _keep_orphan(self, block: Block) -> Outcome:
        """Room among the orphans costs at least the work of a header, and nobody can put a false body there."""
        verify_pow(self.consensus, block.header)
        verify_block_body(self.consensus, block)
        self.orphans.add(block)
        return Outcome(Verdict.ORPHAN)

    def _expire_orphans(self, epoch: int) -> None:
        if epoch > self._orphans_seen_epoch:
            self._orphans_seen_epoch = epoch
            self.orphans.expire(epoch)

    # ------------------------------------------------------------ fork choice

    def _choose(self, txn: ChainTxn, block: Block, ext: BlockExt, attach: Attach) -> _Switch | None:
        """The heavier chain wins; of equals the one seen first stays: None."""
        tip_hash = txn.tip_header().hash
        if ext.total_difficulty <= require(txn.block_ext(tip_hash), "block ext", tip_hash).total_difficulty:
            return None
        return _switch(txn, block, attach)

    def _outcome(self, block: Block, switch: _Switch | None) -> Outcome:
        """Of a commit that was made."""
        if switch is None:
            return Outcome(Verdict.SIDE, side_blocks=[block])
        self.assume_valid.note_stored(switch.attached)
        attached = [block] if len(switch.attached) == 1 else self._stored_blocks(switch.attached)
        detached = self._stored_blocks(switch.detached) if switch.detached else []
        return Outcome(Verdict.BEST, [ChainChanged(switch.old_tip, block.header, detached, attached)])

    def _stored_blocks(self, hashes: Sequence[bytes]) -> StoredBlocks:
        return StoredBlocks(self.store.view(), hashes)

    def _epoch_after(self, txn: ChainTxn, parent: Header) -> EpochExt:
        parent_epoch = require(txn.block_epoch(parent.hash), "epoch", parent.hash)
        return next_epoch_ext(self.consensus, parent, parent_epoch, txn)

    def _insert(self, txn: ChainTxn, block: Block, epoch: EpochExt, parent_ext: BlockExt) -> BlockExt:
        """Store a block. Its uncles are counted from genesis on: an epoch's are the difference of two such counts."""
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

    def _remember_invalid(self, header: Header, ext: BlockExt, bad_hash: bytes) -> None:
        """Of a block whose branch is bad from `bad_hash` on, the block itself or a stored one below it."""
        with self.store.begin() as txn:
            if bad_hash != header.hash:
                bad = require(txn.header(bad_hash), "header", bad_hash)
                remember_invalid(txn, bad, require(txn.block_ext(bad_hash), "block ext", bad_hash))
            remember_invalid(txn, header, ext)
            txn.commit()

    # ------------------------------------------------------------ by hand (IntegrationTest)

    def process_unverified(self, block: Block) -> Outcome:
        """Store a block, and attach it if its branch is the heaviest, with every rule skipped.

        Raises UnknownParentError, or NumberError: what has no place in the chain cannot be stored.
        """
        with self.store.begin() as txn:
            if txn.header(block.hash) is not None:  # of one that was found invalid only that is known
                return Outcome(Verdict.KNOWN)
            parent, parent_ext = txn.header(block.parent_hash), txn.block_ext(block.parent_hash)
            if parent is None or parent_ext is None:
                raise UnknownParentError(block.parent_hash)
            verify_number(block.header, parent)
            ext = self._insert(txn, block, self._epoch_after(txn, parent), parent_ext)
            switch = self._choose(txn, block, ext, _attach_unverified)
            txn.commit()
        outcome = self._outcome(block, switch)
        self._process_orphans_after(block.hash, outcome)
        return outcome

    def truncate(self, block_hash: bytes) -> ChainChanged | None:
        """Make a main-chain block the tip again and forget all blocks that came after it, on whatever branch."""
        with self.store.begin() as txn:
            target, old_tip = txn.header(block_hash), txn.tip_header()
            if target is None or not txn.is_main(block_hash):
                raise TruncateError(f"block 0x{block_hash.hex()} is not on the main chain")
            if old_tip.number - target.number > TRUNCATE_LIMIT:
                raise TruncateError(f"more than {TRUNCATE_LIMIT} blocks would have to go")
            above = stored_descendants(txn, target)
            before = self.store.view()  # still knows the blocks that are forgotten below
            detached = _detach_to(txn, block_hash)
            for header in above:
                txn.delete_block(header)
            txn.commit()
        self.orphans.drop_above(target.number)
        self._orphans_seen_epoch = EpochFraction.unpack(target.epoch).number
        return ChainChanged(old_tip, target, StoredBlocks(before, detached), [], is_cut=True) if detached else None

    def start(self, spec_hash: bytes) -> None:
        """Put the genesis block into an empty store."""
        with self.store.begin() as txn:
            if not txn.is_empty():
                return
            genesis = self.consensus.genesis_block
            txn.insert_block(genesis)
            txn.insert_epoch(genesis.hash, self.consensus.genesis_epoch)
            txn.insert_ext(
                genesis.hash,
                BlockExt(
                    total_difficulty=compact_to_difficulty(genesis.header.compact_target),
                    total_uncles_count=0,
                    received_at=genesis.header.timestamp,
                    txs_fees=[],
                    verified_flag=VALID,
                    cycles=[],
                    txs_sizes=[],
                ),
            )
            txn.attach_block(genesis, nodes_of_block(txn, genesis.header)[1])
            txn.put_spec_hash(spec_hash)
            txn.commit()


def _switch(txn: ChainTxn, block: Block, attach: Attach) -> _Switch:
    """Make `block` the tip: detach down to the common ancestor, attach the branch. One block at a time is in memory."""
    old_tip = txn.tip_header()
    branch, parent_hash = [block.hash], block.parent_hash
    while not txn.is_main(parent_hash):
        branch.append(parent_hash)
        parent_hash = require(txn.header(parent_hash), "header", parent_hash).parent_hash
    detached = _detach_to(txn, parent_hash)
    branch.reverse()
    attach(txn, branch, lambda block_hash: block if block_hash == block.hash else _stored(txn, block_hash))
    return _Switch(old_tip, detached, branch)


def _detach_to(txn: ChainTxn, ancestor_hash: bytes) -> list[bytes]:
    """Make an ancestor of the tip the tip; hashes of the blocks above it, newest first."""
    detached = []
    while (tip_hash := txn.tip_header().hash) != ancestor_hash:
        txn.detach_block(_stored(txn, tip_hash))
        detached.append(tip_hash)
    return detached


def _attach_unverified(txn: ChainTxn, blocks: Sequence[bytes], load: Callable[[bytes], Block]) -> None:
    """Nobody knows what the transactions paid and took, so nobody is paid for them."""
    for block in map(load, blocks):
        ext = require(txn.block_ext(block.hash), "block ext", block.hash)
        if ext.verified is not True:
            txn.insert_ext(block.hash, ext.replace(verified_flag=VALID))
        txn.attach_block(block, nodes_of_block(txn, block.header)[1])


def _stored(txn: ChainTxn, block_hash: bytes) -> Block:
    return require(txn.block(block_hash), "block", block_hash)
