"""Branches of headers with less work than the best one: they are weighed, and fetched once more when they turn out to
be heavier. So a branch that is worth nothing never reaches the disk, however long it is, and one that is worth more
is never refused.

Of a branch that is weighed only its last headers are kept, which the rules for the next ones want, and the hash of the
last header of each batch. When it has more work than the best header, these hashes are what is expected of it: headers
that lead to one of them are written when they come again, though they alone have little work yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.chain import KnownTip
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.types.blockchain import Header
from consensus.types.header_run import HeaderRun

__all__ = ["LightBranches", "is_light"]

SLACK_BLOCKS: Final = 1000
"""A branch that lacks no more than the work of so many of the best header's blocks is written: near the tip two
branches are often as good as each other."""
MAX_BRANCHES: Final = 64
"""That are weighed; each has some 40 headers and a hash for 2000 others. Of more, the one that grew the longest ago is
weighed anew when it comes again."""
MAX_PROVEN: Final = 100_000
"""Hashes of heavy branches that are to be fetched again: of 200 million headers."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """`last`: enough headers for the rules of the next one. `fork`: hash of the known header that the first batch stood
    on; asked from there, the peer sends the same batches again. `ends`: the last hash of each."""

    tip: KnownTip
    last: tuple[Header, ...]
    fork: bytes
    ends: list[bytes]


class LightBranches:
    """One thread. `context`: headers that the rules want of a branch."""

    def __init__(self, context: int) -> None:
        self._context: Final = context
        self._branches: Final[BoundedMap[bytes, _Branch]] = BoundedMap(max_count=MAX_BRANCHES)
        """By hash of the last header."""
        self._proven: Final[BoundedMap[bytes, None]] = BoundedMap(max_count=MAX_PROVEN)
        self._shown: _Branch | None = None

    def __len__(self) -> int:
        return len(self._branches)

    def show(self, parent_hash: bytes) -> KnownTip | None:
        """The header on which a batch stands, if it is the last one of a branch that is weighed. `header` shows those
        before it, too, until the next call."""
        self._shown = self._branches.get(parent_hash)
        return None if self._shown is None else self._shown.tip

    def header(self, block_hash: bytes) -> Header | None:
        """Of the branch that is shown."""
        if self._shown is None:
            return None
        return next((each for each in reversed(self._shown.last) if each.hash == block_hash), None)

    def count_proven(self, headers: HeaderRun) -> int:
        """How many of them are known to belong to a branch that was found to be heavy."""
        if not len(self._proven):
            return 0
        return next((at for at in range(len(headers), 0, -1) if headers.hashes[at - 1] in self._proven), 0)

    def weigh(self, parent: KnownTip, headers: HeaderRun, fork: bytes) -> KnownTip:
        """Headers that stand on a header that is known or shown: the last one with its work. `fork`: on what their
        batch stands."""
        before = self._branches.pop(parent.hash)
        if before is None:
            before = _Branch(parent, (), fork, [])
        work = parent.total_difficulty + sum(map(compact_to_difficulty, headers.compact_targets))
        tip = KnownTip(headers[-1], work)
        last = (*before.last, *headers[-self._context :])[-self._context :]
        self._branches.put(tip.hash, _Branch(tip, last, before.fork, [*before.ends, tip.hash]))
        return tip

    def prove(self, tip: KnownTip) -> bytes | None:
        """A branch that is weighed has become heavy: the hash of the known header from which on it is to be fetched
        again; None when it is not weighed."""
        branch = self._branches.pop(tip.hash)
        if branch is None:
            return None
        for end in branch.ends:
            self._proven.put(end, None)
        return branch.fork


def is_light(tip: KnownTip, best: KnownTip) -> bool:
    """A branch that ends in `tip` is not worth its place on the disk, as long as it does not grow."""
    return (
        tip.total_difficulty + SLACK_BLOCKS * compact_to_difficulty(best.header.compact_target) < best.total_difficulty
    )
