"""Since (RFC 17) with the start of relative time locks (RFC 28) and the form of epochs (RFC 30)."""

from __future__ import annotations

import pytest

from consensus.lookup import ChainDataError
from consensus.params import Consensus, Hardforks
from consensus.rules.since import ImmatureError, InvalidSinceError, Metric, Since, verify_since
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Header
from consensus.types.core import CellMeta, EpochFraction, TransactionInfo
from tests.support.builders.blocks import (
    BLOCK_INTERVAL_MS,
    START_MS,
    a_cell,
    a_consensus,
    a_header,
    a_transaction,
    an_input,
    resolved,
)
from tests.support.chains.valid import ValidChain

RELATIVE = 1 << 63
EPOCH, TIME = 1 << 61, 1 << 62
NO_METRIC = EPOCH | TIME
MAX_VALUE = (1 << 56) - 1
NOW, CREATED = EpochFraction(5, 0, 100), EpochFraction(3, 50, 100)


class Headers:
    """Blocks at one per `BLOCK_INTERVAL_MS`, by number in the first bytes of their hash."""

    def header(self, block_hash: bytes) -> Header | None:
        if block_hash[8:] != bytes(24):
            return None
        number = int.from_bytes(block_hash[:8], "big")
        return a_header(
            number=number, timestamp=START_MS + number * BLOCK_INTERVAL_MS, parent_hash=block_id(max(number - 1, 0))
        )


def block_id(number: int) -> bytes:
    return number.to_bytes(8, "big") + bytes(24)


def env_at(number: int, epoch: EpochFraction = NOW) -> TxEnv:
    return TxEnv.committed(a_header(number=number, epoch=epoch.pack(), parent_hash=block_id(number - 1)))


def cell_at(number: int, epoch: EpochFraction = CREATED) -> CellMeta:
    return a_cell(info=TransactionInfo(block_id(number), number, epoch.pack(), 1))


def check(since: int, env: TxEnv, cell: CellMeta | None = None, consensus: Consensus | None = None) -> None:
    cell = cell or cell_at(1)
    transaction = a_transaction([an_input(cell.as_out_point(), since)])
    verify_since(consensus or a_consensus(), resolved(transaction, [cell]), env, Headers())


def assert_turns(since: int, too_early: TxEnv, in_time: TxEnv, cell: CellMeta, consensus: Consensus) -> None:
    with pytest.raises(ImmatureError):
        check(since, too_early, cell, consensus)
    check(since, in_time, cell, consensus)


def median_at(number: int) -> int:
    """Median time that a block at `number` > 37 sees: of 37 ancestors the 19th from its parent."""
    return START_MS + (number - 19) * BLOCK_INTERVAL_MS


def test_zero_is_always_fulfilled_even_for_a_cell_of_the_pool() -> None:
    check(0, env_at(1), a_cell(info=None))


def test_absolute_block_number() -> None:
    assert_turns(1000, env_at(999), env_at(1000), cell_at(1), a_consensus())


def test_absolute_epoch_compares_fractions() -> None:
    since = EPOCH | EpochFraction(5, 1, 3).pack()
    too_early, in_time = EpochFraction(5, 33, 100), EpochFraction(5, 34, 100)
    assert_turns(since, env_at(500, too_early), env_at(500, in_time), cell_at(1), a_consensus())


def test_an_epoch_that_is_just_reached_is_in_time_whatever_its_denominator() -> None:
    check(EPOCH | EpochFraction(5, 1, 2).pack(), env_at(500, EpochFraction(5, 50, 100)))
    # The cell is of 3(50/100), so 1(3/4) later is 5(25/100).
    since = RELATIVE | EPOCH | EpochFraction(1, 3, 4).pack()
    assert_turns(
        since,
        env_at(500, EpochFraction(5, 24, 100)),
        env_at(500, EpochFraction(5, 25, 100)),
        cell_at(1),
        a_consensus(),
    )


def test_absolute_timestamp_is_compared_with_the_median_of_the_parent() -> None:
    seconds = median_at(100) // 1000
    assert median_at(100) % 1000 == 0
    assert_turns(TIME | seconds, env_at(99), env_at(100), cell_at(1), a_consensus())
    with pytest.raises(ImmatureError):
        check(TIME | (seconds + 1), env_at(100))


def test_relative_block_number() -> None:
    assert_turns(RELATIVE | 20, env_at(69), env_at(70), cell_at(50), a_consensus())


def test_relative_epoch_adds_fractions() -> None:
    since = RELATIVE | EPOCH | EpochFraction(1, 2, 3).pack()
    too_early, in_time = EpochFraction(5, 16, 100), EpochFraction(5, 17, 100)
    assert_turns(since, env_at(500, too_early), env_at(500, in_time), cell_at(1), a_consensus())


def test_relative_timestamp_starts_at_the_cells_block_since_rfc_28() -> None:
    seconds = (median_at(100) - (START_MS + 50 * BLOCK_INTERVAL_MS)) // 1000
    assert_turns(RELATIVE | TIME | seconds, env_at(99), env_at(100), cell_at(50), a_consensus())


def test_relative_timestamp_started_at_the_median_before_rfc_28() -> None:
    consensus = a_consensus(hardforks=Hardforks(rfc_0028=6))
    seconds = (median_at(100) - median_at(50)) // 1000
    assert_turns(RELATIVE | TIME | seconds, env_at(99), env_at(100), cell_at(50), consensus)
    check_after = env_at(100, EpochFraction(6, 0, 100))
    check(RELATIVE | TIME | (seconds - 19 * 8), check_after, cell_at(50), consensus)
    with pytest.raises(ImmatureError):
        check(RELATIVE | TIME | seconds, check_after, cell_at(50), consensus)


def test_rfc_28_looks_ahead_by_the_proposal_window() -> None:
    consensus = a_consensus(hardforks=Hardforks(rfc_0028=6))
    seconds = (START_MS + 81 * BLOCK_INTERVAL_MS - median_at(50)) // 1000
    # The tip's median is that of blocks 63..99 for both; only the epoch differs.
    for index, is_in_time in ((96, True), (97, False)):
        tip = a_header(
            number=99, epoch=EpochFraction(5, index, 100).pack(), timestamp=START_MS + 99 * BLOCK_INTERVAL_MS
        )
        env = TxEnv(tip.number, EpochFraction.unpack(tip.epoch), block_id(99), TxEnv.submitted(tip).phase)
        if is_in_time:
            check(RELATIVE | TIME | seconds, env, cell_at(50), consensus)
        else:
            with pytest.raises(ImmatureError):
                check(RELATIVE | TIME | seconds, env, cell_at(50), consensus)


def test_a_relative_timestamp_on_a_genesis_cell_never_passed_before_rfc_28() -> None:
    """The genesis block has no parent whose median could be the start; found by the simulator."""
    cell = cell_at(0)
    with pytest.raises(ImmatureError):
        check(RELATIVE | TIME, env_at(100), cell, a_consensus(hardforks=Hardforks(rfc_0028=6)))
    check(RELATIVE | TIME, env_at(100), cell, a_consensus(hardforks=Hardforks(rfc_0028=5)))


@pytest.mark.parametrize("metric", [0, EPOCH, TIME])
def test_relative_since_on_a_cell_of_the_pool_is_immature(metric: int) -> None:
    with pytest.raises(ImmatureError):
        check(RELATIVE | metric, env_at(1000), a_cell(info=None))


@pytest.mark.parametrize("flags", [1 << 56, 1 << 60, NO_METRIC, RELATIVE | NO_METRIC, RELATIVE | 1 << 57])
def test_reserved_bits_and_the_fourth_metric_are_invalid(flags: int) -> None:
    with pytest.raises(InvalidSinceError):
        check(flags | 1, env_at(1000))


@pytest.mark.parametrize(("index", "length", "is_valid"), [(0, 0, True), (0, 1, True), (1, 1, False), (1, 0, False)])
@pytest.mark.parametrize("flag", [0, RELATIVE])
def test_the_index_of_an_epoch_is_below_its_length_or_both_are_zero(
    flag: int, index: int, length: int, is_valid: bool
) -> None:
    since = flag | EPOCH | EpochFraction(1, index, length).pack()
    if is_valid:
        check(since, env_at(1000))
    else:
        with pytest.raises(InvalidSinceError):
            check(since, env_at(1000))


@pytest.mark.parametrize("flag", [0, RELATIVE])
def test_the_greatest_timestamp_neither_wraps_nor_crashes(flag: int) -> None:
    since = Since.parse(flag | TIME | MAX_VALUE)
    assert since == Since(flag != 0, Metric.TIMESTAMP, MAX_VALUE)
    assert since.milliseconds == MAX_VALUE * 1000 > (1 << 64)
    with pytest.raises(ImmatureError):
        check(flag | TIME | MAX_VALUE, env_at(1000))


def test_a_wrapped_timestamp_would_have_been_in_time() -> None:
    """A node that computes milliseconds modulo 2^64 would accept this one."""
    seconds = (1 << 64) // 1000 + 1
    assert seconds <= MAX_VALUE
    assert seconds * 1000 % (1 << 64) < START_MS
    with pytest.raises(ImmatureError):
        check(TIME | seconds, env_at(1000))


def test_the_error_names_the_input() -> None:
    cells = [cell_at(1), cell_at(2)]
    transaction = a_transaction([an_input(b"\x01" * 36), an_input(b"\x02" * 36, 5000)])
    with pytest.raises(ImmatureError) as caught:
        verify_since(a_consensus(), resolved(transaction, cells), env_at(1000), Headers())
    assert caught.value.index == 1
    assert str(caught.value) == "Immature(Inputs[1]): the transaction is immature because of the since requirement"


def test_a_missing_header_is_the_databases_fault() -> None:
    cell = a_cell(info=TransactionInfo(b"\xff" * 32, 5, 0, 1))
    with pytest.raises(ChainDataError):
        check(RELATIVE | TIME | 1, env_at(1000), cell)


def test_a_real_chain_gives_the_same_answer() -> None:
    """On ValidChain: a lock of one block on a cell that block 3 commits."""
    chain = ValidChain(a_consensus())
    parent = chain.spend(0)
    chain.commit(parent)
    cell = chain.cell(parent.output_keys()[0])
    assert cell is not None
    assert chain.tip_header().number == 3
    rtx = resolved(a_transaction([an_input(cell.as_out_point(), RELATIVE | 1)]), [cell])
    verify_since(chain.consensus, rtx, TxEnv.committed(chain.next_header()), chain)
    rtx = resolved(a_transaction([an_input(cell.as_out_point(), RELATIVE | 2)]), [cell])
    with pytest.raises(ImmatureError):
        verify_since(chain.consensus, rtx, TxEnv.committed(chain.next_header()), chain)
