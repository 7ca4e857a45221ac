"""Blocks that miners of this node found, and what became of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ckb_node.stratum.limits import FOUND_BLOCKS
from consensus.types.blockchain import Header


class Outcome(Enum):
    """What became of a block."""

    UNDER_WAY = "under way"
    MAIN = "main"
    UNCLE = "uncle"
    ORPHANED = "orphaned"
    REFUSED = "refused"


class FoundReader(Protocol):
    """What is asked of the chain."""

    def is_main(self, block_hash: bytes) -> bool: ...

    def uncle(self, uncle_hash: bytes) -> Header | None: ...


@dataclass(slots=True)
class FoundBlock:
    """`time_ms`: when the share came. `error`: the rule that it breaks."""

    number: int
    hash: bytes
    worker: str
    time_ms: int
    is_taken: bool = False
    error: str | None = None

    def outcome(self, reader: FoundReader) -> Outcome:
        """Now: a block that is orphaned may still become an uncle."""
        if self.error is not None:
            return Outcome.REFUSED
        if not self.is_taken:
            return Outcome.UNDER_WAY
        if reader.is_main(self.hash):
            return Outcome.MAIN
        return Outcome.ORPHANED if reader.uncle(self.hash) is None else Outcome.UNCLE


class FoundBlocks:
    """The last ones."""

    def __init__(self) -> None:
        self._blocks: Final[deque[FoundBlock]] = deque(maxlen=FOUND_BLOCKS)
        self.total = self.refused = 0

    def add(self, block: FoundBlock) -> None:
        self._blocks.append(block)
        self.total += 1

    def newest_first(self) -> Iterable[FoundBlock]:
        return reversed(self._blocks)

    def outcomes(self, reader: FoundReader) -> Mapping[Outcome, int]:
        """Of those that are remembered."""
        counts = dict.fromkeys(Outcome, 0)
        for each in self._blocks:
            counts[each.outcome(reader)] += 1
        return counts
