"""The one writer of the chain, and its online policy: each block that comes is a commit, orphans follow their parent.

Synchronous; runs in one thread. `ckb_node.chain.bulk` is the other policy: many blocks a commit, on the same writer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import structlog

from ckb_node.chain.admission import BlockStatus, epoch_after, status_of, verify_admission, verify_orphan
from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.attach import (
    NO_TRANSACTIONS,
    ChainTotals,
    attach_block,
    detach_to,
    place_after,
    place_of,
    store_block,
    stored_descendants,
    stored_ext,
    write_invalid,
)
from ckb_node.chain.errors import InvalidBranchError, InvalidParentError, KnownInvalidBlockError, TruncateError
from ckb_node.chain.events import (
    BlockDecided,
    BlockVerified,
    ChainChanged,
    ChainEvent,
    SideBlockStored,
    Source,
    StorageFailed,
    StoredBlocks,
    Verdict,
    WriterListener,
)
from ckb_node.chain.lost_headers import LostHeaders
from ckb_node.chain.orphans import Orphan, OrphanPool
from ckb_node.chain.reorg import BadBlock, BranchVerifier, Switch, is_heavier, switch_unverified
from ckb_node.chain.side_sources import SideSources
from ckb_node.verification.scripts import ScriptService
from ckb_node.verification.stopping import ScriptsStopped
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.errors import CkbError
from consensus.lookup import ChainDataError, require
from consensus.params import Consensus
from consensus.rules.block import BodyMismatchError
from consensus.rules.header import TemporaryHeaderError, UnknownParentError, verify_number
from consensus.types.blockchain import Block, Header
from consensus.types.core import epoch_number
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.errors import StorageError

log = structlog.get_logger("chain")

TRUNCATE_LIMIT = 50_000


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
        self._side_sources = SideSources()
        self._lost_headers = LostHeaders()
        self._orphans_seen_epoch = 0
        self._listeners: list[WriterListener] = []

    # ------------------------------------------------------------ events, of both policies

    def listen(self, listener: WriterListener) -> None:
        """Call `listener` in the writer's thread after each commit and refusal."""
        self._listeners.append(listener)

    def _publish(self, event: ChainEvent) -> None:
        for listener in self._listeners:
            listener(event)

    def publish_change(self, switch: Switch, tip: Header, block: Block | None = None) -> None:
        """Tell of a committed change of the tip. `block` is that of the new tip, where it is at hand."""
        self.assume_valid.note_stored(switch.attached)
        if self._listeners:
            attached = self._blocks(switch.attached) if block is None or len(switch.attached) > 1 else [block]
            self._publish(ChainChanged(switch.old_tip, tip, self._blocks(switch.detached), attached))

    def publish_refusal(self, block: Block, sources: Sequence[Source], error: CkbError) -> None:
        """Tell that a block breaks a rule. Orphans that wait for a block that can never be valid are refused too."""
        self._publish(BlockDecided(block, Verdict.REFUSED, sources, error))
        if isinstance(error, (TemporaryHeaderError, BodyMismatchError)):
            return
        for orphan in self.orphans.drop_descendants(block.hash):
            cause = InvalidParentError(orphan.block.parent_hash)
            self._publish(BlockDecided(orphan.block, Verdict.REFUSED, orphan.sources, cause))

    def _publish_dropped(self, orphans: Sequence[Orphan]) -> None:
        for orphan in orphans:
            self._publish(BlockDecided(orphan.block, Verdict.DROPPED, orphan.sources))

    def _blocks(self, hashes: Sequence[bytes]) -> Sequence[Block]:
        return StoredBlocks(self.store.view(), hashes) if hashes else ()

    # ------------------------------------------------------------ blocks from anywhere

    def process(self, block: Block, source: Source | None = None) -> Verdict:
        """Take a block, and the orphans that waited for it. Raises the error of the rule that the block breaks."""
        sources = () if source is None else (source,)
        try:
            verdict = self._process_one(block, sources)
        except CkbError as error:
            self.publish_refusal(block, sources, error)
            raise
        if verdict is not Verdict.ORPHAN:  # also for a known block: its orphans may be waiting since a storage error
            self.process_orphans_after(block.hash)
        return verdict

    def process_orphans_after(self, parent_hash: bytes) -> None:
        """Take the orphans that stand on a stored block. A node that stops leaves them.

        Their errors are not raised, since they are not the parent's: BlockDecided reports them with their sources.
        Orphans that cannot be decided now wait until the parent comes again.
        """
        ready = deque(self.orphans.take_children(parent_hash))
        while ready and not self.scripts.stop.is_set:
            block, sources = ready[0]
            try:
                verdict = self._process_one(block, sources)
            except CkbError as error:
                ready.popleft()
                log.warning("an orphan block was refused", hash=f"0x{block.hash.hex()}", reason=str(error))
                self.publish_refusal(block, sources, error)
            except ScriptsStopped:
                break
            except StorageError as error:
                self._publish(StorageFailed(error))
                break
            except ChainDataError as error:
                log.error("orphan blocks must wait", reason=str(error))  # noqa: TRY400 - the text says it all
                break
            except Exception:  # no room for a thread, no memory, a fault of ours
                log.exception("orphan blocks must wait")
                break
            else:
                ready.popleft()
                self._publish(BlockDecided(block, verdict, sources))
                ready += self.orphans.take_children(block.hash)
        for orphan in ready:
            self._publish_dropped(self.orphans.add(*orphan))

    def _process_one(self, block: Block, sources: Sequence[Source]) -> Verdict:
        with self.store.begin() as txn:
            standing = status_of(txn, block)
            if standing is BlockStatus.KNOWN:
                if stored_ext(txn, block.hash).verified is None:
                    self._side_sources.add(block, sources)
                return Verdict.KNOWN
            if standing is BlockStatus.ORPHAN:
                verify_orphan(self.consensus, block)
                self._publish_dropped(self.orphans.add(block, sources))
                return Verdict.ORPHAN
            epoch = verify_admission(self.consensus, txn, block, self.now_ms())
            place = place_after(stored_ext(txn, block.parent_hash), block, self.now_ms())
            ext = store_block(txn, block, epoch, place)
            try:
                switch = self._verifier.switch_to(txn, block) if is_heavier(txn, ext) else None
            except BadBlock as bad:
                failure = bad
            else:
                if switch is not None:
                    self._publish(BlockVerified(block))
                txn.commit()
                self._expire_orphans(epoch_number(block.header.epoch))
                self._note_side_sources(block, sources, switch)
                return self._publish_stored(block, switch)
        if failure.block_hash == block.hash:
            self._write_invalid(block.header, place)
            raise failure.cause
        self._refuse_stored(failure)
        self._write_invalid(block.header, place)
        raise InvalidBranchError(failure.block_hash, failure.cause)

    def store_headers(self, headers: Sequence[Header]) -> None:
        """Keep valid headers whose blocks have not come: each stands on the one before, the first on a known one.

        They survive the death of the process; after a power cut the last ones may have to be asked for again.
        ValueError when the parent of the first is unknown.
        """
        with self.store.begin() as txn:
            txn.header_rows.insert(headers)
            txn.commit(sync=False)

    def _publish_stored(self, block: Block, switch: Switch | None) -> Verdict:
        """Tell of a block that was committed; without a `switch` it is on a side branch."""
        if switch is None:
            self._publish(SideBlockStored(block))
            return Verdict.SIDE
        self.publish_change(switch, block.header, block)
        self._lost_headers.look(self.store, block.header, self.now_ms())
        return Verdict.BEST

    def _expire_orphans(self, epoch: int) -> None:
        if epoch > self._orphans_seen_epoch:
            self._orphans_seen_epoch = epoch
            self._publish_dropped(self.orphans.expire(epoch))

    def note_side_source(self, block: Block, source: Source) -> None:
        """Remember one more giver of a stored block; it is told at once if the block has become invalid meanwhile."""
        with self.store.view() as view:
            ext = view.block_ext(block.hash)
        if ext is not None and ext.verified is None:
            self._side_sources.add(block, (source,))
        elif ext is not None and ext.verified is False:
            self.publish_refusal(block, (source,), KnownInvalidBlockError(block.hash))

    def _note_side_sources(self, block: Block, sources: Sequence[Source], switch: Switch | None) -> None:
        """Of a side block that was stored, or of a branch that is verified now."""
        if switch is None:
            self._side_sources.add(block, sources)
            return
        for block_hash in switch.attached:
            self._side_sources.take(block_hash)

    def _write_invalid(self, header: Header, place: ChainTotals) -> None:
        with self.store.begin() as txn:
            write_invalid(txn, header, place)
            txn.commit()
        self.store.finish_header_cut()

    def _refuse_stored(self, failure: BadBlock) -> None:
        """Of a stored side block that turned out to be invalid, and all that stand on it: tell whoever gave them."""
        with self.store.view() as before:  # still knows the bodies that are forgotten below
            bad_hash = failure.block_hash
            bad = require(before.header(bad_hash), "header", bad_hash)
            above = stored_descendants(before, bad)
            self._write_invalid(bad, place_of(stored_ext(before, bad_hash)))
            self.publish_refusal(_stored(before, bad_hash), self._side_sources.take(bad_hash), failure.cause)
            for header in above:
                if sources := self._side_sources.take(header.hash):
                    error = InvalidParentError(header.parent_hash)
                    self.publish_refusal(_stored(before, header.hash), sources, error)

    # ------------------------------------------------------------ by hand (IntegrationTest)

    def process_unverified(self, block: Block) -> Verdict:
        """Store a block, and attach it if its branch is the heaviest, with every rule skipped.

        Raises UnknownParentError, or NumberError: what has no place in the chain cannot be stored.
        """
        with self.store.begin() as txn:
            if txn.header(block.hash) is not None:  # of one that was found invalid only the hash is known
                return Verdict.KNOWN
            parent = txn.header(block.parent_hash)
            if parent is None:
                raise UnknownParentError(block.parent_hash)
            verify_number(block.header, parent)
            place = place_after(stored_ext(txn, parent.hash), block, self.now_ms())
            ext = store_block(txn, block, epoch_after(self.consensus, txn, parent), place)
            switch = switch_unverified(txn, block) if is_heavier(txn, ext) else None
            txn.commit()
        verdict = self._publish_stored(block, switch)
        self.process_orphans_after(block.hash)
        return verdict

    def truncate(self, block_hash: bytes) -> None:
        """Make a main-chain block the tip again and forget all blocks that came after it, on whatever branch.

        It is told even if that block is the tip: the pool is cleared, as after every cut.
        """
        with self.store.begin() as txn:
            target, old_tip = txn.header(block_hash), txn.tip_header()
            if target is None or not txn.is_main(block_hash):
                raise TruncateError(f"block 0x{block_hash.hex()} is not on the main chain")
            if old_tip.number - target.number > TRUNCATE_LIMIT:
                raise TruncateError(f"more than {TRUNCATE_LIMIT} blocks would have to go")
            above = stored_descendants(txn, target)
            before = self.store.view()  # still knows the blocks that are forgotten below
            detached = detach_to(txn, block_hash)
            for header in above:
                txn.delete_block(header)
            txn.commit()
        self.store.finish_header_cut()
        self._publish_dropped(self.orphans.drop_above(target.number))
        self._orphans_seen_epoch = epoch_number(target.epoch)
        self._publish(ChainChanged(old_tip, target, StoredBlocks(before, detached), [], is_cut=True))

    def start(self, spec_hash: bytes) -> None:
        """Put the genesis block into an empty store."""
        with self.store.begin() as txn:
            if not txn.is_empty():
                return
            genesis = self.consensus.genesis_block
            place = ChainTotals(compact_to_difficulty(genesis.header.compact_target), 0, genesis.header.timestamp)
            store_block(txn, genesis, self.consensus.genesis_epoch, place, verified=True, facts=NO_TRANSACTIONS)
            attach_block(txn, genesis)
            txn.put_spec_hash(spec_hash)
            txn.commit()


def _stored(state: ChainState, block_hash: bytes) -> Block:
    return require(state.block(block_hash), "block", block_hash)
