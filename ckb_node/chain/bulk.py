"""Blocks in bulk: those that continue the main chain are attached in groups, each group one atomic commit.

Syncing the disk once for hundreds of blocks is what makes import fast. Nobody is told of the change: this is for
commands that have the database to themselves.

Three things go on side by side: this thread checks and attaches a block, the scripts of those before it run, and the
group before theirs is written to the disk. A group is saved only when all its scripts have passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from ckb_node.chain.attaching import attach_checked, note_cycles, note_invalid
from ckb_node.chain.checks import BlockCheck, CheckedBlock, InvalidOnChain
from ckb_node.verification.script_queue import ScriptQueue
from ckb_node.verification.scripts import ScriptService
from consensus.errors import CkbError
from consensus.fast.mmr import nodes_of_next
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainStore
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
    """An attached block of a group whose scripts are run; `checked.scripts` is None when they have passed."""

    block: Block
    checked: CheckedBlock
    received_at: int


class AtomicSection:
    """Whatever cuts its `with` short, an error or Ctrl-C, leaves a transaction that must not be committed."""

    is_whole = True

    def __enter__(self) -> None:
        self.is_whole = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.is_whole = True


class BulkImport:
    """Attaches blocks one after the other. The end of the `with` commits the last group whatever the reason: what was
    attached so far is sound, unless it ends in the middle of a block; then the group is dropped.

    `scripts` run what the check leaves to be run later; without it there must be nothing such.
    """

    def __init__(
        self,
        store: ChainStore,
        check: BlockCheck,
        now_ms: Callable[[], int],
        limits: BulkLimits | None = None,
        scripts: ScriptService | None = None,
    ) -> None:
        self._store: Final = store
        self._check: Final = check
        self._now_ms: Final = now_ms
        self._limits: Final = limits or BulkLimits()
        self._queue: Final = None if scripts is None else ScriptQueue(scripts)
        self._members: list[PendingBlock] = []
        self._proven = 0
        self._txn: ChainTxn | None = None
        self._tip: Header | None = None
        self._piece: Final = AtomicSection()
        self._blocks, self._bytes, self._since = 0, 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._piece.is_whole:
                self.flush()
        finally:
            self._discard()

    def tip(self) -> Header:
        """The last block, committed or not."""
        if self._txn is not None:
            return self._txn.tip_header()
        if self._tip is None:
            with self._store.view() as view:
                self._tip = view.tip_header()
        return self._tip

    def knows(self, block_hash: bytes) -> bool:
        """The block is stored, committed or not."""
        if self._txn is not None:
            return self._txn.block_ext(block_hash) is not None
        with self._store.view() as view:
            return view.block_ext(block_hash) is not None

    def add(self, block: Block) -> None:
        """Attach a block whose parent is the tip.

        Raises RefusedBlockError for this block or, when its scripts fail only now, one before it; StorageError.
        """
        txn = self._begun()
        try:
            checked = self._check(txn, block)
            mmr_nodes = nodes_of_next(txn, block.header)
        except InvalidOnChain as invalid:
            self._settle(txn, to_end=True)
            with self._piece:
                note_invalid(txn, block, self._now_ms())
            raise RefusedBlockError(block, invalid.cause) from invalid.cause
        except CkbError as error:
            self._settle(txn, to_end=True)
            raise RefusedBlockError(block, error) from error
        member = PendingBlock(block, checked, self._now_ms())
        with self._piece:
            attach_checked(txn, block, checked, mmr_nodes, member.received_at)
            self._members.append(member)
        self._have_scripts_run(txn, member)
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

    def _save(self, txn: ChainTxn) -> None:
        """As `flush`, but the disk is written beside what comes next."""
        self._settle(txn, to_end=True)
        with self._piece:
            txn.save()
            self._start_group()

    def _start_group(self) -> None:
        self._blocks, self._bytes, self._since = 0, 0, time.monotonic()
        self._members, self._proven = [], 0

    def _begun(self) -> ChainTxn:
        if self._txn is None:
            self._txn, self._tip = self._store.begin(), None
            self._start_group()
        return self._txn

    def _discard(self) -> None:
        if self._queue is not None:
            self._queue.close()
        txn, self._txn, self._tip = self._txn, None, None
        if txn is not None:
            txn.discard()

    # Scripts of the group

    def _have_scripts_run(self, txn: ChainTxn, member: PendingBlock) -> None:
        scripts = member.checked.scripts
        if self._queue is None:
            if scripts is not None:
                raise ValueError("there is nobody to run the scripts")
            return
        if scripts is not None:
            self._queue.put(txn, scripts)
        self._settle(txn, to_end=False)

    def _settle(self, txn: ChainTxn, *, to_end: bool) -> None:
        """Note the cycles of blocks whose scripts have passed. When one failed the group ends before that block:
        RefusedBlockError."""
        if self._queue is None:
            return
        try:
            for cycles in self._queue.passed(txn, to_end=to_end):
                member = self._members[self._first_unproven()]
                checked = member.checked._replace(cycles=cycles, scripts=None)
                note_cycles(txn, member.block, checked)
                member.checked = checked
        except CkbError as error:
            bad = self._members[self._first_unproven()]
            sound = self._drop_unproven(txn)
            with self._piece:
                note_invalid(sound, bad.block, bad.received_at)
            raise RefusedBlockError(bad.block, error) from error

    def _first_unproven(self) -> int:
        """Index of the first member whose scripts have not passed; the number of members when all have."""
        members, at = self._members, self._proven
        while at < len(members) and members[at].checked.scripts is None:
            at += 1
        self._proven = at
        return at

    def _drop_unproven(self, txn: ChainTxn) -> ChainTxn:
        """Go back to where all scripts have passed: begin the group anew and attach once more what is proven."""
        at = self._first_unproven()
        if at == len(self._members):
            return txn
        proven = self._members[:at]
        with self._piece:
            txn.wait_saved()
            txn.discard()
            self._txn = None
            txn = self._begun()
            for member in proven:
                mmr_nodes = nodes_of_next(txn, member.block.header)
                attach_checked(txn, member.block, member.checked, mmr_nodes, member.received_at)
            self._members = proven
        return txn
