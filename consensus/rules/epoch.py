"""Epochs: difficulty, length and issuance of the next epoch (RFC 20 "Dynamic Difficulty Adjustment", RFC 15).

All arithmetic is on unsigned 256-bit integers and exact fractions of them. A value that does not fit raises
EpochArithmeticError: no real chain gets near the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from consensus.codec.layout import U64_MAX
from consensus.context import StoredBlocksReader
from consensus.crypto.difficulty import U256_MAX, compact_to_difficulty, difficulty_to_compact
from consensus.crypto.hashing import ZERO_HASH
from consensus.errors import EpochError
from consensus.lookup import require
from consensus.params import MIN_BLOCK_INTERVAL_S, Consensus, PowFunc
from consensus.types.blockchain import Header
from consensus.types.core import EpochExt, EpochFraction

TAU = 2
"""Hash rate and epoch length at most double or halve from one epoch to the next."""

_MS_PER_S = 1000


class EpochMalformedError(EpochError):
    """The epoch field's length is zero or its index is not below the length."""

    def __init__(self, value: EpochFraction) -> None:
        super().__init__(f"Header(Epoch(Malformed(value: {value})))")
        self.value = value


class EpochContinuityError(EpochError):
    """The epoch field does not follow the parent's."""

    def __init__(self, current: EpochFraction, parent: EpochFraction) -> None:
        super().__init__(f"Header(Epoch(NonContinuous(current: {current}, parent: {parent})))")
        self.current = current
        self.parent = parent


class EpochNumberMismatchError(EpochError):
    """The epoch field is not the one that the chain demands. Both are packed."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"Header(Epoch(NumberMismatch(expected: {expected}, actual: {actual})))")
        self.expected = expected
        self.actual = actual


class EpochTargetMismatchError(EpochError):
    """The compact target is not the one of the epoch."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"Header(Epoch(TargetMismatch(expected: {expected:x}, actual: {actual:x})))")
        self.expected = expected
        self.actual = actual


class EpochArithmeticError(EpochError):
    """The next epoch cannot be computed: a value leaves its unsigned type."""

    def __init__(self, what: str, value: int) -> None:
        super().__init__(f"Header(Epoch(Overflow({what}: {value})))")
        self.what = what
        self.value = value


def _fits(what: str, value: int, limit: int) -> int:
    if not 0 <= value <= limit:
        raise EpochArithmeticError(what, value)
    return value


@dataclass(frozen=True, slots=True)
class EpochStatistics:
    """What a finished epoch tells about the network: uncles that it embeds, and how long it took."""

    uncles: int
    duration_ms: int


def is_tail(epoch: EpochExt, number: int) -> bool:
    """Block `number` is the last of the epoch."""
    return number == epoch.start_number + epoch.length - 1


def secondary_issuance(epoch: EpochExt, number: int, secondary_epoch_reward: int) -> int:
    """Secondary issuance of block `number`, shannons; the epoch's first blocks share the remainder (RFC 15)."""
    base, remainder = divmod(secondary_epoch_reward, epoch.length)
    return base + (epoch.start_number <= number < epoch.start_number + remainder)


def genesis_block_issuance(epoch_reward: int, epoch_length: int) -> int:
    """The genesis block's share of an epoch's reward: a block's share rounded up."""
    return -(-epoch_reward // epoch_length)


def genesis_epoch_ext(
    primary_epoch_reward: int,
    compact_target: int,
    length: int,
    epoch_duration_target_s: int,
    orphan_rate_target: Fraction,
) -> EpochExt:
    """Epoch 0; its "previous" hash rate is the one that meets the targets at this difficulty."""
    orphans = length * orphan_rate_target.numerator // orphan_rate_target.denominator
    hash_rate = compact_to_difficulty(compact_target) * (length + orphans)
    base, remainder = divmod(primary_epoch_reward, length)
    return EpochExt(
        previous_epoch_hash_rate=_fits("genesis hash rate", hash_rate, U256_MAX) // epoch_duration_target_s,
        last_block_hash_in_previous_epoch=ZERO_HASH,
        compact_target=compact_target,
        number=0,
        base_block_reward=base,
        remainder_reward=remainder,
        start_number=0,
        length=length,
    )


def next_epoch_ext(
    consensus: Consensus, parent: Header, parent_epoch: EpochExt, reader: StoredBlocksReader
) -> EpochExt:
    """The epoch of the block after `parent`; `parent_epoch` itself unless the parent ends it."""
    if not is_tail(parent_epoch, parent.number):
        return parent_epoch
    if has_permanent_difficulty(consensus):
        return _next_epoch_with_same_target(consensus, parent, parent_epoch)
    return adjusted_epoch(consensus, parent, parent_epoch, epoch_statistics(consensus, parent, parent_epoch, reader))


def epoch_statistics(
    consensus: Consensus, tail: Header, epoch: EpochExt, reader: StoredBlocksReader
) -> EpochStatistics:
    """RFC 20 "Notations": uncles and duration of the epoch that ends in `tail` fit 64 bits.

    Time counts from the block before the epoch; in epoch 0 from genesis.
    """
    before = consensus.genesis_hash if epoch.number == 0 else epoch.last_block_hash_in_previous_epoch
    uncles_until_tail = require(reader.block_ext(tail.hash), "block ext", tail.hash).total_uncles_count
    uncles_before = require(reader.block_ext(before), "block ext", before).total_uncles_count
    started_at = require(reader.header(before), "header", before).timestamp
    return EpochStatistics(
        uncles=_fits("uncles of the epoch", uncles_until_tail - uncles_before, U64_MAX),
        duration_ms=_fits("duration of the epoch", tail.timestamp - started_at, U64_MAX),
    )


def adjusted_epoch(consensus: Consensus, tail: Header, epoch: EpochExt, statistics: EpochStatistics) -> EpochExt:
    """RFC 20 "Computing the Outputs": the epoch after the one that ends in `tail`, with adjusted difficulty and length.

    Every intermediate value must fit 256 bits (ckb, no RFC).
    """
    duration_s = max(statistics.duration_ms // _MS_PER_S, 1)
    uncles = statistics.uncles
    hash_rate = _adjusted_hash_rate(tail, epoch, uncles, duration_s)
    length, is_bounded = next_length(consensus, epoch.length, uncles, duration_s)
    if is_bounded:
        blocks = expected_blocks_when_bounded(consensus, epoch.length, uncles, duration_s, length)
    else:
        blocks = expected_blocks_at_ideal_rate(consensus, length)
    difficulty = next_difficulty(hash_rate * consensus.epoch_duration_target_s, blocks)
    return _head_of_next_epoch(
        consensus, tail, epoch, length=length, compact_target=difficulty_to_compact(difficulty), hash_rate=hash_rate
    )


def _adjusted_hash_rate(tail: Header, epoch: EpochExt, uncles: int, duration_s: int) -> int:
    """Hashes per second of the epoch, dampened against the (adjusted) rate of the epoch before; at least 1."""
    hashes = compact_to_difficulty(tail.compact_target) * (epoch.length + uncles)
    rate = _fits("hashes of the epoch", hashes, U256_MAX) // duration_s
    return dampened_hash_rate(rate, epoch.previous_epoch_hash_rate)


def dampened_hash_rate(rate: int, previous: int) -> int:
    """Between half and twice the rate of the epoch before, if that is known (not zero); at least 1."""
    if rate < previous // TAU:
        rate = previous // TAU
    elif previous:
        rate = min(rate, _fits("bound of the hash rate", previous * TAU, U256_MAX))
    return max(rate, 1)


def next_length(consensus: Consensus, length: int, uncles: int, duration_s: int) -> tuple[int, bool]:
    """Length of the epoch after one of `length` blocks: it would bring the orphan rate to its target, unless a bound
    replaced it, which is told besides.

    Without uncles the rate says nothing: the epoch doubles, and counts as bounded.
    """
    shortest, longest = length_bounds(consensus, length)
    if uncles == 0:
        return longest, True
    ideal_rate, rate = consensus.orphan_rate_target, Fraction(uncles, length)
    wanted = ideal_rate * (rate + 1) * consensus.epoch_duration_target_s * length
    unbounded = int(wanted / (rate * (ideal_rate + 1) * duration_s)) & U64_MAX
    if unbounded > longest:
        return longest, True
    if unbounded < shortest:
        return shortest, True
    return unbounded, False


def length_bounds(consensus: Consensus, length: int) -> tuple[int, int]:
    """Shortest and longest epoch after one of `length` blocks."""
    return max(consensus.min_epoch_length, length // TAU), min(consensus.max_epoch_length, length * TAU)


def expected_blocks_at_ideal_rate(consensus: Consensus, length: int) -> Fraction:
    """Blocks of the next epoch, uncles included, when the orphan rate is on target."""
    return (consensus.orphan_rate_target + 1) * length


def expected_blocks_when_bounded(
    consensus: Consensus, length: int, uncles: int, duration_s: int, following: int
) -> Fraction:
    """Blocks of the next epoch, uncles included, when its length (`following`) was cut: the orphan rate will miss the
    target.

    The rate to come is estimated from how fast blocks spread in the epoch that ended.
    """
    if uncles == 0:
        return Fraction(following)
    rate = Fraction(uncles, length)
    reciprocal = (rate + 1) * consensus.epoch_duration_target_s * length / (rate * duration_s * following) - 1
    if reciprocal <= 0:
        return expected_blocks_at_ideal_rate(consensus, following)
    return (1 / reciprocal + 1) * following


def next_difficulty(numerator: int, denominator: Fraction) -> int:
    """⌊numerator / denominator⌋, at least 1."""
    _fits("hashes of the next epoch", numerator * denominator.denominator, U256_MAX)
    return max(int(numerator / denominator), 1)


def has_permanent_difficulty(consensus: Consensus) -> bool:
    """A dev chain whose target never changes."""
    return consensus.pow_func is PowFunc.DUMMY and consensus.permanent_difficulty_in_dummy


def permanent_length(consensus: Consensus) -> int:
    """Of all epochs but the first of such a chain."""
    return -(-consensus.epoch_duration_target_s // MIN_BLOCK_INTERVAL_S)


def _next_epoch_with_same_target(consensus: Consensus, tail: Header, epoch: EpochExt) -> EpochExt:
    """Dev chains with permanent difficulty: every later epoch has the length that 8-second blocks would fill."""
    length = permanent_length(consensus)
    return _head_of_next_epoch(
        consensus,
        tail,
        epoch,
        length=length,
        compact_target=epoch.compact_target,
        hash_rate=epoch.previous_epoch_hash_rate,
    )


def _head_of_next_epoch(
    consensus: Consensus, tail: Header, epoch: EpochExt, *, length: int, compact_target: int, hash_rate: int
) -> EpochExt:
    base, remainder = divmod(next_primary_reward(consensus, epoch), length)
    return EpochExt(
        previous_epoch_hash_rate=hash_rate,
        last_block_hash_in_previous_epoch=tail.hash,
        compact_target=compact_target,
        number=epoch.number + 1,
        base_block_reward=base,
        remainder_reward=remainder,
        start_number=tail.number + 1,
        length=length,
    )


def next_primary_reward(consensus: Consensus, epoch: EpochExt) -> int:
    """Primary reward of the epoch after `epoch`, shannons: the same, except where the halving interval ends."""
    number, interval = epoch.number + 1, consensus.primary_epoch_reward_halving_interval
    if interval == 0 or number % interval:
        return _fits("primary reward", epoch.primary_reward, U64_MAX)
    return consensus.initial_primary_epoch_reward >> (number // interval)


def verify_block_epoch(epoch: EpochExt, header: Header) -> None:
    """RFC 20 "Dynamic Difficulty Adjustment Mechanism": the header's epoch field and compact target are those of its
    place in `epoch`.
    """
    expected = epoch.fraction_at(header.number).pack()
    if header.epoch != expected:
        raise EpochNumberMismatchError(expected, header.epoch)
    if header.compact_target != epoch.compact_target:
        raise EpochTargetMismatchError(epoch.compact_target, header.compact_target)
