"""Fee estimators: the reference's own examples and others, what is learnt and forgotten, readiness, the fallback."""

from __future__ import annotations

from random import Random

import pytest

from ckb_node.txpool import fee_estimators
from ckb_node.txpool.fee_estimate import FeeEstimates
from ckb_node.txpool.fee_estimators import (
    BLOCK_BYTES,
    LACK_DATA,
    LOWEST_FEE_RATE,
    NO_RATE,
    NOT_READY,
    Algorithm,
    ConfirmationFraction,
    Paying,
    WeightUnitsFlow,
    bucket_of,
    lowest_rate_of,
)
from ckb_node.txpool.views import FeeEstimateError, FeePriority
from tests.support.chains.funded_pool import funded

TARGET = 5
HISTORY = 2 * TARGET


def bounds() -> list[int]:
    found, rate = list[int](), 1000
    while rate < 5000:
        found.append(rate)
        rate = int(1.1 * rate)
    return found


@pytest.mark.parametrize(
    ("blocks", "samples", "rate"),
    [(5, 3, 3000), (10, 1, 1500), (10, 3, 2050), (10, 4, 2050), (15, 2, 1000), (15, 3, 1200)],
)
def test_median_of_what_was_committed_in_time(blocks: int, samples: int, rate: int) -> None:
    learnt = ConfirmationFraction(bounds())
    for paid, after in (
        (2500, 5),
        (3000, 5),
        (3500, 5),
        (1500, 10),
        (2000, 10),
        (2100, 10),
        (2200, 10),
        (1200, 15),
        (1000, 15),
    ):
        learnt.note(after, paid)
    assert learnt.median(blocks, samples, 1.0) == rate


def test_a_median_needs_time_and_samples() -> None:
    learnt = ConfirmationFraction(bounds())
    for blocks, samples, why in ((2, 1, LACK_DATA), (5, 0, LACK_DATA), (5, 1, NO_RATE)):
        with pytest.raises(FeeEstimateError, match=why):
            learnt.median(blocks, samples, 1.0)


def confirmed(learnt: ConfirmationFraction, count: int, *, rate: int, after: int, at: int) -> None:
    hashes = [b"%d %d" % (at, each) for each in range(count)]
    learnt.committed(at, [])
    for tx_hash in hashes:
        learnt.accepted(tx_hash, Paying(rate, 500))
    for number in range(at + 1, at + after):
        learnt.committed(number, [])
    learnt.committed(at + after, hashes)


def test_fraction_of_those_that_came_in_time() -> None:
    """Twenty samples (a few more, since each block lets them fade) of which 85 of 100 were committed in time."""
    learnt = ConfirmationFraction()
    confirmed(learnt, 19, rate=2000, after=3, at=1)
    with pytest.raises(FeeEstimateError, match=NO_RATE):
        learnt.estimate(TARGET)
    confirmed(learnt, 5, rate=2000, after=3, at=4)
    assert 1990 <= learnt.estimate(TARGET) <= 2000


def test_what_is_given_up_counts_against_its_rate() -> None:
    learnt = ConfirmationFraction()
    confirmed(learnt, 40, rate=2000, after=3, at=1)
    late = [b"late %d" % each for each in range(20)]
    learnt.committed(6, [])
    for tx_hash in late:
        learnt.accepted(tx_hash, Paying(2000, 500))
    for number in range(7, 7 + TARGET):
        learnt.committed(number, [])
    assert learnt.estimate(TARGET)
    for tx_hash in late:
        learnt.rejected(tx_hash)
    with pytest.raises(FeeEstimateError, match=NO_RATE):
        learnt.estimate(TARGET)


def test_blocks_that_take_the_place_of_others_teach_nothing() -> None:
    learnt = ConfirmationFraction()
    learnt.committed(10, [])
    learnt.accepted(b"tx", Paying(2000, 500))
    learnt.committed(10, [b"tx"])
    learnt.rejected(b"tx")
    assert not learnt._tracked
    assert not any(learnt._counts)


@pytest.mark.parametrize(
    ("bucket", "rate"),
    [(0, 0), (1, 1_000), (10, 10_000), (11, 12_000), (30, 50_000), (31, 55_000), (60, 200_000), (61, 210_000),
     (90, 500_000), (91, 520_000), (115, 1_000_000), (116, 1_050_000), (135, 2_000_000), (136, 2_100_000)],
)  # fmt: skip
def test_buckets(bucket: int, rate: int) -> None:
    assert (lowest_rate_of(bucket), bucket_of(rate)) == (rate, bucket)
    if rate:
        assert bucket_of(rate - 1) == bucket - 1


class PlainCounts(dict[int, float]):
    """Each number fades by itself, as in the reference, and none is forgotten."""

    def count(self, blocks: int) -> None:
        self[blocks] = self.get(blocks, 0.0) + 1

    def fade(self, factor: float) -> None:
        for blocks in self:
            self[blocks] *= factor

    def forget(self) -> None:
        pass

    def within(self, blocks: int) -> float:
        return sum(count for after, count in self.items() if after <= blocks)

    def after(self, blocks: int) -> float:
        return self.get(blocks, 0.0)


def estimates(learnt: ConfirmationFraction, seed: int) -> list[int | None]:
    """Of a history of thousands of blocks, with pauses in which what was learnt fades."""
    random, found, waiting = Random(seed), list[int | None](), dict[bytes, Paying]()
    number = 0
    for _ in range(300):
        number += 1
        hashes = [each for each in waiting if random.random() < 0.6]
        learnt.committed(number, hashes)
        for each in hashes:
            del waiting[each]
        for each in [each for each in waiting if random.random() < 0.05]:
            learnt.rejected(each)
            del waiting[each]
        for index in range(random.randrange(20)):
            tx_hash, paying = b"%d %d" % (number, index), Paying(random.choice((1000, 1500, 3000, 3100, 50_000)), 500)
            learnt.accepted(tx_hash, paying)
            waiting[tx_hash] = paying
        if random.random() < 0.03:
            number = skip(learnt, number, random.randrange(400))
        for target in (TARGET, 20):
            try:
                found.append(learnt.estimate(target))
            except FeeEstimateError:
                found.append(None)
    return found


def skip(learnt: ConfirmationFraction, number: int, blocks: int) -> int:
    for each in range(number + 1, number + 1 + blocks):
        learnt.committed(each, [])
    return number + blocks


@pytest.mark.parametrize("seed", range(3))
def test_what_fades_together_gives_the_estimates_of_what_fades_alone(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = estimates(ConfirmationFraction(), seed)
    monkeypatch.setattr(fee_estimators, "FadingCounts", PlainCounts)
    assert estimates(ConfirmationFraction(), seed) == found
    assert len({*found} - {None}) > 3


def full_tables(ages: int) -> ConfirmationFraction:
    learnt = ConfirmationFraction()
    for table in (*learnt._confirmed, *learnt._failed):
        for age in range(1, ages + 1):
            table.count(age)
    learnt.committed(1, [])
    return learnt


def test_a_block_takes_no_longer_the_more_was_learnt() -> None:
    """Two hundred buckets with a thousand numbers each are forgotten bucket by bucket."""

    def looks(ages: int) -> int:
        learnt, looked = full_tables(ages), 0

        class Counted(float):
            def __mul__(self, other: float) -> float:
                nonlocal looked
                looked += 1
                return float(self) * other

        for table in (*learnt._confirmed, *learnt._failed):
            table._before = {age: Counted(each) for age, each in table._before.items()}
        learnt.committed(2, [])
        return looked

    assert looks(10) == 20
    assert looks(1000) == 2000, "of one bucket"


def test_what_has_faded_away_is_forgotten() -> None:
    learnt = full_tables(5)
    tables = (*learnt._confirmed, *learnt._failed)
    assert sum(map(len, tables)) == 5 * len(tables)
    number = skip(learnt, 1, 2500)
    assert sum(map(len, tables)) == 5 * len(tables), "a hundred blocks halve them"
    skip(learnt, number, 1000)
    assert sum(map(len, tables)) == 0


def grown(blocks: int) -> WeightUnitsFlow:
    flow = WeightUnitsFlow()
    for number in range(1, blocks + 2):
        flow.committed(number, [])
    return flow


def test_flow_needs_twice_the_target() -> None:
    with pytest.raises(FeeEstimateError, match=LACK_DATA):
        grown(HISTORY - 1).estimate(TARGET, [])
    assert grown(HISTORY).estimate(TARGET, []) == LOWEST_FEE_RATE


def test_flow_takes_the_cheapest_bucket_that_has_room() -> None:
    room = BLOCK_BYTES * 85 // 100 * TARGET
    flow = grown(HISTORY)
    assert flow.estimate(TARGET, [Paying(3000, room), Paying(1000, 1)]) == 2000
    assert flow.estimate(TARGET, [Paying(3000, room + 1), Paying(4000, 0)]) == 4000
    with pytest.raises(FeeEstimateError, match=NO_RATE):
        flow.estimate(TARGET, [Paying(3000, room + 1)])
    flow.accepted(b"", Paying(2500, HISTORY))
    assert flow.estimate(TARGET, [Paying(3000, room)]) == 3000, "what flows in at 2000 and more has no room"


def test_flow_is_not_slowed_by_who_pays_a_million_times_too_much() -> None:
    """He forgot his change."""
    room = BLOCK_BYTES * 85 // 100 * TARGET
    flow = grown(HISTORY)
    flow.accepted(b"", Paying(10**19, HISTORY))
    assert flow.estimate(TARGET, [Paying(10**18, 700), Paying(3000, room), Paying(2000, 1)]) == 4000
    with pytest.raises(FeeEstimateError, match=NO_RATE):
        flow.estimate(TARGET, [Paying(10**18, room + 1)])


@pytest.mark.parametrize("seed", range(30))
def test_flow_takes_what_all_buckets_say(seed: int) -> None:
    """Looked at one by one."""
    random = Random(seed)
    flow = grown(HISTORY)
    came = [Paying(random.choice((0, 2000, 5000, 90_000, 300_000)), random.randrange(2_000_000)) for _ in range(6)]
    waiting = [Paying(random.choice((500, 3000, 5000, 90_000)), random.randrange(9_000_000)) for _ in range(4)]
    for each in came:
        flow.accepted(b"", each)
    highest = max(bucket_of(each.rate) for each in waiting)
    found = None
    for bucket in range(highest, 0, -1):
        in_or_above = [
            [each.weight for each in some if bucket <= bucket_of(each.rate) <= highest] for some in (came, waiting)
        ]
        flows, waits = map(sum, in_or_above)
        if waits + flows // HISTORY * TARGET <= BLOCK_BYTES * 85 // 100 * TARGET:
            found = lowest_rate_of(bucket)
    if found is None:
        with pytest.raises(FeeEstimateError, match=NO_RATE):
            flow.estimate(TARGET, waiting)
    else:
        assert flow.estimate(TARGET, waiting) == found


def test_what_flowed_in_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fee_estimators, "MAX_FLOWED", 3)
    flow = grown(HISTORY)
    for rate in (1000, 2000, 2000, 3000, 4000, 5000):
        flow.accepted(b"", Paying(rate, 10))
    tip = HISTORY + 1
    assert flow._flowed == {tip: {bucket_of(1000): 10, bucket_of(2000): 20, bucket_of(3000): 10}}
    for number in range(tip + 1, 4 * 128):
        flow.committed(number, [])
    flow.accepted(b"", Paying(6000, 10))
    assert flow._flowed == {4 * 128 - 1: {bucket_of(6000): 10}}


def test_what_flowed_in_long_ago_is_forgotten() -> None:
    flow = grown(HISTORY)
    flow.accepted(b"", Paying(3000, 10 * BLOCK_BYTES * HISTORY))
    with pytest.raises(FeeEstimateError):
        flow.estimate(TARGET, [Paying(3000, 1)])
    for number in range(HISTORY + 2, 4 * 128):
        flow.committed(number, [])
    assert flow.estimate(TARGET, [Paying(3000, 1)]) == 1000
    assert not flow._flowed


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_pool_and_chain_are_heard(algorithm: Algorithm) -> None:
    async with funded(30) as funds:
        is_downloading = True
        pool = funds.pool
        pool.fee_estimates = FeeEstimates(pool.pool, algorithm, lambda: is_downloading)
        pool.fee_estimates.listen(pool.events, funds.dev.chain)
        with pytest.raises(FeeEstimateError, match=NOT_READY):
            await pool.estimate_fee_rate(FeePriority.HIGH_PRIORITY, fallback=False)
        assert await pool.estimate_fee_rate(FeePriority.HIGH_PRIORITY, fallback=True) == 1000
        is_downloading = False
        await funds.dev.mine()
        transactions = [funds.spend(fee=2_000) for _ in range(29)]
        await funds.submit(*transactions)
        await funds.dev.mine(12)
        assert funds.is_committed(transactions[0])
        rate = 2_000 * 1000 // transactions[0].size_in_block
        found = await pool.estimate_fee_rate(FeePriority.HIGH_PRIORITY, fallback=False)
        expected = range(LOWEST_FEE_RATE, LOWEST_FEE_RATE + 1)
        if algorithm is Algorithm.CONFIRMATION_FRACTION:
            expected = range(rate - 30, rate + 1)
        assert found in expected


async def test_without_an_algorithm_there_is_only_the_fallback() -> None:
    async with funded() as funds:
        with pytest.raises(FeeEstimateError, match="dummy fee estimator is used"):
            await funds.pool.estimate_fee_rate(FeePriority.NO_PRIORITY, fallback=False)
        assert await funds.pool.estimate_fee_rate(FeePriority.NO_PRIORITY, fallback=True) == 1000
