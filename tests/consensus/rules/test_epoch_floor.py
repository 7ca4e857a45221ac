"""What headers show of the rule of epochs: no valid chain is refused, and a cheap one is."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consensus.crypto.difficulty import compact_to_difficulty, difficulty_to_compact
from consensus.params import Consensus
from consensus.rules.epoch import (
    EpochArithmeticError,
    EpochStatistics,
    EpochTargetMismatchError,
    adjusted_epoch,
    next_length,
)
from consensus.rules.epoch_floor import (
    EpochDurationError,
    EpochFacts,
    EpochLengthError,
    TargetTooEasyError,
    facts_of,
    verify_next_epoch,
)
from consensus.types.core import EpochExt
from tests.support.chains.unchecked import header, make_consensus

PUBLIC = make_consensus()
CHAINS = [
    PUBLIC,
    make_consensus(epoch_duration_target_s=80, min_epoch_length=10, max_epoch_length=40),
    make_consensus(orphan_rate_target=Fraction(1, 20), max_uncles=1),
    make_consensus(min_epoch_length=1000, max_epoch_length=1000),
    make_consensus(max_epoch_length=10),  # nothing fits: what is shorter than the shortest
]
T_MS = 14_400_000


def epoch(length: int, difficulty: int, hash_rate: int) -> EpochExt:
    return EpochExt(
        previous_epoch_hash_rate=hash_rate,
        last_block_hash_in_previous_epoch=bytes(32),
        compact_target=difficulty_to_compact(difficulty),
        number=5,
        base_block_reward=1000,
        remainder_reward=0,
        start_number=10_000,
        length=length,
    )


def after(consensus: Consensus, ext: EpochExt, uncles: int, duration_ms: int) -> EpochExt:
    """The rule itself."""
    tail = header(number=ext.start_number + ext.length - 1, compact_target=ext.compact_target)
    return adjusted_epoch(consensus, tail, ext, EpochStatistics(uncles, duration_ms))


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_no_valid_chain_is_refused(data: st.DataObject) -> None:
    """Epoch after epoch, with whatever uncles and times: nothing but lengths, targets and times is looked at."""
    consensus = data.draw(st.sampled_from(CHAINS))
    longest = max(consensus.max_epoch_length, consensus.min_epoch_length)
    ext = epoch(
        data.draw(st.integers(1, longest)),
        data.draw(st.integers(1, 1 << 70) | st.integers(1, 1 << 14) | st.integers(1, 3)),
        data.draw(st.integers(0, 1 << 70) | st.integers(0, 100)),
    )
    facts = EpochFacts(ext.length, ext.compact_target, data.draw(st.integers(0, ext.previous_epoch_hash_rate)))
    for _ in range(data.draw(st.integers(1, 5))):
        uncles = data.draw(st.integers(0, consensus.max_uncles * ext.length) | st.integers(0, 3))
        uncles = min(uncles, consensus.max_uncles * ext.length)
        duration_ms = data.draw(st.integers(0, 1 << 40) | st.integers(0, 4 * T_MS) | st.integers(0, 100_000))
        try:
            ext = after(consensus, ext, uncles, duration_ms)
        except EpochArithmeticError:
            assume(False)  # no chain goes on there
        facts = verify_next_epoch(consensus, facts, duration_ms, ext.length, ext.compact_target)
        assert facts.hash_rate <= ext.previous_epoch_hash_rate
        stateless = facts_of(consensus, ext.length, ext.compact_target)
        assert stateless.hash_rate <= ext.previous_epoch_hash_rate
        if data.draw(st.booleans()):
            facts = stateless  # as after a restart


def test_an_epoch_of_difficulty_1_shows_no_hash_rate() -> None:
    """What is less is rounded up to 1."""
    consensus = make_consensus(epoch_duration_target_s=80)
    assert facts_of(consensus, 806, difficulty_to_compact(1)).hash_rate == 0
    assert facts_of(consensus, 806, difficulty_to_compact(2)).hash_rate > 0


D = 1 << 50
COMPACT = difficulty_to_compact(D)
FACTS = facts_of(PUBLIC, 1800, COMPACT)


def test_an_epoch_in_its_time_may_be_followed_by_one_as_hard() -> None:
    verify_next_epoch(PUBLIC, FACTS, T_MS, 1800, COMPACT)


@pytest.mark.parametrize("duration_ms", [0, 1000, T_MS // 2])
def test_a_short_epoch_makes_the_next_harder(duration_ms: int) -> None:
    with pytest.raises(TargetTooEasyError) as caught:
        verify_next_epoch(PUBLIC, FACTS, duration_ms, 1800, COMPACT)
    easiest = compact_to_difficulty(caught.value.easiest)
    assert 1.9 * D < easiest < 2 * D
    verify_next_epoch(PUBLIC, FACTS, duration_ms, 1800, caught.value.easiest)


def easiest_after(facts: EpochFacts, duration_ms: int, length: int) -> int:
    """Compact target."""
    with pytest.raises(TargetTooEasyError) as caught:
        verify_next_epoch(PUBLIC, facts, duration_ms, length, 0x20FF_FFFF)
    verify_next_epoch(PUBLIC, facts, duration_ms, length, caught.value.easiest)
    return caught.value.easiest


def test_easy_headers_need_long_epochs() -> None:
    """And there are not more of those than fit between genesis and now."""
    assert compact_to_difficulty(easiest_after(FACTS, T_MS, 1800)) > 0.9 * D
    assert compact_to_difficulty(easiest_after(FACTS, T_MS, 900)) > 0.9 * D
    assert compact_to_difficulty(easiest_after(FACTS, 3 * T_MS, 900)) < D / 1000


def test_headers_below_a_difficulty_cost_more_and_more() -> None:
    """Without long epochs difficulty doubles with each, once they cannot become longer."""
    facts, easiest = facts_of(PUBLIC, 300, difficulty_to_compact(100)), 0
    difficulties = []
    for length in (600, 1200, 1800, 1800, 1800, 1800, 1800, 1800):
        try:
            verify_next_epoch(PUBLIC, facts, 300_000, length, 0x20FF_FFFF)
        except TargetTooEasyError as error:
            easiest = error.easiest
        facts = verify_next_epoch(PUBLIC, facts, 300_000, length, easiest)
        difficulties.append(compact_to_difficulty(easiest))
    assert difficulties[-1] > 20 * difficulties[2]


def test_what_an_epoch_was_worth_is_remembered() -> None:
    """One long epoch lets the target fall, but the next one must be long again, or it rises to where it was."""
    rich = EpochFacts(600, COMPACT, 1 << 60)
    fallen = easiest_after(rich, 3 * T_MS, 300)
    poor = verify_next_epoch(PUBLIC, rich, 3 * T_MS, 300, fallen)
    assert poor.hash_rate == 1 << 59
    risen = easiest_after(poor, 1000, 600)
    assert compact_to_difficulty(risen) > 1000 * compact_to_difficulty(fallen)
    forgotten = easiest_after(facts_of(PUBLIC, 300, fallen), 1000, 600)
    assert compact_to_difficulty(forgotten) < 3 * compact_to_difficulty(fallen)


@pytest.mark.parametrize("length", [1, 299, 899, 1801, 65535])
def test_lengths_that_no_uncles_give(length: int) -> None:
    with pytest.raises(EpochLengthError):
        verify_next_epoch(PUBLIC, FACTS, T_MS, length, COMPACT)


def test_a_length_needs_a_time() -> None:
    """A very short epoch has the longest next one, whatever its uncles are."""
    assert {next_length(PUBLIC, 600, uncles, 10)[0] for uncles in range(0, 1201, 50)} == {1200}
    with pytest.raises(EpochLengthError):
        verify_next_epoch(PUBLIC, facts_of(PUBLIC, 600, COMPACT), 10_000, 800, COMPACT)


def test_an_epoch_that_ends_before_it_begins() -> None:
    with pytest.raises(EpochDurationError):
        verify_next_epoch(PUBLIC, FACTS, -1, 1800, COMPACT)


@pytest.mark.parametrize("compact_target", [0x21FF_FFFF, 0xFFFF_FFFF])
def test_targets_that_are_none(compact_target: int) -> None:
    with pytest.raises(TargetTooEasyError):
        verify_next_epoch(PUBLIC, FACTS, T_MS, 1800, compact_target)


def test_permanent_difficulty() -> None:
    dev = make_consensus(permanent_difficulty_in_dummy=True)
    facts = facts_of(dev, 1000, COMPACT)
    assert verify_next_epoch(dev, facts, 5, 1800, COMPACT).length == 1800
    with pytest.raises(EpochLengthError):
        verify_next_epoch(dev, facts, 5, 1799, COMPACT)
    with pytest.raises(EpochTargetMismatchError):
        verify_next_epoch(dev, facts, 5, 1800, COMPACT + 1)
