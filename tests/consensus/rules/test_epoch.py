"""Epochs. Expectations are worked out by hand from RFC 20's formulas; the halving cases are those of ckb
`spec/src/tests/consensus.rs`.

With the target duration T = 14,400 s and difficulty d over L blocks, the network hashes d·(L+U)/T per second.
"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.crypto.difficulty import U256_MAX, compact_to_difficulty, difficulty_to_compact
from consensus.lookup import ChainDataError
from consensus.params import Consensus, PowFunc
from consensus.rules.epoch import (
    EpochArithmeticError,
    EpochNumberMismatchError,
    EpochStatistics,
    EpochTargetMismatchError,
    adjusted_epoch,
    epoch_statistics,
    genesis_block_issuance,
    genesis_epoch_ext,
    is_tail,
    next_epoch_ext,
    next_primary_reward,
    secondary_issuance,
    verify_block_epoch,
)
from consensus.types.blockchain import Block, UncleBlock
from consensus.types.core import EpochExt, EpochFraction
from tests.support.chains.unchecked import UncheckedChain, block, cellbase, header, make_consensus

T = 14_400
ON_TARGET_MS = T * 1000
# A difficulty that every quotient below divides, and that the compact form keeps exactly.
TARGET = 0x1A01_0000
DIFFICULTY = compact_to_difficulty(TARGET)
REWARD = 191_780_821_917_808


def make_epoch(length: int, *, hash_rate: int = 0, number: int = 7, compact_target: int = TARGET) -> EpochExt:
    base, remainder = divmod(REWARD, length)
    return EpochExt(
        previous_epoch_hash_rate=hash_rate,
        last_block_hash_in_previous_epoch=b"\x05" * 32,
        compact_target=compact_target,
        number=number,
        base_block_reward=base,
        remainder_reward=remainder,
        start_number=10_000,
        length=length,
    )


def after(
    epoch: EpochExt, uncles: int, duration_ms: int = ON_TARGET_MS, consensus: Consensus | None = None
) -> EpochExt:
    tail = header(number=epoch.start_number + epoch.length - 1, compact_target=epoch.compact_target)
    return adjusted_epoch(consensus or make_consensus(), tail, epoch, EpochStatistics(uncles, duration_ms))


def test_ideal_orphan_rate_and_duration_change_nothing() -> None:
    """25 uncles of 1000 blocks are the target 1/40."""
    following = after(make_epoch(1000), 25)
    assert following.length == 1000
    assert following.compact_target == TARGET
    assert following.previous_epoch_hash_rate == DIFFICULTY * 1025 // T
    assert (following.number, following.start_number) == (8, 11_000)


def test_links_to_the_tail() -> None:
    epoch = make_epoch(1000)
    tail = header(number=10_999, compact_target=TARGET)
    following = adjusted_epoch(make_consensus(), tail, epoch, EpochStatistics(25, ON_TARGET_MS))
    assert following.last_block_hash_in_previous_epoch == tail.hash
    assert following.primary_reward == REWARD
    assert (following.base_block_reward, following.remainder_reward) == divmod(REWARD, 1000)


def test_without_uncles_the_epoch_doubles() -> None:
    """The same hashes make twice the blocks; no orphan factor."""
    following = after(make_epoch(400), 0)
    assert following.length == 800
    assert following.compact_target == difficulty_to_compact(DIFFICULTY * 400 // T * T // 800)


def test_without_uncles_at_most_1800_blocks() -> None:
    assert after(make_epoch(900), 0).length == 1800
    assert after(make_epoch(1000), 0).length == 1800
    assert after(make_epoch(1800), 0).length == 1800


def test_many_uncles_halve_the_epoch() -> None:
    """U = 200 of L = 1000: ideal length 146, bound to 500. 1/r' = 1.2·1000/(0.2·500) - 1 = 11 blocks per uncle, so
    500·(1 + 1/11) blocks share the hashes of 1200."""
    following = after(make_epoch(1000), 200)
    assert following.length == 500
    hash_rate = DIFFICULTY * 1200 // T
    assert following.compact_target == difficulty_to_compact(hash_rate * T * 11 // (12 * 500))


def test_few_uncles_double_the_epoch() -> None:
    """U = 1 of L = 800: the ideal is far above 2L. 1/r' = (801/800)·800/((1/800)·1600) - 1 = 399.5."""
    following = after(make_epoch(800), 1)
    assert following.length == 1600
    hash_rate = DIFFICULTY * 801 // T
    assert following.compact_target == difficulty_to_compact(int(hash_rate * T / (1600 * (1 + Fraction(2, 799)))))


def test_at_least_300_blocks() -> None:
    assert after(make_epoch(400), 400).length == 300


def test_slow_epoch_with_a_hopeless_estimate_falls_back_to_the_ideal_rate() -> None:
    """L = 300, U = 150, ten times too slow: 1.5·300/(0.5·10·300) = 0.3 < 1, so the estimate has no meaning."""
    following = after(make_epoch(300), 150, ON_TARGET_MS * 10)
    assert following.length == 300
    hash_rate = DIFFICULTY * 450 // (T * 10)
    assert following.compact_target == difficulty_to_compact(hash_rate * T * 40 // (41 * 300))


def test_hash_rate_is_dampened_by_the_stored_rate() -> None:
    real = DIFFICULTY * 1025 // T
    for previous, adjusted in [
        (0, real),
        (real * 2, real),
        (real * 2 + 2, real + 1),
        (real, real),
        (real // 2 + 1, real),
        (real // 3, real // 3 * 2),
    ]:
        assert after(make_epoch(1000, hash_rate=previous), 25).previous_epoch_hash_rate == adjusted


def test_hash_rate_and_difficulty_are_at_least_one() -> None:
    following = after(make_epoch(1000, compact_target=0x20FF_FFFF), 25, 10**12)
    assert following.previous_epoch_hash_rate == 1
    assert compact_to_difficulty(following.compact_target) == T * 40 // (41 * following.length)
    slowest = after(make_epoch(1000, compact_target=0x20FF_FFFF), 0, 10**12, make_consensus(epoch_duration_target_s=10))
    assert slowest.compact_target == 0x20FF_FFFF  # 10 / 1800 rounds to nothing, difficulty 1 remains


def test_duration_counts_whole_seconds_and_at_least_one() -> None:
    rate = DIFFICULTY * 1025
    assert after(make_epoch(1000), 25, 1_999).previous_epoch_hash_rate == rate
    assert after(make_epoch(1000), 25, 2_000).previous_epoch_hash_rate == rate // 2
    assert after(make_epoch(1000), 25, 0).previous_epoch_hash_rate == rate


def test_ideal_length_is_taken_modulo_2_64() -> None:
    """With o* = 1 and U = L the ideal is T·L/duration = 2⁶⁴, whose low 64 bits are 0: below every bound."""
    consensus = make_consensus(epoch_duration_target_s=1 << 54, orphan_rate_target=Fraction(1))
    assert after(make_epoch(1024), 1024, 1000, consensus).length == 512
    shorter = make_consensus(epoch_duration_target_s=(1 << 54) - 1, orphan_rate_target=Fraction(1))
    assert after(make_epoch(1024), 1024, 1000, shorter).length == 1800


def test_values_beyond_256_bits_are_refused() -> None:
    hardest = 0x0101_0000
    assert compact_to_difficulty(hardest) == U256_MAX
    with pytest.raises(EpochArithmeticError, match="hashes of the epoch"):
        after(make_epoch(1000, compact_target=hardest), 25)
    with pytest.raises(EpochArithmeticError, match="bound of the hash rate"):
        after(make_epoch(1000, hash_rate=1 << 255, compact_target=0x0208_0000), 25, 1000)
    almost = make_epoch(1000, hash_rate=U256_MAX >> 1, compact_target=0x0B01_0000)
    with pytest.raises(EpochArithmeticError, match="hashes of the next epoch") as caught:
        after(almost, 25, 1000)
    assert caught.value.value > U256_MAX


@given(
    length=st.integers(300, 1800),
    uncles=st.integers(0, 3600),
    duration_ms=st.integers(0, 10**9),
    hash_rate=st.integers(0, 1 << 100),
    compact_target=st.integers(0x1800_8000, 0x1FFF_FFFF),
)
def test_bounds_always_hold(length: int, uncles: int, duration_ms: int, hash_rate: int, compact_target: int) -> None:
    epoch = make_epoch(length, hash_rate=hash_rate, compact_target=compact_target)
    following = after(epoch, uncles, duration_ms)
    assert max(300, length // 2) <= following.length <= min(1800, 2 * length)
    assert compact_to_difficulty(following.compact_target) >= 1
    if hash_rate > 1:
        assert hash_rate // 2 <= following.previous_epoch_hash_rate <= hash_rate * 2
    assert following.primary_reward == REWARD


# Rewards


def test_halving() -> None:
    consensus = make_consensus()
    interval = consensus.primary_epoch_reward_halving_interval
    assert interval == 8760
    for number, shift in [(0, 0), (interval - 2, 0), (interval * 4 - 2, 3)]:
        epoch = make_epoch(1000, number=number).replace(
            base_block_reward=(REWARD >> shift) // 1000, remainder_reward=(REWARD >> shift) % 1000
        )
        assert next_primary_reward(consensus, epoch) == REWARD >> shift
    for number, shift in [(interval - 1, 1), (interval * 4 - 1, 4)]:
        assert next_primary_reward(consensus, make_epoch(1000, number=number)) == REWARD >> shift
    halved = after(make_epoch(1000, number=interval - 1), 25)
    assert halved.primary_reward == REWARD // 2


def test_between_halvings_the_reward_is_inherited() -> None:
    epoch = make_epoch(1000).replace(base_block_reward=5, remainder_reward=3)
    assert next_primary_reward(make_consensus(), epoch) == 5_003
    with pytest.raises(EpochArithmeticError, match="primary reward"):
        next_primary_reward(make_consensus(), epoch.replace(base_block_reward=(1 << 64) - 1))


def test_an_interval_of_zero_never_halves() -> None:
    consensus = make_consensus(primary_epoch_reward_halving_interval=0)
    assert next_primary_reward(consensus, make_epoch(1000)) == REWARD


def test_secondary_issuance_gives_the_remainder_to_the_first_blocks() -> None:
    epoch = make_epoch(1000)
    issued = [secondary_issuance(epoch, 10_000 + index, 12_345) for index in range(1000)]
    assert issued == [13] * 345 + [12] * 655


def test_genesis_issuance_is_rounded_up() -> None:
    assert genesis_block_issuance(12_000, 1000) == 12
    assert genesis_block_issuance(12_001, 1000) == 13


# Genesis epoch and look-ups


def test_genesis_epoch() -> None:
    epoch = genesis_epoch_ext(REWARD, 0x1A08A97E, 1743, T, Fraction(1, 40))
    assert (epoch.number, epoch.start_number, epoch.length) == (0, 0, 1743)
    assert (epoch.base_block_reward, epoch.remainder_reward) == divmod(REWARD, 1743)
    assert epoch.previous_epoch_hash_rate == compact_to_difficulty(0x1A08A97E) * (1743 + 43) // T
    assert epoch.compact_target == 0x1A08A97E
    assert epoch.last_block_hash_in_previous_epoch == bytes(32)


def uncle(number: int) -> UncleBlock:
    return UncleBlock(header=header(number=number, timestamp=number), proposals=[])


def build_epoch(chain: UncheckedChain, length: int, first: int, uncles: int) -> Block:
    """Blocks `first` to the end of the epoch, 10 s apart, the first `uncles` of them with an uncle each."""
    tip = chain.stored[chain.main[-1]]
    for number in range(first, length):
        tip = chain.extend(timestamp=number * 10_000, uncles=[uncle(number)] if number <= uncles else [])
    return tip


def test_statistics_of_the_first_epoch_count_from_genesis() -> None:
    consensus = make_consensus(genesis_length=40)
    chain = UncheckedChain.with_genesis(consensus)
    tail = build_epoch(chain, 40, 1, uncles=2)
    assert is_tail(consensus.genesis_epoch, 39)
    assert epoch_statistics(consensus, tail.header, consensus.genesis_epoch, chain) == EpochStatistics(2, 390_000)


def test_statistics_of_a_later_epoch_count_from_the_block_before() -> None:
    consensus = make_consensus(genesis_length=4, min_epoch_length=4, max_epoch_length=8)
    chain = UncheckedChain.with_genesis(consensus)
    before = build_epoch(chain, 4, 1, uncles=3)
    following = next_epoch_ext(consensus, before.header, consensus.genesis_epoch, chain)
    tail = before
    for number in range(4, 4 + following.length):
        tail = chain.extend(timestamp=100_000 + number * 7_000, uncles=[uncle(number)] if number == 5 else [])
    assert chain.tip_epoch() == following
    statistics = epoch_statistics(consensus, tail.header, following, chain)
    assert statistics == EpochStatistics(1, tail.header.timestamp - 30_000)


def test_inside_an_epoch_nothing_changes() -> None:
    consensus = make_consensus(genesis_length=40)
    chain = UncheckedChain.with_genesis(consensus)
    tail = build_epoch(chain, 40, 1, uncles=1)
    inside = chain.header(tail.parent_hash)
    assert inside is not None
    assert next_epoch_ext(consensus, inside, consensus.genesis_epoch, chain) is consensus.genesis_epoch
    following = next_epoch_ext(consensus, tail.header, consensus.genesis_epoch, chain)
    assert following == adjusted_epoch(
        consensus, tail.header, consensus.genesis_epoch, EpochStatistics(uncles=1, duration_ms=390_000)
    )
    assert following.number == 1


def test_time_that_ran_backwards_is_refused() -> None:
    consensus = make_consensus(genesis_length=2)
    chain = UncheckedChain(consensus)
    genesis = block(header(timestamp=1_000), [cellbase(0)])
    chain.attach(genesis, consensus.genesis_epoch)
    other = make_consensus(genesis_length=2, pow_func=PowFunc.EAGLESONG)
    epoch = other.genesis_epoch.replace(number=1, last_block_hash_in_previous_epoch=genesis.hash)
    tail = chain.attach(block(header(number=1, timestamp=999, parent_hash=genesis.hash), [cellbase(1)]), epoch)
    with pytest.raises(EpochArithmeticError, match="duration") as caught:
        next_epoch_ext(other, tail.header, epoch, chain)
    assert caught.value.value == -1


def test_missing_chain_data_is_not_the_blocks_fault() -> None:
    consensus = make_consensus(genesis_length=2)
    tail = header(number=1)
    with pytest.raises(ChainDataError):
        next_epoch_ext(consensus, tail, consensus.genesis_epoch, UncheckedChain(consensus))


def test_permanent_difficulty() -> None:
    """The dev chain: 80 s are ten 8-second blocks, whatever happened; 81 s are eleven."""
    for duration, length in [(80, 10), (81, 11)]:
        consensus = make_consensus(
            genesis_length=20,
            genesis_compact_target=0x2001_0000,
            epoch_duration_target_s=duration,
            permanent_difficulty_in_dummy=True,
        )
        genesis_epoch = consensus.genesis_epoch
        tail = header(number=19, compact_target=0x2001_0000)
        following = next_epoch_ext(consensus, tail, genesis_epoch, UncheckedChain(consensus))
        assert (following.length, following.number, following.start_number) == (length, 1, 20)
        assert following.compact_target == 0x2001_0000
        assert following.previous_epoch_hash_rate == genesis_epoch.previous_epoch_hash_rate
        assert following.primary_reward == genesis_epoch.primary_reward
        assert following.last_block_hash_in_previous_epoch == tail.hash


def test_permanent_difficulty_needs_dummy_work() -> None:
    consensus = make_consensus(genesis_length=2, permanent_difficulty_in_dummy=True, pow_func=PowFunc.EAGLESONG)
    with pytest.raises(ChainDataError):  # it goes the other way and wants statistics
        next_epoch_ext(consensus, header(number=1), consensus.genesis_epoch, UncheckedChain(consensus))


def test_block_epoch_rule() -> None:
    epoch = make_epoch(1000)
    good = header(number=10_003, epoch=EpochFraction(7, 3, 1000), compact_target=TARGET)
    verify_block_epoch(epoch, good)
    with pytest.raises(EpochNumberMismatchError, match=r"Epoch\(NumberMismatch\(expected: ") as wrong_epoch:
        verify_block_epoch(epoch, good.with_fields(epoch=EpochFraction(7, 4, 1000).pack()))
    assert wrong_epoch.value.expected == EpochFraction(7, 3, 1000).pack()
    with pytest.raises(EpochNumberMismatchError):  # the unused top byte counts here
        verify_block_epoch(epoch, good.with_fields(epoch=good.epoch | 1 << 56))
    with pytest.raises(EpochTargetMismatchError, match="TargetMismatch") as wrong_target:
        verify_block_epoch(epoch, good.with_fields(compact_target=TARGET + 1))
    assert (wrong_target.value.expected, wrong_target.value.actual) == (TARGET, TARGET + 1)
