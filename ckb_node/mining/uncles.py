"""Stale blocks that a later block may embed (RFC 20): those that were best once, or lost the race."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.uncles import (
    verify_uncle_ancestry,
    verify_uncle_is_new,
    verify_uncle_place,
    verify_uncle_proposals,
)
from consensus.types.blockchain import Block, UncleBlock
from consensus.types.core import EpochExt

MAX_CANDIDATES = 128
MAX_PER_HEIGHT = 10


class CandidateUncles:
    """Blocks whose proof of work was verified. Bounded; low heights leave first: they will be too old first."""

    def __init__(self) -> None:
        self._by_height: dict[int, dict[bytes, UncleBlock]] = {}
        self._count = 0
        self.version = 0
        """Grows with every change."""

    def __len__(self) -> int:
        return self._count

    def add(self, block: Block) -> None:
        """Keep a block that is not on the main chain."""
        siblings = self._by_height.get(block.number, {})
        if block.hash in siblings or len(siblings) >= MAX_PER_HEIGHT:
            return
        if self._count >= MAX_CANDIDATES:
            lowest = min(self._by_height)
            if block.number <= lowest:
                return
            self._forget(lowest)
        uncle = UncleBlock(header=block.header, proposals=block.proposals)
        self._by_height.setdefault(block.number, {})[block.hash] = uncle
        self._count += 1
        self.version += 1

    def keep_only(self, is_stored: Callable[[bytes], bool]) -> None:
        """Drop candidates whose blocks are gone."""
        for uncle in self.lowest_first():
            if not is_stored(uncle.hash):
                self.drop(uncle)

    def forget_before(self, number: int) -> None:
        """Drop candidates below a height: their epoch is over."""
        for height in [height for height in self._by_height if height < number]:
            self._forget(height)

    def drop(self, uncle: UncleBlock) -> None:
        """No block may embed it, or its block is gone."""
        siblings = self._by_height.get(uncle.header.number, {})
        if siblings.pop(uncle.hash, None) is not None:
            self._count -= 1
            self.version += 1
            if not siblings:
                del self._by_height[uncle.header.number]

    def _forget(self, height: int) -> None:
        self._count -= len(self._by_height.pop(height))
        self.version += 1

    def lowest_first(self) -> list[UncleBlock]:
        """All candidates; an uncle's parent comes before it."""
        return [uncle for height in sorted(self._by_height) for uncle in self._by_height[height].values()]


def choose_uncles(
    consensus: Consensus, candidates: Iterable[UncleBlock], epoch: EpochExt, reader: ChainReader
) -> list[UncleBlock]:
    """Up to the allowed number of uncles that a block of `epoch` on the reader's tip may embed."""
    chosen: list[UncleBlock] = []
    numbers: dict[bytes, int] = {}
    for uncle in candidates:
        if len(chosen) == consensus.max_uncles:
            break
        try:
            verify_uncle_place(uncle.header, reader.tip_header().number + 1, epoch)
            verify_uncle_ancestry(uncle.header, numbers, reader)
            verify_uncle_is_new(uncle.hash, numbers, reader)
            verify_uncle_proposals(consensus, uncle)
        except CkbError:
            continue
        chosen.append(uncle)
        numbers[uncle.hash] = uncle.header.number
    return chosen
