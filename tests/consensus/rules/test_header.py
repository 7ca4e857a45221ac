"""Header rules. Epoch cases: ckb `verification/src/tests/header_verifier.rs`."""

import pytest

from consensus.errors import HeaderError
from consensus.lookup import ChainDataError
from consensus.params import PowFunc
from consensus.rules.epoch import EpochContinuityError, EpochMalformedError
from consensus.rules.header import (
    BlockTimeTooNewError,
    BlockTimeTooOldError,
    BlockVersionError,
    NumberError,
    TemporaryHeaderError,
    UnknownParentError,
    median_time,
    verify_after_median,
    verify_epoch_continuity,
    verify_header,
    verify_not_in_future,
    verify_number,
    verify_version,
)
from consensus.rules.pow import PowError
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from tests.support.chains.unchecked import header, make_consensus

CONSENSUS = make_consensus()
NOW = 1_700_000_000_000


class Headers:
    """A HeaderProvider over a chain with the given timestamps, from `first` upwards."""

    def __init__(self, timestamps: list[int], first: int = 0) -> None:
        self.by_hash: dict[bytes, Header] = {}
        parent_hash = bytes(32)
        for number, timestamp in enumerate(timestamps, first):
            self.tip = header(
                number=number,
                timestamp=timestamp,
                parent_hash=parent_hash,
                epoch=EpochFraction(0, 0, 0) if number == 0 else EpochFraction(0, number, 1000),
            )
            parent_hash = self.tip.hash
            self.by_hash[parent_hash] = self.tip

    def header(self, block_hash: bytes) -> Header | None:
        return self.by_hash.get(block_hash)

    def child(self, **changes: int | bytes | EpochFraction) -> Header:
        number = self.tip.number + 1
        fields = {"number": number, "epoch": EpochFraction(0, number, 1000), "parent_hash": self.tip.hash} | changes
        return header(**fields)


def test_version() -> None:
    verify_version(header(version=0))
    with pytest.raises(BlockVersionError, match=r"BlockVersionError\(expected: 0, actual: 1\)") as caught:
        verify_version(header(version=1))
    assert (caught.value.expected, caught.value.actual) == (0, 1)


def test_number() -> None:
    verify_number(header(number=11), header(number=10))
    for wrong in (10, 12, 0):
        with pytest.raises(NumberError) as caught:
            verify_number(header(number=wrong), header(number=10))
        assert (caught.value.expected, caught.value.actual) == (11, wrong)
        assert f"NumberError(expected: 11, actual: {wrong})" in str(caught.value)


@pytest.mark.parametrize("epoch", [(1, 0, 0), (1, 10, 0), (1, 10, 5), (1, 10, 10)])
def test_malformed_epoch(epoch: tuple[int, int, int]) -> None:
    current = EpochFraction(*epoch)
    with pytest.raises(EpochMalformedError, match=r"Epoch\(Malformed") as caught:
        verify_epoch_continuity(header(epoch=current), header(epoch=EpochFraction(1, 1, 10)))
    assert caught.value.value == current


@pytest.mark.parametrize(
    ("parent", "current"),
    [
        ((1, 5, 10), (1, 5, 10)),
        ((1, 5, 10), (1, 5, 11)),
        ((1, 5, 10), (2, 5, 10)),
        ((1, 5, 10), (1, 6, 11)),
        ((1, 5, 10), (2, 6, 10)),
        ((1, 9, 10), (2, 1, 10)),
        ((1, 9, 10), (3, 0, 10)),
    ],
)
def test_discontinuous_epoch(parent: tuple[int, int, int], current: tuple[int, int, int]) -> None:
    with pytest.raises(EpochContinuityError, match=r"Epoch\(NonContinuous") as caught:
        verify_epoch_continuity(header(epoch=EpochFraction(*current)), header(epoch=EpochFraction(*parent)))
    assert caught.value.current == EpochFraction(*current)
    assert caught.value.parent == EpochFraction(*parent)


@pytest.mark.parametrize(
    ("parent", "current"),
    [
        ((1, 5, 10), (1, 6, 10)),
        ((1, 9, 10), (2, 0, 10)),
        ((1, 9, 10), (2, 0, 11)),
        ((0, 0, 0), (0, 1, 1000)),
        ((0, 0, 0), (7, 3, 10)),
    ],
)
def test_continuous_epoch(parent: tuple[int, int, int], current: tuple[int, int, int]) -> None:
    """The field of genesis, 0/0/0, may precede any."""
    verify_epoch_continuity(header(epoch=EpochFraction(*current)), header(epoch=EpochFraction(*parent)))


def test_median_is_the_upper_middle_and_ends_at_the_given_block() -> None:
    timestamps = [5, 1, 4, 2, 3]
    chain = Headers(timestamps)
    assert median_time(chain, chain.tip.hash, 37) == 3
    assert median_time(chain, chain.tip.hash, 5) == 3
    assert median_time(chain, chain.tip.hash, 4) == 3  # of 1 2 3 4, the upper one
    assert median_time(chain, chain.tip.hash, 3) == 3  # of 2 3 4
    assert median_time(chain, chain.tip.hash, 1) == 3  # the block itself


def test_median_looks_at_37_blocks() -> None:
    old, recent = [1_000] * 19, [2_000] * 18
    chain = Headers(old + recent)
    assert median_time(chain, chain.tip.hash, 37) == 1_000
    chain = Headers([*old, *recent, 2_000])
    assert median_time(chain, chain.tip.hash, 37) == 2_000


def test_median_needs_the_ancestors() -> None:
    chain = Headers([1, 2, 3], first=50)
    with pytest.raises(ChainDataError, match="header"):
        median_time(chain, chain.tip.hash, 37)
    assert median_time(chain, chain.tip.hash, 3) == 2


def test_timestamp_must_be_after_the_median() -> None:
    verify_after_median(header(timestamp=101), 100)
    for too_old in (100, 99, 0):
        with pytest.raises(BlockTimeTooOldError) as caught:
            verify_after_median(header(timestamp=too_old), 100)
        assert (caught.value.median, caught.value.actual) == (100, too_old)
        assert not isinstance(caught.value, TemporaryHeaderError)
        assert f"BlockTimeTooOld(min: 100, actual: {too_old})" in str(caught.value)


def test_timestamp_may_be_15_seconds_ahead() -> None:
    verify_not_in_future(CONSENSUS, header(timestamp=NOW + 15_000), NOW)
    with pytest.raises(BlockTimeTooNewError) as caught:
        verify_not_in_future(CONSENSUS, header(timestamp=NOW + 15_001), NOW)
    assert (caught.value.latest, caught.value.actual) == (NOW + 15_000, NOW + 15_001)
    assert isinstance(caught.value, TemporaryHeaderError)
    assert f"BlockTimeTooNew(max: {NOW + 15_000}, actual: {NOW + 15_001})" in str(caught.value)


def test_verify_header_accepts_a_good_child() -> None:
    chain = Headers([NOW - 8_000 * back for back in range(40, 0, -1)])
    verify_header(CONSENSUS, chain.child(timestamp=NOW), chain, NOW)
    verify_header(CONSENSUS, chain.child(timestamp=NOW, version=1), chain, NOW)


def test_verify_header_reports_the_first_rule_broken() -> None:
    """Every later rule is broken too, so the order shows: work, parent, number, epoch, time."""
    chain = Headers([NOW - 8_000] * 2)
    malformed = EpochFraction(0, 5, 5)
    everything_wrong = chain.child(number=9, epoch=malformed, timestamp=0, parent_hash=b"\x09" * 32, compact_target=0)
    with pytest.raises(PowError):
        verify_header(make_consensus(pow_func=PowFunc.EAGLESONG), everything_wrong, chain, NOW)
    steps: list[tuple[dict[str, int | bytes | EpochFraction], type[HeaderError]]] = [
        ({}, UnknownParentError),
        ({"parent_hash": chain.tip.hash}, NumberError),
        ({"number": 2}, EpochMalformedError),
        ({"epoch": EpochFraction(0, 3, 1000)}, EpochContinuityError),
        ({"epoch": EpochFraction(0, 2, 1000)}, BlockTimeTooOldError),
        ({"timestamp": NOW + 20_000}, BlockTimeTooNewError),
    ]
    fields: dict[str, int | bytes | EpochFraction] = {
        "number": 9,
        "epoch": malformed,
        "timestamp": 0,
        "parent_hash": b"\x09" * 32,
    }
    for repair, expected in steps:
        fields |= repair
        with pytest.raises(expected):
            verify_header(CONSENSUS, chain.child(**fields), chain, NOW)
    fields["timestamp"] = NOW
    verify_header(CONSENSUS, chain.child(**fields), chain, NOW)


def test_unknown_parent_is_temporary_and_names_the_parent() -> None:
    chain = Headers([NOW])
    with pytest.raises(UnknownParentError, match="UnknownParentError") as caught:
        verify_header(CONSENSUS, chain.child(parent_hash=b"\x09" * 32), chain, NOW)
    assert caught.value.parent_hash == b"\x09" * 32
    assert isinstance(caught.value, TemporaryHeaderError)
