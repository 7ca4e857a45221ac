"""Blocks that have come and are not taken yet, and the way of them to the writer: in the order of their branch, many at
a time while the node is far behind, single ones near the tip.

After a failure nothing is given until all that was given is answered; then the branches are read anew, and what is
still here is given again: no block is asked for a second time for a fault of another, of the disk, or of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from ckb_node.chain.events import Verdict
from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.branch import Branch
from ckb_node.sync.chain import BlockTaken, BulkTaken, SyncChain
from consensus.errors import CkbError
from consensus.rules.block import BodyMismatchError
from consensus.rules.header import TemporaryHeaderError
from consensus.types.blockchain import Block
from network.peer import Scheduler

__all__ = ["Feeder", "FeederOwner", "Received"]

_TAKEN: Final = (Verdict.BEST, Verdict.SIDE, Verdict.KNOWN)


@dataclass(slots=True)
class Received:
    """A block that was asked for, its size in bytes and who gave it."""

    block: Block
    size: int
    giver: int
    is_given: bool = False
    """The writer has it."""


class FeederOwner(Protocol):
    """What becomes of blocks."""

    def taken(self, branch: Branch, last: int) -> None:
        """Blocks of a branch are taken up to this height."""

    def misfit(self, received: Received) -> None:
        """The block is not the one that was asked for: its body is not its header's. It is forgotten here, with all
        that came of its giver."""

    def stopped(self) -> None:
        """Something failed, and all that was given is answered: the branches must be read anew."""


class Feeder:
    """`bytes` of what is here, with what the writer has."""

    def __init__(self, chain: SyncChain, scheduler: Scheduler, owner: FeederOwner) -> None:
        self._chain: Final = chain
        self._scheduler: Final = scheduler
        self._owner: Final = owner
        self._received: Final[dict[bytes, Received]] = {}
        self.bytes = 0
        self.taken = 0
        """Blocks that were taken so far."""
        self.fault: Exception | None = None
        """Of the disk or of ours: what was given since is not taken. None when it works."""
        self.retry_at = 0.0
        self._retry = limits.RETRY_SECONDS
        self.idle_since = scheduler.now()
        """When the writer had nothing to do any more, last."""
        self._outstanding = 0
        self._has_failed = False

    def __len__(self) -> int:
        return len(self._received)

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._received

    def find(self, block_hash: bytes) -> Block | None:
        """A block that is here."""
        received = self._received.get(block_hash)
        return None if received is None else received.block

    @property
    def is_busy(self) -> bool:
        """The writer has something to do."""
        return self._outstanding > 0

    def put(self, block: Block, size: int, giver: int) -> None:
        """A block that was asked for has come."""
        if block.hash not in self._received:
            self._received[block.hash] = Received(block, size, giver)
            self.bytes += size

    def drop(self, block_hash: bytes) -> None:
        """Forget a block."""
        received = self._received.pop(block_hash, None)
        if received is not None:
            self.bytes -= received.size

    def waiting(self) -> Iterator[Received]:
        """What is here and not given."""
        return iter([each for each in self._received.values() if not each.is_given])

    # --- giving ---

    def pump(self, branch: Branch, *, in_bulk: bool) -> None:
        """Give the writer what comes next of a branch, as much as it can have now."""
        if self._has_failed or self._scheduler.now() < self.retry_at:
            return
        if in_bulk:
            while self._outstanding < limits.MAX_RUNS and (run := self._next_run(branch)):
                self._give_run(branch, run)
        else:
            while self._outstanding < limits.MAX_ONLINE and (received := self._next(branch)) is not None:
                self._give_block(branch, received)

    def _next(self, branch: Branch) -> Received | None:
        """The next block to be given, which counts as given then; None when it is not here."""
        while (block_hash := branch.hash_at(branch.to_write)) is not None:
            received = self._received.get(block_hash)
            if received is None:
                return None
            branch.to_write += 1
            branch.moved_at = self._scheduler.now()
            if not received.is_given:
                received.is_given = True
                return received
        return None

    def _next_run(self, branch: Branch) -> list[Received]:
        run, size = list[Received](), 0
        while len(run) < limits.RUN_BLOCKS and size < limits.RUN_BYTES and (each := self._next(branch)) is not None:
            run.append(each)
            size += each.size
        return run

    def _give_run(self, branch: Branch, run: Sequence[Received]) -> None:
        self._outstanding += 1
        blocks, sources = [each.block for each in run], [each.giver for each in run]
        self._chain.take_in_bulk(blocks, partial(self._run_done, branch, run), sources)

    def _give_block(self, branch: Branch, received: Received) -> None:
        self._outstanding += 1
        self._chain.take_block(received.block, received.giver, partial(self._block_done, branch, received))

    # --- answers of the writer ---

    def _run_done(self, branch: Branch, run: Sequence[Received], outcome: BulkTaken) -> None:
        self._one_less()
        taken = run[: outcome.taken]
        for received in taken:
            self.drop(received.block.hash)
        self._note_taken(branch, taken)
        if outcome.fault is not None:
            self._failed(outcome.fault)
        elif outcome.error is not None:
            self._refused(run[outcome.taken], outcome.error)
        self._go_on()

    def _block_done(self, branch: Branch, received: Received, outcome: BlockTaken) -> None:
        self._one_less()
        if outcome.fault is not None:
            self._failed(outcome.fault)
        elif outcome.error is not None:
            self._refused(received, outcome.error)
        elif outcome.verdict in _TAKEN:
            self.drop(received.block.hash)
            self._note_taken(branch, [received])
        else:
            self._stop()  # an orphan: its parent was not taken
        self._go_on()

    def _one_less(self) -> None:
        self._outstanding -= 1
        self.idle_since = self._scheduler.now()

    def _note_taken(self, branch: Branch, taken: Sequence[Received]) -> None:
        if taken:
            self.fault, self._retry = None, limits.RETRY_SECONDS
            self.taken += len(taken)
            self._owner.taken(branch, taken[-1].block.number)

    def _refused(self, received: Received, error: CkbError) -> None:
        """A temporary error says nothing final of the block: it is given again later."""
        if isinstance(error, TemporaryHeaderError):
            self._stop()
            return
        self._has_failed = True
        self.drop(received.block.hash)
        if isinstance(error, BodyMismatchError):
            self._drop_of(received.giver)
            self._owner.misfit(received)

    def _drop_of(self, giver: int) -> None:
        """A liar: each other false body of it would stop the writer again."""
        for received in list(self._received.values()):
            if received.giver == giver:
                self.drop(received.block.hash)

    def _failed(self, fault: Exception) -> None:
        """Nobody's fault but ours: it is tried again, more and more seldom."""
        self.fault = fault
        self._stop()

    def _stop(self) -> None:
        """Go on after a while, unless that comes of a failure before it, whose time counts."""
        if self._has_failed:
            return
        self._has_failed = True
        self.retry_at = self._scheduler.now() + self._retry
        self._retry = min(2 * self._retry, limits.MAX_RETRY_SECONDS)

    def _go_on(self) -> None:
        if self._has_failed and not self._outstanding:
            self._has_failed = False
            for received in self._received.values():
                received.is_given = False
            self._owner.stopped()
