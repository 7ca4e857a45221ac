"""The writer's bulk policy: blocks that continue the main chain are attached in groups, each group one atomic commit.

Syncing the disk once for hundreds of blocks is what makes import fast. Rules, what is stored and events are those of
single blocks (`ckb_node.chain.writer`); an event comes when the group is durable.

Three things run in parallel: this thread checks and attaches a block, the scripts of those before it run, and the group
before theirs is written to the disk. A group is saved only when all its scripts have passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NoReturn, Self

from ckb_node.chain.attach import (
    attach_block,
    place_after,
    place_of,
    store_block,
    stored_ext,
    write_ext,
    write_invalid,
)
from ckb_node.chain.checks import BlockCheck, CheckedBlock, InvalidOnChain, all_rules, scripts_later, scripts_trusted
from ckb_node.chain.errors import KnownInvalidBlockError
from ckb_node.chain.events import Source, Verdict
from ckb_node.chain.reorg import Switch
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification.script_queue import ScriptQueue
from consensus.errors import CkbError
from consensus.lookup import require
from consensus.rules.header import UnknownParentError
from consensus.types.blockchain import Block, Header
from consensus.types.core import BlockExt
from storage.chain_txn import ChainTxn


@dataclass(frozen=True, slots=True)
class BulkLimits:
    """A group is saved when one of these is reached; bodies in bytes."""

    blocks: int = 512
    body_bytes: int = 16 << 20
    seconds: float = 2.0


class RefusedBlockError(Exception):
    """A block breaks a rule; those before it stay, those after it are gone."""

    def __init__(self, block: Block, cause: CkbError) -> None:
        super().__init__(f"block {block.number} (0x{block.hash.hex()}) is invalid: {cause}")
        self.number, self.block_hash, self.cause = block.number, block.hash, cause


@dataclass(slots=True)
class PendingBlock:
    """An attached block whose group is not saved; `checked.scripts` is None when its scripts have passed."""

    block: Block
    checked: CheckedBlock
    received_at: int
    sources: Sequence[Source]


class AtomicSection:
    """A change of the database transaction that an error or Ctrl-C may interrupt: then it must not be committed."""

    is_whole = True

    def __enter__(self) -> None:
        self.is_whole = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.is_whole = True


class BulkImport:
    """Takes blocks one after the other. The end of the `with` commits the last group whatever the reason: what was
    attached so far is sound, unless it ends in the middle of a block; then the group is dropped.

    `process_branch` takes blocks off the main chain, one a commit; by default with all rules.
    """

    def __init__(
        self,
        writer: ChainWriter,
        check: BlockCheck,
        limits: BulkLimits | None = None,
        process_branch: Callable[[Block], Verdict] | None = None,
    ) -> None:
        self._writer: Final = writer
        self._check: Final = check
        self._limits: Final = limits or BulkLimits()
        self._process_branch: Final = process_branch
        self._queue: Final = ScriptQueue(writer.scripts)
        self._pending: list[PendingBlock] = []
        self._proven = 0
        self._unpublished: list[bytes] = []
        """Hashes of attached blocks that no event has named yet, lowest first."""
        self._txn: ChainTxn | None = None
        self._tip: Header | None = None
        self._section: Final = AtomicSection()
        self._blocks, self._bytes, self._since = 0, 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._section.is_whole:
                self.flush()
        finally:
            self._discard()

    def tip(self) -> Header:
        """The last block, committed or not."""
        if self._txn is not None:
            return self._txn.tip_header()
        if self._tip is None:
            with self._writer.store.view() as view:
                self._tip = view.tip_header()
        return self._tip

    def knows(self, block_hash: bytes) -> bool:
        """The block is stored, committed or not, or it was found invalid."""
        return self._ext(block_hash) is not None

    def _ext(self, block_hash: bytes) -> BlockExt | None:
        if self._txn is not None:
            return self._txn.block_ext(block_hash)
        with self._writer.store.view() as view:
            return view.block_ext(block_hash)

    def take(self, block: Block, source: Source | None = None) -> Verdict:
        """Attach a block that continues the main chain, or process one of a branch by itself, whose parent is stored.

        Raises RefusedBlockError as `add` does. A CkbError is of this block, which is not on the main chain
        (UnknownParentError, KnownInvalidBlockError among others); others may follow.
        """
        if block.parent_hash == self.tip().hash:
            self.add(block, source)
            return Verdict.BEST
        if (ext := self._ext(block.hash)) is not None:
            if ext.verified is False:
                error = KnownInvalidBlockError(block.hash)
                self._writer.publish_refusal(block, () if source is None else (source,), error)
                raise error
            return Verdict.KNOWN
        if not self.knows(block.parent_hash):
            raise UnknownParentError(block.parent_hash)
        self.flush()
        if self._process_branch is not None:
            return self._process_branch(block)
        return self._writer.process(block, source)

    def add(self, block: Block, source: Source | None = None) -> None:
        """Attach a block whose parent is the tip.

        Raises RefusedBlockError for this block or, when its scripts fail only now, one before it; StorageError.
        """
        txn = self._begun()
        received_at, sources = self._writer.now_ms(), () if source is None else (source,)
        try:
            checked = self._check(txn, block)
        except InvalidOnChain as invalid:
            self._settle(txn, to_end=True)
            self._write_invalid(txn, block, received_at)
            self._refuse(block, sources, invalid.cause)
        except CkbError as error:
            self._settle(txn, to_end=True)
            self._refuse(block, sources, error)
        pending = PendingBlock(block, checked, received_at, sources)
        with self._section:
            self._attach(txn, pending)
            self._pending.append(pending)
            self._unpublished.append(block.hash)
        if checked.scripts is not None:
            self._queue.put(txn, checked.scripts)
        if self._queue.is_busy:
            self._settle(txn, to_end=False)
        self._blocks, self._bytes = self._blocks + 1, self._bytes + len(block.raw)
        limits = self._limits
        if (
            self._blocks >= limits.blocks
            or self._bytes >= limits.body_bytes
            or time.monotonic() - self._since >= limits.seconds
        ):
            self._save(txn)

    def flush(self) -> None:
        """Make durable what was attached; other writers may write then. Raises as `add` does."""
        txn, self._tip = self._txn, None
        if txn is None:
            return
        try:
            self._settle(txn, to_end=True)
        finally:
            sound = self._drop_unproven(self._begun())
            self._txn = None
            sound.commit()
            self._writer.store.finish_header_cut()
            self._publish_durable()

    def _save(self, txn: ChainTxn) -> None:
        """As `flush`, but another thread writes the disk while the next group begins."""
        self._settle(txn, to_end=True)
        with self._section:
            txn.save()
            self._start_group()
        self._publish_durable()

    def _start_group(self) -> None:
        self._blocks, self._bytes, self._since = 0, 0, time.monotonic()
        self._pending, self._proven = [], 0

    def _begun(self) -> ChainTxn:
        if self._txn is None:
            self._txn, self._tip = self._writer.store.begin(), None
            self._start_group()
        return self._txn

    def _discard(self) -> None:
        self._queue.close()
        txn, self._txn, self._tip = self._txn, None, None
        if txn is not None:
            txn.discard()
        self._publish_durable()  # a group may have been saved meanwhile

    # Writes and events

    def _attach(self, txn: ChainTxn, pending: PendingBlock) -> None:
        block, checked = pending.block, pending.checked
        place = place_after(stored_ext(txn, block.parent_hash), block, pending.received_at)
        store_block(txn, block, checked.epoch, place, verified=True, facts=checked.facts)
        attach_block(txn, block)

    def _write_invalid(self, txn: ChainTxn, block: Block, received_at: int) -> None:
        with self._section:
            write_invalid(txn, block.header, place_after(stored_ext(txn, block.parent_hash), block, received_at))

    def _refuse(self, block: Block, sources: Sequence[Source], cause: CkbError) -> NoReturn:
        self._writer.publish_refusal(block, sources, cause)
        raise RefusedBlockError(block, cause) from cause

    def _publish_durable(self) -> None:
        """Tell of the blocks that have become durable since the last event."""
        if not self._unpublished:
            return
        with self._writer.store.view() as view:
            tip = view.tip_header()
            if tip.hash not in self._unpublished:
                return
            end = self._unpublished.index(tip.hash) + 1
            durable, self._unpublished = self._unpublished[:end], self._unpublished[end:]
            first = require(view.header(durable[0]), "header", durable[0])
            old_tip = require(view.header(first.parent_hash), "header", first.parent_hash)
        self._writer.publish_change(Switch(old_tip, (), durable), tip)

    # Scripts of the group

    def _settle(self, txn: ChainTxn, *, to_end: bool) -> None:
        """Note the cycles of blocks whose scripts have passed. When one failed the group ends before that block:
        RefusedBlockError."""
        try:
            for cycles in self._queue.passed(txn, to_end=to_end):
                pending = self._pending[self._first_unproven()]
                checked = pending.checked
                checked = CheckedBlock(checked.epoch, checked.facts._replace(cycles=cycles))
                place = place_of(stored_ext(txn, pending.block.hash))
                write_ext(txn, pending.block.hash, place, verified=True, facts=checked.facts)
                pending.checked = checked
        except CkbError as error:
            bad = self._pending[self._first_unproven()]
            self._write_invalid(self._drop_unproven(txn), bad.block, bad.received_at)
            self._refuse(bad.block, bad.sources, error)

    def _first_unproven(self) -> int:
        """Index of the first pending block whose scripts have not passed; the number of them when all have."""
        pending, at = self._pending, self._proven
        while at < len(pending) and pending[at].checked.scripts is None:
            at += 1
        self._proven = at
        return at

    def _drop_unproven(self, txn: ChainTxn) -> ChainTxn:
        """Go back to where all scripts have passed: begin the group anew and attach once more what is proven."""
        at = self._first_unproven()
        if at == len(self._pending):
            return txn
        proven = self._pending[:at]
        with self._section:
            txn.wait_saved()
            txn.discard()
            self._txn = None
            txn = self._begun()
            self._publish_durable()
            for pending in proven:
                self._attach(txn, pending)
            self._pending = proven
            self._unpublished = [pending.block.hash for pending in proven]
        return txn


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What became of blocks that were given together: `verdicts` are those of the first ones, which are taken. `error`
    is what the block `refused` breaks, the first of the others; nothing is known of those behind it."""

    verdicts: Sequence[Verdict]
    refused: Block | None = None
    error: CkbError | None = None


def take_in_bulk(writer: ChainWriter, blocks: Sequence[Block], source: Source | None = None) -> list[Verdict]:
    """Take blocks with all rules, scripts of assume-valid ancestors left out, and the orphans that waited for them.

    Raises RefusedBlockError, or the CkbError of a block off the main chain; those before it are taken.
    """
    try:
        with BulkImport(writer, check_as_configured(writer)) as bulk:
            return [bulk.take(block, source) for block in blocks]
    finally:
        _take_orphans(writer, blocks)


def take_run(writer: ChainWriter, blocks: Sequence[Block], sources: Sequence[Source | None]) -> BulkOutcome:
    """As `take_in_bulk`, with a source for each block; a refused block is told and not raised. StorageError."""
    verdicts: list[Verdict] = []
    try:
        with BulkImport(writer, check_as_configured(writer)) as bulk:
            for block, source in zip(blocks, sources, strict=True):
                try:
                    verdicts.append(bulk.take(block, source))
                except CkbError as error:
                    bulk.flush()
                    return BulkOutcome(verdicts, block, error)
        return BulkOutcome(verdicts)
    except RefusedBlockError as refused:
        at = next(at for at, block in enumerate(blocks) if block.hash == refused.block_hash)
        return BulkOutcome(verdicts[:at], blocks[at], refused.cause)
    finally:
        _take_orphans(writer, blocks)


def check_as_configured(writer: ChainWriter) -> BlockCheck:
    """All rules, but for the scripts of ancestors of an assume-valid target."""
    full = all_rules(writer.consensus, scripts_later, writer.now_ms)
    trusting = all_rules(writer.consensus, scripts_trusted, writer.now_ms)

    def check(txn: ChainTxn, block: Block) -> CheckedBlock:
        return (trusting if writer.assume_valid.trusts(block.header) else full)(txn, block)

    return check


def _take_orphans(writer: ChainWriter, blocks: Sequence[Block]) -> None:
    """Those that waited for one of these blocks, if it is stored now."""
    if not len(writer.orphans):
        return
    with writer.store.view() as view:
        stored = [block.hash for block in blocks if view.header(block.hash) is not None]
    for block_hash in stored:
        writer.process_orphans_after(block_hash)
