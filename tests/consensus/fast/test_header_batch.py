"""Headers in bulk: the same verdicts as one by one, and whose fault a bad one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.context import HeaderProvider
from consensus.errors import CkbError
from consensus.fast import header_batch
from consensus.fast.header_batch import (
    HeaderOverlay,
    HeadersJudged,
    InvalidAncestorError,
    NotContinuousError,
    verify_continuous,
    verify_headers,
)
from consensus.params import Consensus, PowFunc
from consensus.rules.epoch import EpochContinuityError, EpochMalformedError
from consensus.rules.header import (
    BlockTimeTooNewError,
    BlockTimeTooOldError,
    BlockVersionError,
    NumberError,
    UnknownParentError,
    verify_header,
    verify_version,
)
from consensus.rules.pow import PowError
from consensus.types.blockchain import Header
from consensus.types.core import EPOCH_STEP, EpochFraction, is_next_in_epoch
from tests.support.chains.unchecked import header, make_consensus

CONSENSUS = make_consensus()
NOW = 1_700_000_000_000
LENGTH = 10
"""Blocks of an epoch."""


class Stored:
    """A HeaderProvider of given headers."""

    def __init__(self, headers: Sequence[Header]) -> None:
        self._by_hash = {each.hash: each for each in headers}

    def header(self, block_hash: bytes) -> Header | None:
        return self._by_hash.get(block_hash)


def epoch_of(number: int) -> EpochFraction:
    return EpochFraction(0, 0, 0) if number == 0 else EpochFraction(number // LENGTH, number % LENGTH, LENGTH)


Value = int | bytes | EpochFraction


def chain(count: int, changes: Mapping[tuple[str, int], Value] = {}, times: Sequence[int] = ()) -> list[Header]:
    """Headers from genesis on; `changes` by field and height, what stands above follows."""
    made: list[Header] = []
    for number in range(count):
        fields: dict[str, Value] = {
            "number": number,
            "timestamp": times[number] if times else 1000 + number * 10,
            "parent_hash": made[-1].hash if made else bytes(32),
            "epoch": epoch_of(number),
        }
        made.append(header(**(fields | {name: value for (name, at), value in changes.items() if at == number})))
    return made


def judged(headers: Sequence[Header], stored: int, **more: object) -> HeadersJudged:
    return verify_headers(CONSENSUS, headers[stored:], Stored(headers[:stored]), NOW, **more)  # type: ignore[arg-type]


def test_a_batch_of_valid_headers() -> None:
    headers = chain(200)
    assert judged(headers, 1) == HeadersJudged(199)
    assert judged(headers, 100) == HeadersJudged(100)
    assert judged(headers, 200) == HeadersJudged(0)
    assert not judged(headers, 1).is_sender_at_fault


@pytest.mark.parametrize(
    ("name", "value", "kind", "is_at_fault"),
    [
        ("number", 51, NumberError, True),
        ("epoch", EpochFraction(5, 0, 0), EpochMalformedError, True),
        ("epoch", EpochFraction(5, 1, LENGTH), EpochContinuityError, True),
        ("epoch", EpochFraction(4, 9, LENGTH), EpochContinuityError, True),
        ("timestamp", 1310, BlockTimeTooOldError, True),
        ("timestamp", NOW + 15_001, BlockTimeTooNewError, False),
        ("version", 1, BlockVersionError, True),
    ],
)
def test_the_first_bad_one_ends_it(
    name: str, value: int | EpochFraction, kind: type[CkbError], is_at_fault: bool
) -> None:
    headers = chain(80, {(name, 50): value})
    for stored in (1, 20, 50):
        result = judged(headers, stored)
        assert result.valid == 50 - stored
        assert isinstance(result.error, kind)
        assert result.is_sender_at_fault is is_at_fault


def test_the_limits_of_time_are_valid() -> None:
    assert judged(chain(60, {("timestamp", 50): 1321}), 1).error is None, (
        "later than the median of 13 to 49, which is 1310"
    )
    assert judged(chain(51, {("timestamp", 50): NOW + 15_000}), 1).error is None


def test_epochs_of_any_length_may_follow() -> None:
    """The length of an epoch is a rule of the block, not of header sync."""
    headers = chain(50)
    longer = header(number=50, timestamp=5000, parent_hash=headers[-1].hash, epoch=EpochFraction(5, 0, 1234))
    assert judged([*headers, longer], 1) == HeadersJudged(50)


STEPS = st.sampled_from(
    [0, 1, EPOCH_STEP, EPOCH_STEP, EPOCH_STEP, 2 * EPOCH_STEP, -2 * EPOCH_STEP + 1, 1 << 40, 1 << 56]
)
FIELDS = st.builds(
    EpochFraction,
    st.integers(0, 2),
    st.sampled_from([0, 1, 2, 65533, 65534, 65535]),
    st.integers(0, 4) | st.just(65535),
)


@settings(max_examples=1000)
@given(FIELDS, st.lists(STEPS, max_size=8))
def test_epochs_together_are_judged_as_one_by_one(first: EpochFraction, steps: Sequence[int]) -> None:
    fields = [each % (1 << 64) for each in accumulate(steps, initial=first.pack())]
    one_by_one = all(
        is_next_in_epoch(each, before) or header_batch._may_follow(each, before) for before, each in pairwise(fields)
    )
    assert header_batch._epochs_follow(fields) == one_by_one


def test_gaps_come_before_all_else() -> None:
    headers = chain(80, {("version", 10): 1})
    with pytest.raises(NotContinuousError) as caught:
        verify_continuous([*headers[1:40], *headers[41:]])
    assert caught.value.index == 39
    result = judged([*headers[:40], *headers[41:]], 1)
    assert result.valid == 0, "nothing of it is taken"
    assert isinstance(result.error, NotContinuousError)
    assert result.is_sender_at_fault
    verify_continuous([])


def test_unknown_and_invalid_parents() -> None:
    headers = chain(20)
    unknown = verify_headers(CONSENSUS, headers[5:], Stored(headers[:4]), NOW)
    assert isinstance(unknown.error, UnknownParentError)
    assert unknown.is_sender_at_fault, "whoever was asked for headers after known ones must not send these"
    for bad, valid in ((headers[4], 0), (headers[9], 5)):
        result = judged(headers, 5, invalid={bad.hash})
        assert (result.valid, type(result.error)) == (valid, InvalidAncestorError)


def test_work_is_checked_of_all_at_once_and_before_the_parent_is_looked_for() -> None:
    headers, asked = chain(20, {("version", 12): 1}), []

    def find(bad: int | None) -> Callable[[Consensus, Sequence[bytes]], int | None]:
        def without_work(_: Consensus, raw: Sequence[bytes]) -> int | None:
            asked.append(list(raw))
            return bad

        return without_work

    for bad, valid, kind in (
        (4, 4, PowError),
        (7, 7, PowError),
        (9, 7, BlockVersionError),
        (None, 7, BlockVersionError),
    ):
        result = judged(headers, 5, find_without_work=find(bad))
        assert (result.valid, type(result.error)) == (valid, kind)
    assert asked == [[each.raw for each in headers[5:]]] * 4
    unknown = verify_headers(CONSENSUS, headers[5:], Stored([]), NOW, find_without_work=find(0))
    assert isinstance(unknown.error, PowError)


def test_real_work_is_asked_for() -> None:
    eaglesong = replace(CONSENSUS, pow_func=PowFunc.EAGLESONG)
    headers = chain(5, {("compact_target", number): 0x1A08A97E for number in range(5)})
    result = verify_headers(eaglesong, headers[1:], Stored(headers[:1]), NOW)
    assert (result.valid, type(result.error)) == (0, PowError)


def test_an_overlay_shows_what_is_not_stored() -> None:
    headers = chain(60)
    overlay = HeaderOverlay(Stored(headers[:1]))
    for first in (1, 30):
        batch = headers[first : first + 29 + first // 30]
        assert verify_headers(CONSENSUS, batch, overlay, NOW) == HeadersJudged(len(batch))
        overlay.add(batch)
    assert len(overlay) == 59
    assert overlay.header(headers[0].hash) == headers[0]
    assert overlay.header(headers[59].hash) == headers[59]
    overlay.drop(headers[59:])
    assert overlay.header(headers[59].hash) is None


def test_an_overlay_is_bounded_and_loses_nothing() -> None:
    headers = chain(8)
    overlay = HeaderOverlay(Stored(headers[:1]), max_headers=5)
    overlay.add(headers[1:4])
    with pytest.raises(ValueError, match="3 headers, and room for 2"):
        overlay.add(headers[4:7])
    assert (len(overlay), overlay.room) == (3, 2)
    overlay.drop(headers[1:3])
    overlay.add(headers[4:7])
    assert [overlay.header(each.hash) for each in headers] == [headers[0], None, None, *headers[3:7], None]


# ---------------------------------------------------------------- the same as one by one


def one_by_one(headers: Sequence[Header], stored: int, reader: HeaderProvider) -> tuple[int, str]:
    """The plain rules."""
    for index, each in enumerate(headers[stored:]):
        try:
            verify_header(CONSENSUS, each, reader, NOW)
            verify_version(each)
        except CkbError as error:
            return index, str(error)
    return len(headers) - stored, ""


@settings(deadline=None)
@given(
    jitter=st.lists(st.integers(-300, 300), min_size=90, max_size=90),
    stored=st.integers(1, 60),
    field=st.sampled_from(["number", "epoch", "version", "timestamp"]),
    where=st.integers(1, 89),
    value=st.integers(0, 100),
)
def test_verdicts_are_those_of_the_plain_rules(
    jitter: list[int], stored: int, field: str, where: int, value: int
) -> None:
    times = [100_000 + number * 10 + late for number, late in enumerate(jitter)]
    changed = EpochFraction(value // 10, value % 10, LENGTH) if field == "epoch" else value
    headers = chain(90, {(field, where): changed}, times)
    result = judged(headers, stored)
    assert (result.valid, str(result.error or "")) == one_by_one(headers, stored, Stored(headers))


FAULTS = [
    ("number", 1),
    ("number", 33),
    ("epoch", EpochFraction(0, 0, 0)),
    ("epoch", EpochFraction(3, 3, LENGTH)),
    ("epoch", EpochFraction(2, LENGTH, LENGTH)),
    ("epoch", EpochFraction(2, 3, LENGTH + 1)),
    ("timestamp", NOW + 15_000),
    ("timestamp", NOW + 15_001),
    ("version", 1),
    ("parent_hash", bytes(32)),
]


@pytest.mark.parametrize(("name", "value"), FAULTS)
def test_each_fault_at_each_place_of_a_run(name: str, value: Value) -> None:
    for at in range(1, 45):
        headers = chain(45, {(name, at): value})
        result = judged(headers, 1)
        if name == "parent_hash" and at > 1:
            assert (result.valid, type(result.error)) == (0, NotContinuousError)
        else:
            assert (result.valid, str(result.error or "")) == one_by_one(headers, 1, Stored(headers)), at


@settings(deadline=None)
@given(above=st.lists(st.sampled_from([1, 1, 2, 20, 300]), min_size=90, max_size=90), fault=st.integers(1, 300))
def test_times_just_above_the_median_of_times_in_disorder(above: list[int], fault: int) -> None:
    times = [1000]
    for number, later in enumerate(above[1:], start=1):
        before = sorted(times[-CONSENSUS.median_time_block_count :])
        times.append(before[len(before) // 2] + (later if number != fault else 0))
    headers = chain(90, {}, times)
    assert judged(headers, 1).valid == min(fault, 90) - 1


@pytest.mark.parametrize("stored", [1, 2, 37, 45])
def test_times_beside_the_median_at_each_place_of_a_run(stored: int) -> None:
    """From the first ancestors on, of which there are fewer than the median is of."""
    for at in range(stored, 60):
        times = [1000 + number * 10 for number in range(60)]
        before = sorted(times[max(0, at - CONSENSUS.median_time_block_count) : at])
        median = before[len(before) // 2]
        for timestamp in (median, median + 1):
            times[at] = timestamp
            headers = chain(60, {}, times)
            result = judged(headers, stored)
            assert (result.valid, str(result.error or "")) == one_by_one(headers, stored, Stored(headers)), at
            assert (result.error is None) == (timestamp > median)


def test_an_invalid_block_at_each_place_of_a_run() -> None:
    headers = chain(45)
    for at in range(44):
        result = judged(headers, 1, invalid={headers[at].hash})
        assert (result.valid, type(result.error)) == (at, InvalidAncestorError)
    assert judged(headers, 1, invalid={headers[44].hash}) == HeadersJudged(44), "nothing stands on it"
