"""Real changes of epoch: mainnet's 0 to 1 and 1 to 2, testnet's 0 to 1.

The headers tell the epochs' lengths and targets and when blocks were made, but no source that was found tells how many
uncles an epoch had, nor when mainnet's block 1742 was made. Still the figures of two changes leave no choice: only 2
uncles in epoch 0 and 11 in epoch 1 lead to them, with block 1742 in one and the same span of ten seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from fractions import Fraction

from consensus.rules.epoch import EpochStatistics, adjusted_epoch, genesis_epoch_ext
from consensus.types.blockchain import Header
from consensus.types.core import EpochExt, EpochFraction
from tests.realchain.kinds import MAINNET, TESTNET
from tests.realchain.vectors import all_headers
from tests.support.chains.unchecked import header, make_consensus

GENESIS_S = {MAINNET: 1_573_852_190, TESTNET: 1_589_276_230}
GENESIS_LENGTH = {MAINNET: 1743, TESTNET: 1000}
"""Facts of the chain specs."""

EPOCH_REWARD = 191_780_821_917_808
EPOCH_S = 4 * 60 * 60
CONSENSUS = make_consensus(epoch_duration_target_s=EPOCH_S, orphan_rate_target=Fraction(1, 40))
MANY_UNCLES = 100


def real_header(network: str, number: int) -> Header:
    (found,) = (real.header for real in all_headers() if (real.network, real.header.number) == (network, number))
    return found


def genesis_epoch(network: str, target: int) -> EpochExt:
    return genesis_epoch_ext(EPOCH_REWARD, target, GENESIS_LENGTH[network], EPOCH_S, Fraction(1, 40))


def tail_of(epoch: EpochExt) -> Header:
    """The last block of an epoch, as far as the change to the next looks at it."""
    return header(number=epoch.start_number + epoch.length - 1, compact_target=epoch.compact_target)


def after(epoch: EpochExt, uncles: int, seconds: int) -> EpochExt:
    return adjusted_epoch(CONSENSUS, tail_of(epoch), epoch, EpochStatistics(uncles, seconds * 1000))


def durations(epoch: EpochExt, next_header: Header, uncles: int, possible: range) -> range:
    """With which durations, in seconds, the next epoch is `next_header`'s. The longer, the shorter and easier it is."""

    def order(seconds: int) -> tuple[int, int]:
        following = after(epoch, uncles, seconds)
        return -following.length, following.compact_target

    wanted = (-EpochFraction.unpack(next_header.epoch).length, next_header.compact_target)
    first = bisect_left(possible, wanted, key=order)
    return possible[first : bisect_right(possible, wanted, lo=first, key=order)]


def test_two_changes_of_mainnet() -> None:
    in_0, in_1 = real_header(MAINNET, 903), real_header(MAINNET, 2000)
    last_of_1, first_of_2 = real_header(MAINNET, 3542), real_header(MAINNET, 3543)
    epoch_0 = genesis_epoch(MAINNET, in_0.compact_target)

    possible = range(in_0.timestamp // 1000 - GENESIS_S[MAINNET], in_1.timestamp // 1000 - GENESIS_S[MAINNET])
    first_change = {uncles: durations(epoch_0, in_1, uncles, possible) for uncles in range(1, MANY_UNCLES)}
    epoch_1 = after(epoch_0, 2, first_change[2][0])
    assert (epoch_1.start_number, epoch_1.length, epoch_1.compact_target) == (1743, 1800, 0x1A11B985)
    assert epoch_1.previous_epoch_hash_rate == epoch_0.previous_epoch_hash_rate // 2  # dampened

    until_end = last_of_1.timestamp // 1000 - GENESIS_S[MAINNET]
    rest = range(until_end - possible[-1], until_end - possible[0])
    second_change = {uncles: durations(epoch_1, first_of_2, uncles, rest) for uncles in range(1, MANY_UNCLES)}

    agreeing = {
        (u0, u1): sorted(set(d0) & {until_end - seconds for seconds in d1})
        for u0, d0 in first_change.items()
        for u1, d1 in second_change.items()
    }
    assert {uncles: (d[0], d[-1]) for uncles, d in agreeing.items() if d} == {(2, 11): (181_709, 181_718)}

    epoch_2 = after(epoch_1, 11, until_end - 181_709)
    assert (epoch_2.start_number, epoch_2.length, epoch_2.compact_target) == (3543, 1677, first_of_2.compact_target)


def test_one_change_of_testnet() -> None:
    """It stood still for ten days after its genesis block. Its first 15 blocks alone embed six uncles."""
    in_0, in_1 = real_header(TESTNET, 261), real_header(TESTNET, 1024)
    epoch_0 = genesis_epoch(TESTNET, in_0.compact_target)
    for tail_time in (in_0.timestamp, in_1.timestamp):
        for uncles in (50, 300, 1000):
            epoch_1 = after(epoch_0, uncles, tail_time // 1000 - GENESIS_S[TESTNET])
            found = (epoch_1.number, epoch_1.start_number, epoch_1.length, epoch_1.compact_target)
            assert found == (1, 1000, 500, in_1.compact_target)
            assert EpochFraction.unpack(in_1.epoch) == EpochFraction(1, 1024 - epoch_1.start_number, epoch_1.length)
