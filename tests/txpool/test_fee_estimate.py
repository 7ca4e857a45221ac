"""Many ask for a fee rate at the same time: they share a walk through the pool, which a round has one slice of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from ckb_node.runtime import loop_turns
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.fee_estimate import FeeEstimates
from ckb_node.txpool.fee_estimators import Algorithm, Paying, Waiting, WeightUnitsFlow
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.views import FeeEstimateError, FeePriority
from tests.support.chains.funded_pool import funded

CALLERS, ENTRIES = 30, 6
FLOWED = 300
"""Blocks of history, enough for every priority."""


class Walked:
    """Counts how often the pool is walked through, and how many entries are looked at in a round."""

    def __init__(self, pool: TxPool) -> None:
        self.walks = self.entries = self.most = 0
        self._walk = pool.graph.by_score_as_now

    def __call__(self, statuses: Iterable[Status]) -> Iterator[PoolEntry]:
        self.walks += 1
        for entry in self._walk(statuses):
            self.entries += 1
            yield entry

    async def watch(self) -> None:
        while True:
            before = self.entries
            await asyncio.sleep(0)
            self.most = max(self.most, self.entries - before)


def estimates_over(pool: TxPool, algorithm: Algorithm | None) -> FeeEstimates:
    estimates = FeeEstimates(pool, algorithm, lambda: False)
    if estimates._estimator is not None:
        for number in range(1, FLOWED):
            estimates._estimator.committed(number, [])
    return estimates


@pytest.mark.parametrize("algorithm", [None, Algorithm.WEIGHT_UNITS_FLOW])
async def test_many_callers_share_a_walk(algorithm: Algorithm | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call walked by itself: thirty, of 10,000 entries, took the loop for 226 ms of a round."""
    monkeypatch.setattr(loop_turns, "LOOP_SLICE_S", 0.0)
    async with funded() as funds:
        await funds.submit(*(funds.spend(fee=2_000) for _ in range(ENTRIES)))
        pool = funds.pool.pool
        walked = Walked(pool)
        monkeypatch.setattr(pool.graph, "by_score_as_now", walked)
        estimates = estimates_over(pool, algorithm)

        async def ask() -> int:
            return await estimates.estimate_or_fall_back(FeePriority.HIGH_PRIORITY, fallback=True)

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(walked.watch())
            found = await asyncio.gather(*(ask() for _ in range(CALLERS)))
            watching.cancel()
        assert len(set(found)) == 1
        assert (walked.walks, walked.entries, walked.most) == (2, 2 * ENTRIES, 1)
        assert await ask() == found[0]
        assert walked.walks == 3, "what is asked later is found anew"


async def test_an_error_is_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        pool = funds.pool.pool
        walked = Walked(pool)
        monkeypatch.setattr(pool.graph, "by_score_as_now", walked)
        estimates = FeeEstimates(pool, Algorithm.WEIGHT_UNITS_FLOW, lambda: False)
        asked = (estimates.estimate(FeePriority.NO_PRIORITY) for _ in range(CALLERS))
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in found} == {FeeEstimateError}
        assert walked.walks <= 2


async def test_the_one_who_walks_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_turns, "LOOP_SLICE_S", 0.0)
    async with funded() as funds:
        await funds.submit(*(funds.spend(fee=2_000) for _ in range(ENTRIES)))
        estimates = estimates_over(funds.pool.pool, None)

        async def ask() -> int:
            return await estimates.estimate_or_fall_back(FeePriority.HIGH_PRIORITY, fallback=True)

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask()) for _ in range(3)]
            for _ in range(3):
                await asyncio.sleep(0)
            asked[0].cancel()
            assert await asked[1] == await asked[2]


async def test_shares_of_the_chain_alone_walk_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        pool = funds.pool.pool
        walked = Walked(pool)
        monkeypatch.setattr(pool.graph, "by_score_as_now", walked)
        estimates = FeeEstimates(pool, Algorithm.CONFIRMATION_FRACTION, lambda: False)
        with pytest.raises(FeeEstimateError):
            await estimates.estimate(FeePriority.HIGH_PRIORITY)
        assert walked.walks == 0


def test_weights_by_bucket_say_what_the_transactions_say() -> None:
    pool: list[Any] = [Paying(rate, 40 * rate % 7001) for rate in range(0, 2_000_000, 777)]
    waiting = Waiting()
    for each in pool:
        waiting.add(*each)
    assert len(list(waiting)) < len(pool) / 4
    flow = WeightUnitsFlow()
    for number in range(1, FLOWED):
        flow.committed(number, [])
    for target in (5, 21, 64, 128):
        try:
            expected: object = flow.estimate(target, pool)
        except FeeEstimateError as error:
            expected = str(error)
        try:
            found: object = flow.estimate(target, waiting)
        except FeeEstimateError as error:
            found = str(error)
        assert found == expected
