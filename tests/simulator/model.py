"""What a node must do with blocks in some order: fork choice, orphans and marks over plain sets, no database."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ckb_node.chain.errors import ForeignGenesisError, InvalidBranchError, InvalidParentError, KnownInvalidBlockError
from ckb_node.chain.orphans import EXPIRE_EPOCHS
from consensus.errors import CkbError
from consensus.rules.block import BodyMismatchError
from consensus.rules.header import TemporaryHeaderError
from consensus.types.core import EpochFraction
from tests.simulator.grow import Sample
from tests.simulator.state import State

__all__ = ["Model"]


@dataclass
class Model:
    """`tip` is what the node must have as tip, `stored` all blocks that it must keep, by hash, genesis included;
    of those that are `invalid` it keeps that alone."""

    genesis: State
    tip: State = field(init=False)
    stored: dict[bytes, Sample] = field(init=False)
    verified: set[bytes] = field(init=False)
    invalid: set[bytes] = field(default_factory=set)
    waiting: dict[bytes, Sample] = field(default_factory=dict)
    """Orphans by hash, in order of arrival."""
    highest_epoch: int = 0
    is_late: bool = False
    """The time of blocks from the future has come."""

    def __post_init__(self) -> None:
        self.tip = self.genesis
        self.stored = {self.genesis.hash: Sample(self.genesis.tip, self.genesis)}
        self.verified = {self.genesis.hash}

    def deliver(self, sample: Sample) -> str:
        """What the node must answer: a verdict's name, or that of an error's class."""
        answer = self._take(sample)
        if answer in ("BEST", "SIDE"):
            ready = deque(self._children(sample))
            while ready:
                orphan = ready.popleft()
                if self._take(orphan) in ("BEST", "SIDE"):
                    ready += self._children(orphan)
        return answer

    def restart(self) -> None:
        """Orphans are in memory only."""
        self.waiting.clear()
        self.highest_epoch = 0

    def truncate(self, to: State) -> None:
        """Cut the main chain back to one of its blocks; all that stands on it is forgotten, orphans above it too."""
        above = {block_hash for block_hash, sample in self.stored.items() if self._stands_on(sample, to.hash)}
        for block_hash in above:
            del self.stored[block_hash]
        self.verified -= above
        self.tip = to
        self.waiting = {each: sample for each, sample in self.waiting.items() if sample.block.number <= to.tip.number}
        self.highest_epoch = EpochFraction.unpack(to.tip.header.epoch).number

    def _children(self, parent: Sample) -> list[Sample]:
        children = [each for each in self.waiting.values() if each.block.parent_hash == parent.block.hash]
        for child in children:
            del self.waiting[child.block.hash]
        return children

    def _take(self, sample: Sample) -> str:
        """One block, without the orphans that wait for it."""
        if self.is_late and sample.later is not None:
            sample = sample.later
        error = self._refusal(sample)
        if error is None:
            if sample.block.hash in self.stored:
                return "KNOWN"
            if sample.block.parent_hash not in self.stored:
                self.waiting.setdefault(sample.block.hash, sample)
                return "ORPHAN"
            error = self._store(sample)
        if error is None:
            return "BEST" if self.tip is sample.state else "SIDE"
        if not issubclass(error, (TemporaryHeaderError, BodyMismatchError)):
            self._drop_orphans_of(sample.block.hash)
        return error.__name__

    def _refusal(self, sample: Sample) -> type[CkbError] | None:
        """Why it is not even stored."""
        block = sample.block
        if block.hash in self.invalid:
            return KnownInvalidBlockError
        if block.hash in self.stored:
            return None
        if block.number == 0:
            return ForeignGenesisError
        if block.parent_hash in self.invalid:
            return InvalidParentError
        fault = sample.body
        if block.parent_hash in self.stored:
            fault = sample.header or sample.body
        return type(fault) if fault else None

    def _store(self, sample: Sample) -> type[CkbError] | None:
        """Store it, and switch to its branch if that is heavier and sound."""
        assert sample.state is not None
        self.stored[sample.block.hash] = sample
        if sample.state.total_difficulty > self.tip.total_difficulty:
            branch = [self.stored[state.hash] for state in sample.state.path]
            bad = next((each for each in branch if each.context), None)
            if bad is not None:
                fallen = {each for each, other in self.stored.items() if self._stands_on(other, bad.block.hash)}
                for block_hash in fallen | {bad.block.hash}:
                    del self.stored[block_hash]
                    self.invalid.add(block_hash)
                return type(sample.context) if bad is sample and sample.context else InvalidBranchError
            self.verified |= {each.block.hash for each in branch}
            self.tip = sample.state
        self._expire_orphans(EpochFraction.unpack(sample.block.header.epoch).number)
        return None

    def _stands_on(self, sample: Sample, block_hash: bytes) -> bool:
        state = sample.state
        return state is not None and state.hash != block_hash and block_hash in state.by_hash

    def _drop_orphans_of(self, block_hash: bytes) -> None:
        for child in [each for each in self.waiting.values() if each.block.parent_hash == block_hash]:
            if self.waiting.pop(child.block.hash, None) is not None:
                self._drop_orphans_of(child.block.hash)

    def _expire_orphans(self, epoch: int) -> None:
        if epoch <= self.highest_epoch:
            return
        self.highest_epoch = epoch
        for block_hash, each in list(self.waiting.items()):
            if EpochFraction.unpack(each.block.header.epoch).number + EXPIRE_EPOCHS < epoch:
                self.waiting.pop(block_hash, None)
                self._drop_orphans_of(block_hash)
