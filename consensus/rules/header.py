"""Header rules: what a header must satisfy given its ancestors' headers and the time (RFC 20, RFC 27)."""

from __future__ import annotations

from typing import Final

from consensus.context import HeaderProvider
from consensus.errors import HeaderError
from consensus.lookup import require
from consensus.params import BLOCK_VERSION, Consensus
from consensus.rules.epoch import EpochContinuityError, EpochMalformedError
from consensus.rules.pow import verify_pow
from consensus.types.blockchain import Header
from consensus.types.core import GENESIS_EPOCH, EpochFraction


class TemporaryHeaderError(HeaderError):
    """The header may become valid later: do not mark it invalid and do not ban its sender."""


class BlockVersionError(HeaderError):
    """The header's version is unknown."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"Header(Version(BlockVersionError(expected: {expected}, actual: {actual})))")
        self.expected = expected
        self.actual = actual


class UnknownParentError(TemporaryHeaderError):
    """The parent's header is not known, so the header cannot be judged."""

    def __init__(self, parent_hash: bytes) -> None:
        super().__init__(f"Block(UnknownParent(UnknownParentError(parent_hash: Byte32(0x{parent_hash.hex()}))))")
        self.parent_hash = parent_hash


class NumberError(HeaderError):
    """The number is not the parent's plus one."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"Header(Number(NumberError(expected: {expected}, actual: {actual})))")
        self.expected = expected
        self.actual = actual


class BlockTimeTooOldError(HeaderError):
    """The timestamp is not after the median of its ancestors'. Milliseconds."""

    def __init__(self, median: int, actual: int) -> None:
        super().__init__(f"Header(Timestamp(BlockTimeTooOld(min: {median}, actual: {actual})))")
        self.median = median
        self.actual = actual


class BlockTimeTooNewError(TemporaryHeaderError):
    """The timestamp is too far ahead of this node's clock. Milliseconds."""

    def __init__(self, latest: int, actual: int) -> None:
        super().__init__(f"Header(Timestamp(BlockTimeTooNew(max: {latest}, actual: {actual})))")
        self.latest = latest
        self.actual = actual


def verify_header(consensus: Consensus, header: Header, reader: HeaderProvider, now_ms: int) -> None:
    """ckb, no RFC: the order of the header's rules; the parent's header must be known. Proof of work comes first.

    The ancestors' headers are stored. The version is not among these rules: only headers that peers offer during header
    sync are refused for it.
    """
    verify_pow(consensus, header)
    parent = reader.header(header.parent_hash)
    if parent is None:
        raise UnknownParentError(header.parent_hash)
    verify_number(header, parent)
    verify_epoch_continuity(header, parent)
    verify_after_median(header, median_time(reader, header.parent_hash, consensus.median_time_block_count))
    verify_not_in_future(consensus, header, now_ms)


def verify_version(header: Header) -> None:
    """RFC 27 "version": the version is 0. Only header sync asks it (RFC 48 removed the rule for blocks)."""
    if header.version != BLOCK_VERSION:
        raise BlockVersionError(BLOCK_VERSION, header.version)


def verify_number(header: Header, parent: Header) -> None:
    """RFC 27 "number": the number is the parent's plus one."""
    if header.number != parent.number + 1:
        raise NumberError(parent.number + 1, header.number)


def verify_epoch_continuity(header: Header, parent: Header) -> None:
    """RFC 27 "epoch": the epoch field is well formed and the successor of the parent's; genesis (0/0/0) may precede
    any.
    """
    epoch, before = EpochFraction.unpack(header.epoch), EpochFraction.unpack(parent.epoch)
    if not epoch.is_well_formed:
        raise EpochMalformedError(epoch)
    if before != GENESIS_EPOCH and not epoch.is_successor_of(before):
        raise EpochContinuityError(epoch, before)


def verify_after_median(header: Header, median_ms: int) -> None:
    """RFC 27 "timestamp": the timestamp is later than the median of the last 37 ancestors' (fewer near genesis)."""
    if header.timestamp <= median_ms:
        raise BlockTimeTooOldError(median_ms, header.timestamp)


def verify_not_in_future(consensus: Consensus, header: Header, now_ms: int) -> None:
    """RFC 27 "timestamp": the timestamp is at most 15 s ahead of the clock. A later header may be valid later."""
    latest = now_ms + consensus.ambient_time_skew_ms
    if header.timestamp > latest:
        raise BlockTimeTooNewError(latest, header.timestamp)


def median_time(reader: HeaderProvider, block_hash: bytes, count: int) -> int:
    """Median timestamp in ms of `count` blocks (37) that end in `block_hash`, fewer near genesis; the upper of two."""
    timestamps = sorted(_timestamps_until(reader, block_hash, count))
    return timestamps[len(timestamps) // 2]


def ancestor_timestamps(reader: HeaderProvider, block_hash: bytes, count: int) -> list[int]:
    """Timestamps of `count` blocks that end in `block_hash`, fewer near genesis; the oldest first."""
    timestamps: list[int] = []
    for _ in range(count):
        header = require(reader.header(block_hash), "header", block_hash)
        timestamps.append(header.timestamp)
        if header.number == 0:
            break
        block_hash = header.parent_hash
    return timestamps[::-1]


def _timestamps_until(reader: HeaderProvider, block_hash: bytes, count: int) -> list[int]:
    """`ancestor_timestamps`, derived from those of the parent if these are cached.

    A block's hash fixes all its ancestors, so cached values hold on every branch.
    """
    known = _remembered.get((block_hash, count))
    if known is None:
        header = require(reader.header(block_hash), "header", block_hash)
        before = _remembered.get((header.parent_hash, count))
        if before is None:
            known = ancestor_timestamps(reader, block_hash, count)
        else:
            known = [*before, header.timestamp][-count:]
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[block_hash, count] = known
    return known


_MAX_REMEMBERED: Final = 256
_remembered: Final[dict[tuple[bytes, int], list[int]]] = {}
