"""Epochs of branches of headers, with the rule itself where blocks are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from ckb_node.sync.headers.epochs import BranchEpochs
from consensus.crypto.difficulty import DIFFICULTY_TWO
from consensus.rules.epoch import EpochNumberMismatchError, EpochTargetMismatchError
from consensus.rules.epoch_floor import EpochLengthError, TargetTooEasyError
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from storage.chain_store import ChainView
from tests.support.chains.unchecked import UncheckedChain, header, make_consensus
from tests.support.network.clock import FakeScheduler
from tests.sync.headers.kit_headers import GENESIS, FakeChain, branch

HARD = 0x1D00_FFFF
PUBLIC = make_consensus(genesis_length=20, min_epoch_length=10, max_epoch_length=40, genesis_compact_target=HARD)
"""Epochs of 10 to 40 blocks, in four hours each."""
BLOCK_MS = 4 * 3_600_000 // 40


def good_chain(count: int) -> list[Header]:
    """By the rule itself."""
    chain = UncheckedChain.with_genesis(PUBLIC)
    for number in range(1, count + 1):
        chain.extend(timestamp=number * BLOCK_MS)
    return [each.header for each in chain.blocks[1:]]


GOOD = good_chain(150)
"""Without uncles: epochs double to 40 blocks, and stay so."""
SECOND, THIRD = 19, 59
"""Where in GOOD epochs 1 and 2 begin."""


def with_epoch(at: int, length: int, target: int, count: int = 3, interval_ms: int = BLOCK_MS) -> list[Header]:
    """GOOD up to the end of an epoch, then another one than follows."""
    made = GOOD[:at]
    for index in range(count):
        made.append(
            header(
                number=made[-1].number + 1,
                timestamp=made[-1].timestamp + interval_ms,
                parent_hash=made[-1].hash,
                epoch=EpochFraction(EpochFraction.unpack(GOOD[at].epoch).number, index, length),
                compact_target=target,
            )
        )
    return made


def verified(headers: list[Header], *, batch: int = 1000, store: int = 0) -> tuple[int, Exception | None]:
    """How many pass, in batches; the first `store` are blocks, the others become rows as they pass."""
    chain = FakeChain(FakeScheduler(), PUBLIC)
    chain.grow(headers[:store])
    epochs, done = BranchEpochs(PUBLIC), store
    while done < len(headers):
        part = headers[done : done + batch]
        with chain.view() as view:
            passed, error = epochs.verify(view, view.known_headers(), part)
        done += passed
        if error is not None:
            return done, error
        chain.writer.store_headers(part)
    return done, None


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("store", [0, 19, 45])
def test_a_valid_chain_passes_however_it_comes(batch: int, store: int) -> None:
    assert verified(GOOD, batch=batch, store=store) == (len(GOOD), None)


def test_after_a_restart_the_epoch_is_found_again() -> None:
    chain = FakeChain(FakeScheduler(), PUBLIC)
    chain.writer.store_headers(GOOD[:70])
    with chain.view() as view:
        assert BranchEpochs(PUBLIC).verify(view, view.known_headers(), GOOD[70:]) == (len(GOOD) - 70, None)


def test_a_target_within_an_epoch_does_not_change() -> None:
    bad = [*GOOD[:30], GOOD[30].with_fields(compact_target=DIFFICULTY_TWO)]
    passed, error = verified(bad)
    assert passed == 30
    assert isinstance(error, EpochTargetMismatchError)


def test_the_first_epoch_is_that_of_the_chain() -> None:
    bad = [GOOD[0].with_fields(epoch=EpochFraction(0, 1, 30).pack())]
    passed, error = verified(bad)
    assert passed == 0
    assert isinstance(error, EpochNumberMismatchError)
    passed, error = verified([GOOD[0].with_fields(compact_target=DIFFICULTY_TWO)])
    assert isinstance(error, EpochTargetMismatchError)


def test_on_a_stored_block_the_rule_itself_decides() -> None:
    """There were no uncles, so there is one length and one target."""
    passed, error = verified(with_epoch(SECOND, 39, GOOD[SECOND].compact_target), store=SECOND)
    assert passed == SECOND
    assert isinstance(error, EpochNumberMismatchError)
    passed, error = verified(with_epoch(SECOND, 40, GOOD[SECOND].compact_target - 1), store=SECOND)
    assert passed == SECOND
    assert isinstance(error, EpochTargetMismatchError)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_an_easy_epoch_is_refused_where_it_begins(batch: int) -> None:
    passed, error = verified(with_epoch(THIRD, 40, DIFFICULTY_TWO), batch=batch)
    assert passed == THIRD
    assert isinstance(error, TargetTooEasyError)


def test_an_impossible_length_is_refused() -> None:
    passed, error = verified(with_epoch(THIRD, 9, GOOD[THIRD].compact_target))
    assert passed == THIRD
    assert isinstance(error, EpochLengthError)


def test_permanent_difficulty() -> None:
    chain = FakeChain(FakeScheduler())
    made = branch(GENESIS, 4000)
    with chain.view() as view:
        assert BranchEpochs(chain.consensus).verify(view, view.known_headers(), made) == (4000, None)


# ---------------------------------------------------------------- a run is the same as one by one


class Known(dict[bytes, Header]):
    """A HeaderProvider."""

    def header(self, block_hash: bytes) -> Header | None:
        return self.get(block_hash)


def one_by_one(view: ChainView, known: Known, headers: list[Header]) -> tuple[int, str]:
    """Each header is a batch."""
    epochs = BranchEpochs(PUBLIC)
    for index, each in enumerate(headers):
        _, error = epochs.verify(view, known, [each])
        if error is not None:
            return index, repr(error)
    return len(headers), repr(None)


def changed_at(at: int, fields: Mapping[str, int]) -> list[Header]:
    """GOOD with other fields in one place; what stands above follows."""
    made = [*GOOD[:at], GOOD[at].with_fields(**fields)]
    for each in GOOD[at + 1 : 75]:
        made.append(each.with_fields(parent_hash=made[-1].hash))
    return made


@pytest.mark.parametrize("store", [0, 30])
@pytest.mark.parametrize(
    "change",
    [
        lambda good: {"compact_target": good.compact_target - 1},
        lambda good: {"compact_target": good.compact_target + 1},
        lambda good: {"compact_target": DIFFICULTY_TWO},
        lambda good: {"compact_target": 0},
        lambda good: {"epoch": good.epoch + 1},
        lambda good: {"epoch": good.epoch + (1 << 40)},
        lambda good: {"timestamp": 0},
    ],
)
def test_what_is_wrong_at_each_place_of_a_run_is_found_as_one_by_one(
    store: int, change: Callable[[Header], Mapping[str, int]]
) -> None:
    chain = FakeChain(FakeScheduler(), PUBLIC)
    chain.grow(GOOD[:store])
    with chain.view() as view:
        for at in range(store, 75):
            headers = changed_at(at, change(GOOD[at]))
            known = Known({each.hash: each for each in (PUBLIC.genesis_block.header, *headers)})
            passed, error = BranchEpochs(PUBLIC).verify(view, known, headers[store:])
            assert (passed, repr(error)) == one_by_one(view, known, headers[store:]), at
