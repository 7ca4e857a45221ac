"""Batches of headers are judged one after the other, each while those before it are still being written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Final

from ckb_node.chain.errors import KnownInvalidBlockError
from ckb_node.sync.chain import KnownTip
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.fast.header_batch import (
    MAX_OVERLAY_HEADERS,
    HeadersJudged,
    NotContinuousError,
    verify_continuous,
    verify_headers,
)
from consensus.params import Consensus
from consensus.types.blockchain import Header
from storage.chain_store import ChainView
from storage.schema import INVALID_SLOT

__all__ = ["HeaderJudge", "JudgeFull", "JudgedBatch"]


class JudgeFull(Exception):  # noqa: N818 - the condition is its name
    """Too many headers are being written: the batch may be sent again later."""


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """The verdict on a batch, its valid headers that were not known before, and its last valid one."""

    judged: HeadersJudged
    new: Sequence[Header]
    last: KnownTip | None


class HeaderJudge:
    """`judge` is called in one thread, `note_written` in any."""

    def __init__(self, consensus: Consensus, now_ms: Callable[[], int], open_view: Callable[[], ChainView]) -> None:
        self._consensus: Final = consensus
        self._now_ms: Final = now_ms
        self._open_view: Final = open_view
        self._unwritten: Final[dict[bytes, KnownTip]] = {}
        """Judged headers that are being written; at most MAX_OVERLAY_HEADERS."""
        self._written: Final[deque[Sequence[Header]]] = deque()

    def note_written(self, headers: Sequence[Header]) -> None:
        """The new headers of a batch are rows now, or could not be written."""
        self._written.append(headers)

    def judge(self, headers: Sequence[Header]) -> JudgedBatch:
        """Judge a batch. Raises JudgeFull, StorageError."""
        while self._written:  # before the view is opened, which then has them
            for header in self._written.popleft():
                self._unwritten.pop(header.hash, None)
        try:
            verify_continuous(headers)
        except NotContinuousError as error:
            return JudgedBatch(HeadersJudged(0, error), (), None)
        with self._open_view() as view:
            return self._judge_on(_Known(view, self._unwritten), headers)

    def _judge_on(self, known: _Known, headers: Sequence[Header]) -> JudgedBatch:
        count = known.count_of(headers)
        new = headers[count:]
        if len(new) + len(self._unwritten) > MAX_OVERLAY_HEADERS:
            raise JudgeFull
        judged = self._verdict_on(known, new) if new else HeadersJudged(0)
        new = new[: judged.valid]
        tip = known.tip(headers[count - 1].hash if count else headers[0].parent_hash) if headers else None
        for header in new:
            work = compact_to_difficulty(header.compact_target) + (0 if tip is None else tip.total_difficulty)
            tip = self._unwritten[header.hash] = KnownTip(header, work)
        last = tip if count or new else None
        return JudgedBatch(HeadersJudged(count + judged.valid, judged.error), new, last)

    def _verdict_on(self, known: _Known, new: Sequence[Header]) -> HeadersJudged:
        invalid = known.invalid()
        judged = verify_headers(self._consensus, new, known, self._now_ms(), invalid=invalid)
        if isinstance(invalid, _Invalid):
            for index, header in enumerate(new[: judged.valid]):
                if header.hash in invalid:
                    return HeadersJudged(index, KnownInvalidBlockError(header.hash))
        return judged


class _Known:
    """Headers that are known: stored blocks, rows, and those that are being written."""

    def __init__(self, view: ChainView, unwritten: dict[bytes, KnownTip]) -> None:
        self._view: Final = view
        self._headers: Final = view.known_headers()
        self._unwritten: Final = unwritten

    def header(self, block_hash: bytes) -> Header | None:
        found = self._unwritten.get(block_hash)
        return self._headers.header(block_hash) if found is None else found.header

    def tip(self, block_hash: bytes) -> KnownTip | None:
        """A known header with its work."""
        found = self._unwritten.get(block_hash)
        if found is not None:
            return found
        header, work = self._headers.header(block_hash), self._headers.total_difficulty(block_hash)
        return None if header is None or work is None else KnownTip(header, work)

    def count_of(self, headers: Sequence[Header]) -> int:
        """How many of them are known: the first ones, since what stands below a known header is known."""
        low, high = 0, len(headers)
        if headers and self.header(headers[0].hash) is None:
            return 0
        while low < high:
            middle = (low + high) // 2
            if self.header(headers[middle].hash) is None:
                high = middle
            else:
                low = middle + 1
        return low

    def invalid(self) -> Container[bytes]:
        """Hashes of invalid blocks."""
        none = next(self._view.rows(INVALID_SLOT), None) is None
        return frozenset() if none else _Invalid(self._view)


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
