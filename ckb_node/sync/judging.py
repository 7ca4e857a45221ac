"""Batches of headers are judged one after the other, each while those before it are still being written.

Besides the rules of headers, a branch must have epochs that are as hard as any valid chain's, and it is written only
when it is worth it: see ckb_node.sync.headers.epochs and ckb_node.sync.headers.light.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from ckb_node.chain.errors import KnownInvalidBlockError
from ckb_node.sync.chain import KnownTip
from ckb_node.sync.headers.epochs import BranchEpochs
from ckb_node.sync.headers.light import LightBranches, is_light
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.fast.header_batch import (
    MAX_OVERLAY_HEADERS,
    HeadersJudged,
    NotContinuousError,
    verify_continuous,
    verify_headers,
)
from consensus.lookup import require
from consensus.params import Consensus
from consensus.types.blockchain import Header
from consensus.types.header_run import HeaderRun
from storage.chain_store import ChainView
from storage.schema import INVALID_SLOT

__all__ = ["HeaderJudge", "JudgeFull", "JudgedBatch"]


_NONE: Final = HeaderRun.of([])


class JudgeFull(Exception):  # noqa: N818 - the condition is its name
    """Too many headers are being written: the batch may be sent again later."""


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """The verdict on a batch, its valid headers that are to be written, and the last one that is known then.
    `again_from`: see ckb_node.sync.chain.HeadersTaken."""

    judged: HeadersJudged
    new: HeaderRun
    last: KnownTip | None
    again_from: bytes | None = None


class HeaderJudge:
    """`judge` is called in one thread, `note_written` in any."""

    def __init__(self, consensus: Consensus, now_ms: Callable[[], int], open_view: Callable[[], ChainView]) -> None:
        self._consensus: Final = consensus
        self._now_ms: Final = now_ms
        self._open_view: Final = open_view
        self._unwritten: Final = _Unwritten()
        self._written: Final[deque[HeaderRun]] = deque()
        self._best_unwritten: KnownTip | None = None
        self._epochs: Final = BranchEpochs(consensus)
        self._light: Final = LightBranches(consensus.median_time_block_count)

    def note_written(self, headers: HeaderRun) -> None:
        """The new headers of a batch are rows now, or could not be written."""
        self._written.append(headers)

    def judge(self, headers: Sequence[Header]) -> JudgedBatch:
        """Judge a batch. Raises JudgeFull, StorageError."""
        while self._written:  # before the view is opened, which then has them
            self._unwritten.drop(self._written.popleft())
        if not len(self._unwritten):
            self._best_unwritten = None
        run = HeaderRun.of(headers)
        try:
            verify_continuous(run)
        except NotContinuousError as error:
            return JudgedBatch(HeadersJudged(0, error), _NONE, None)
        if not run:
            return JudgedBatch(HeadersJudged(0), _NONE, None)
        with self._open_view() as view:
            return self._judge_on(_Known(view, self._unwritten, self._light), run)

    def _judge_on(self, known: _Known, headers: HeaderRun) -> JudgedBatch:
        count = known.count_of(headers)
        new = headers[count:]
        if len(new) + len(self._unwritten) > MAX_OVERLAY_HEADERS:
            raise JudgeFull
        shown = self._light.show(headers.parent_hashes[0])
        judged = self._verdict_on(known, new) if new else HeadersJudged(0)
        new = new[: judged.valid]
        judged = HeadersJudged(count + judged.valid, judged.error)
        if not new:
            return JudgedBatch(judged, _NONE, known.tip(headers.hashes[count - 1]) if count else None)
        if shown is not None:
            return self._weigh(known, shown, judged, new)
        return self._keep(known, judged, new, headers.parent_hashes[0])

    def _weigh(self, known: _Known, shown: KnownTip, judged: HeadersJudged, new: HeaderRun) -> JudgedBatch:
        """More of a branch that has had little work so far."""
        end = self._light.weigh(shown, new, shown.hash)
        again_from = None if is_light(end, self._best(known)) else self._light.prove(end)
        return JudgedBatch(judged, _NONE, None, again_from)

    def _keep(self, known: _Known, judged: HeadersJudged, new: HeaderRun, fork: bytes) -> JudgedBatch:
        """Headers on known ones: they are written, but for those at the end of a branch with little work."""
        parent = _require_tip(known, new.parent_hashes[0])
        works = _works_after(parent, new)
        kept = len(new)
        if is_light(KnownTip(new[-1], works[-1]), self._best(known)):
            kept = self._light.count_proven(new)
            if kept < len(new):
                self._light.weigh(KnownTip(new[kept - 1], works[kept - 1]) if kept else parent, new[kept:], fork)
        self._unwritten.add(new[:kept], works[:kept])
        last = KnownTip(new[kept - 1], works[kept - 1]) if kept else None
        best = self._best_unwritten
        if last is not None and (best is None or last.total_difficulty > best.total_difficulty):
            self._best_unwritten = last
        return JudgedBatch(judged, new[:kept], last)

    def _best(self, known: _Known) -> KnownTip:
        written, unwritten = known.best(), self._best_unwritten
        better = unwritten is not None and unwritten.total_difficulty > written.total_difficulty
        return unwritten if better and unwritten is not None else written

    def _verdict_on(self, known: _Known, new: HeaderRun) -> HeadersJudged:
        invalid = known.invalid()
        judged = verify_headers(self._consensus, new, known, self._now_ms(), invalid=invalid)
        if isinstance(invalid, _Invalid):
            for index, block_hash in enumerate(new.hashes[: judged.valid]):
                if block_hash in invalid:
                    judged = HeadersJudged(index, KnownInvalidBlockError(block_hash))
                    break
        if judged.valid:
            passed, error = self._epochs.verify(known.state, known, new[: judged.valid])
            if error is not None:
                return HeadersJudged(passed, error)
        return judged


def _require_tip(known: _Known, block_hash: bytes) -> KnownTip:
    """A header that is known, or shown of a branch that is weighed."""
    return require(known.tip(block_hash), "header", block_hash)


def _works_after(parent: KnownTip, headers: HeaderRun) -> list[int]:
    """The work of the branch up to each of some headers that stand on each other."""
    each = map(compact_to_difficulty, headers.compact_targets)
    return list(accumulate(each, initial=parent.total_difficulty))[1:]


class _Judged(NamedTuple):
    """A run that is being written, the work of its branch up to each header, and where in it each stands."""

    headers: HeaderRun
    works: Sequence[int]
    places: Mapping[bytes, int]


class _Unwritten:
    """Judged headers that are being written; at most MAX_OVERLAY_HEADERS. Without an object for each header."""

    def __init__(self) -> None:
        self._runs: Final[dict[bytes, _Judged]] = {}
        """By hash of the first header. There are a few, and no header is in two of them."""

    def __len__(self) -> int:
        return sum(len(run.headers) for run in self._runs.values())

    def header(self, block_hash: bytes) -> Header | None:
        for run in self._runs.values():
            if (at := run.places.get(block_hash)) is not None:
                return run.headers[at]
        return None

    def tip(self, block_hash: bytes) -> KnownTip | None:
        for run in self._runs.values():
            if (at := run.places.get(block_hash)) is not None:
                return KnownTip(run.headers[at], run.works[at])
        return None

    def add(self, headers: HeaderRun, works: Sequence[int]) -> None:
        if headers:
            places = dict(zip(headers.hashes, range(len(headers)), strict=True))
            self._runs[headers.hashes[0]] = _Judged(headers, works, places)

    def drop(self, headers: HeaderRun) -> None:
        if headers:
            self._runs.pop(headers.hashes[0], None)


class _Known:
    """Headers that are known: stored blocks, rows, and those that are being written."""

    def __init__(self, view: ChainView, unwritten: _Unwritten, light: LightBranches) -> None:
        self.state: Final = view
        self._headers: Final = view.known_headers()
        self._unwritten: Final = unwritten
        self._light: Final = light

    def header(self, block_hash: bytes) -> Header | None:
        """Also of the branch that is weighed."""
        found = self._unwritten.header(block_hash)
        return (self._headers.header(block_hash) or self._light.header(block_hash)) if found is None else found

    def best(self) -> KnownTip:
        """The written header with the most work."""
        best = self._headers.best_header()
        return KnownTip(best, self._headers.total_difficulty(best.hash) or 0)

    def tip(self, block_hash: bytes) -> KnownTip | None:
        """A known header with its work."""
        found = self._unwritten.tip(block_hash)
        if found is not None:
            return found
        header, work = self._headers.header(block_hash), self._headers.total_difficulty(block_hash)
        return None if header is None or work is None else KnownTip(header, work)

    def count_of(self, headers: HeaderRun) -> int:
        """How many of them are known: the first ones, since what stands below a known header is known."""
        low, high = 0, len(headers)
        if headers and self.header(headers.hashes[0]) is None:
            return 0
        while low < high:
            middle = (low + high) // 2
            if self.header(headers.hashes[middle]) is None:
                high = middle
            else:
                low = middle + 1
        return low

    def invalid(self) -> Container[bytes]:
        """Hashes of invalid blocks."""
        none = next(self.state.rows(INVALID_SLOT), None) is None
        return frozenset() if none else _Invalid(self.state)


class _Invalid:
    """Whether a block was found invalid; each is looked up once."""

    def __init__(self, view: ChainView) -> None:
        self._view: Final = view
        self._verdicts: Final[dict[object, bool]] = {}

    def __contains__(self, block_hash: object) -> bool:
        found = self._verdicts.get(block_hash)
        if found is None:
            ext = self._view.block_ext(block_hash) if isinstance(block_hash, bytes) else None
            found = self._verdicts[block_hash] = ext is not None and ext.verified is False
        return found
