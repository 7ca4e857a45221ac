"""Headers in bulk, as peers send them during header sync (RFC 4, RFC 20): each stands on the one before.

What is checked, and in what order, is what the reference's header sync checks: continuity of the whole batch, then of
each header whether its parent is invalid, proof of work, number, epoch field, time, version. Neither the difficulty of
an epoch nor its length is: they are rules of the block, when its parent's state is known.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from operator import gt, sub
from typing import Final

from consensus.context import HeaderProvider
from consensus.errors import CkbError, HeaderError
from consensus.params import BLOCK_VERSION, Consensus
from consensus.rules.header import (
    BlockTimeTooNewError,
    UnknownParentError,
    ancestor_timestamps,
    verify_after_median,
    verify_epoch_continuity,
    verify_not_in_future,
    verify_number,
    verify_version,
)
from consensus.rules.pow import PowError, first_without_work
from consensus.types.blockchain import Header
from consensus.types.core import EPOCH_STEP, GENESIS_EPOCH, EpochFraction, epoch_length, is_next_in_epoch
from consensus.types.header_run import HeaderRun

FindWithoutWork = Callable[[Consensus, Sequence[bytes]], int | None]
"""Index of the first of some raw headers (208 bytes) whose proof of work is missing; None when all have it."""


class NotContinuousError(HeaderError):
    """A header of the batch does not stand on the one before it."""

    def __init__(self, index: int, parent_hash: bytes) -> None:
        super().__init__(f"header {index} of the batch stands on 0x{parent_hash.hex()}, not on the one before it")
        self.index, self.parent_hash = index, parent_hash


class InvalidAncestorError(HeaderError):
    """The parent is known to be invalid."""

    def __init__(self, parent_hash: bytes) -> None:
        super().__init__(f"the parent 0x{parent_hash.hex()} is invalid")
        self.parent_hash = parent_hash


@dataclass(frozen=True, slots=True)
class HeadersJudged:
    """The first `valid` headers of a batch are valid; `error` is what the next one breaks, None when there is none."""

    valid: int
    error: CkbError | None = None

    @property
    def is_sender_at_fault(self) -> bool:
        """The sender should be banned. A timestamp that is only ahead of this node's clock is not its fault."""
        return self.error is not None and not isinstance(self.error, BlockTimeTooNewError)


def verify_continuous(headers: Sequence[Header]) -> None:
    """ckb, no RFC: each header of a batch stands on the one before; NotContinuousError.

    The reference refuses such a batch before all else.
    """
    run = HeaderRun.of(headers)
    gap = run.first_gap()
    if gap is not None:
        raise NotContinuousError(gap, run.parent_hashes[gap])


def verify_headers(
    consensus: Consensus,
    headers: Sequence[Header],
    reader: HeaderProvider,
    now_ms: int,
    *,
    invalid: Container[bytes] = frozenset(),
    find_without_work: FindWithoutWork = first_without_work,
) -> HeadersJudged:
    """ckb, no RFC: no header of a batch stands on an invalid block. Its other rules are those of single headers.

    Headers are not known yet, lowest first. `reader` knows the ancestors of the first, stored or not; `invalid` are
    hashes of invalid blocks.
    """
    run = HeaderRun.of(headers)
    try:
        verify_continuous(run)
    except NotContinuousError as error:
        return HeadersJudged(0, error)
    without_work = find_without_work(consensus, run.raws)
    if without_work is None and not any(map(invalid.__contains__, run.parent_hashes)):
        with suppress(CkbError):  # of what the ancestors cannot tell: it is met again below
            if _have_no_fault(consensus, run, reader, now_ms):
                return HeadersJudged(len(run))
    branch: _Branch | None = None
    for index, header in enumerate(run):
        try:
            if header.parent_hash in invalid:
                raise InvalidAncestorError(header.parent_hash)
            if index == without_work:
                raise PowError(header.pow_hash, header.nonce, header.compact_target)
            if branch is None:
                branch = _Branch(consensus, header.parent_hash, reader)
            branch.verify_next(header, now_ms)
        except CkbError as error:
            return HeadersJudged(index, error)
    return HeadersJudged(len(headers))


def _have_no_fault(consensus: Consensus, run: HeaderRun, reader: HeaderProvider, now_ms: int) -> bool:
    """What `_Branch` finds of each header, found of all together; False also when the parent is not known."""
    if not run:
        return True
    tip = reader.header(run.parent_hashes[0])
    if tip is None or max(run.timestamps) > now_ms + consensus.ambient_time_skew_ms:
        return False
    if run.versions.count(BLOCK_VERSION) != len(run):
        return False
    if run.numbers != tuple(range(tip.number + 1, tip.number + 1 + len(run))):
        return False
    if not _epochs_follow((tip.epoch, *run.epochs)):
        return False
    count = consensus.median_time_block_count
    return _are_after_median(ancestor_timestamps(reader, tip.hash, count), run.timestamps, count)


def _epochs_follow(epochs: Sequence[int]) -> bool:
    """Each of some packed fields is next in the epoch of the one before, or may follow it. Where they grow by an index
    of one, the first and the last of them tell of all between."""
    edges = [at for at, step in enumerate(map(sub, epochs[1:], epochs), start=1) if step != EPOCH_STEP]
    stretches = zip((0, *edges), (*edges, len(epochs)), strict=True)
    return all(_is_one_epoch(epochs[first], epochs[end - 1]) for first, end in stretches if end - first > 1) and all(
        _may_follow(epochs[at], epochs[at - 1]) for at in edges
    )


def _is_one_epoch(first: int, last: int) -> bool:
    """Of packed fields that grow by an index of one: the last index is below the length, and none has overflowed."""
    return is_next_in_epoch(last, last - EPOCH_STEP) and epoch_length(first) == epoch_length(last)


def _may_follow(packed: int, parent: int) -> bool:
    """`verify_epoch_continuity` of packed fields."""
    epoch, before = EpochFraction.unpack(packed), EpochFraction.unpack(parent)
    return epoch.is_well_formed and (before == GENESIS_EPOCH or epoch.is_successor_of(before))


def _are_after_median(ancestors: Sequence[int], timestamps: Sequence[int], count: int) -> bool:
    """Each timestamp is later than the median of the `count` before it. One that is later than all is, without a look
    at them."""
    newest_before = list(accumulate(timestamps[:-1], max, initial=max(ancestors)))
    if all(map(gt, timestamps, newest_before)):
        return True
    times = (*ancestors, *timestamps)
    for at, (each, newest) in enumerate(zip(timestamps, newest_before, strict=False)):
        if each > newest:
            continue
        end = len(ancestors) + at
        window = sorted(times[max(0, end - count) : end])
        if each <= window[len(window) // 2]:
            return False
    return True


class _Branch:
    """The tip of a growing branch: epoch and median time that the next header must follow."""

    def __init__(self, consensus: Consensus, tip_hash: bytes, reader: HeaderProvider) -> None:
        """Raises UnknownParentError."""
        tip = reader.header(tip_hash)
        if tip is None:
            raise UnknownParentError(tip_hash)
        count = consensus.median_time_block_count
        self._consensus, self._tip = consensus, tip
        self._times = _Window(ancestor_timestamps(reader, tip_hash, count), count)

    def verify_next(self, header: Header, now_ms: int) -> None:
        """Verify the next header but for its proof of work, and make it the tip."""
        tip, timestamp = self._tip, header.timestamp
        verify_number(header, tip)
        if not is_next_in_epoch(header.epoch, tip.epoch):
            verify_epoch_continuity(header, tip)
        verify_after_median(header, self._times.median)
        verify_not_in_future(self._consensus, header, now_ms)
        verify_version(header)
        self._tip = header
        self._times.move_on(timestamp)


class _Window:
    """Timestamps of the last `size` headers, moved on one by one; the median is the upper of two."""

    def __init__(self, timestamps: Sequence[int], size: int) -> None:
        self._in_order: Final = deque(timestamps)
        self._sorted: Final = sorted(timestamps)
        self._size: Final = size

    @property
    def median(self) -> int:
        return self._sorted[len(self._sorted) // 2]

    def move_on(self, timestamp: int) -> None:
        self._in_order.append(timestamp)
        if len(self._in_order) > self._size:
            del self._sorted[bisect_left(self._sorted, self._in_order.popleft())]
        insort(self._sorted, timestamp)


MAX_OVERLAY_HEADERS: Final = 32_000
"""About 16 MiB; 16 batches of the most that a peer sends."""


class HeaderOverlay:
    """Accepted headers that are not written yet, over the written ones: the context of the next batch.

    Bounded: `add` wants room, which `drop` makes. None leaves by itself, since the next batch may stand on it.
    """

    def __init__(self, below: HeaderProvider, max_headers: int = MAX_OVERLAY_HEADERS) -> None:
        self._below: Final = below
        self._max_headers: Final = max_headers
        self._headers: Final[dict[bytes, Header]] = {}

    def __len__(self) -> int:
        return len(self._headers)

    @property
    def room(self) -> int:
        """How many headers may still be added."""
        return self._max_headers - len(self._headers)

    def add(self, headers: Sequence[Header]) -> None:
        """Add valid headers, all or none; ValueError when there is no room."""
        if len(headers) > self.room:
            raise ValueError(f"{len(headers)} headers, and room for {self.room}")
        for header in headers:
            self._headers[header.hash] = header

    def drop(self, headers: Sequence[Header]) -> None:
        """Remove headers that are written now."""
        for header in headers:
            self._headers.pop(header.hash, None)

    def header(self, block_hash: bytes) -> Header | None:
        return self._headers.get(block_hash) or self._below.header(block_hash)
