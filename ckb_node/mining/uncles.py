"""Stale blocks that a later block may embed (RFC 20): those that were best once, or lost the race."""

from __future__ import annotations

from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.types.blockchain import Block, UncleBlock
from consensus.types.core import EpochExt
from consensus.uncles import verify_uncles

MAX_CANDIDATES = 128
MAX_PER_HEIGHT = 10


class CandidateUncles:
    """Bounded; the lowest heights leave first, for only blocks of the same epoch can be uncles."""

    def __init__(self) -> None:
        self._by_height: dict[int, dict[bytes, UncleBlock]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, block: Block) -> None:
        """Keep a block that is not on the main chain."""
        siblings = self._by_height.setdefault(block.number, {})
        if block.hash in siblings or len(siblings) >= MAX_PER_HEIGHT:
            return
        siblings[block.hash] = UncleBlock(header=block.header, proposals=block.proposals)
        self._count += 1
        while self._count > MAX_CANDIDATES:
            self._count -= len(self._by_height.pop(min(self._by_height)))

    def forget_before(self, number: int) -> None:
        """Drop candidates below a height: their epoch is over."""
        for height in [height for height in self._by_height if height < number]:
            self._count -= len(self._by_height.pop(height))

    def choose(self, consensus: Consensus, nephew: Block, epoch: EpochExt, reader: ChainReader) -> list[UncleBlock]:
        """Up to the allowed number of uncles that `nephew`, a block of `epoch` on the reader's tip, may embed."""
        chosen: list[UncleBlock] = []
        for height in sorted(self._by_height):
            for uncle in self._by_height[height].values():
                if len(chosen) == consensus.max_uncles:
                    return chosen
                if reader.is_main(uncle.hash):
                    continue
                try:
                    verify_uncles(consensus, nephew.replace(uncles=[*chosen, uncle]), epoch, reader)
                except CkbError:
                    continue
                chosen.append(uncle)
        return chosen
