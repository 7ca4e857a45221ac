"""Estimates of cycles: in turns that grow, and ended when their caller has left."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from ckb_node.verification.estimator import TURN_S, Estimator
from ckb_node.verification.scripts import ScriptRun, ScriptService, pool_seconds
from ckb_node.verification.stopping import ScriptsStopped, Stop, TimeExceeded
from tests.support.chains.funded_pool import Funds, funded
from tests.support.lanes import as_client


class Scripts(ScriptService):
    """Runs nothing: a transaction is done in the first turn of at least so many seconds."""

    def __init__(self, funds: Funds, needs: dict[bytes, float]) -> None:
        super().__init__(funds.dev.consensus)
        self._needs = needs
        self.turns: list[tuple[bytes, float]] = []
        self.waits = False
        self.stops: list[Stop] = []

    def run_short(self, run: ScriptRun) -> int | None:
        return self._turn(run.rtx.hash, 0.1, run.stop)

    def run_estimate(self, run: ScriptRun, seconds: float) -> int:
        cycles = self._turn(run.rtx.hash, seconds, run.stop)
        if cycles is None:
            raise TimeExceeded(seconds)
        return cycles

    def run_long_estimate(self, run: ScriptRun) -> int:
        return self.run_estimate(run, pool_seconds(run.max_cycles))

    def _turn(self, tx_hash: bytes, seconds: float, stop: Stop) -> int | None:
        self.turns.append((tx_hash, seconds))
        self.stops.append(stop)
        while self.waits:
            stop.check()
        if self._needs[tx_hash] > seconds:
            time.sleep(0.005)
        return 7 if self._needs[tx_hash] <= seconds else None


@pytest.mark.parametrize(("needs", "turns"), [(0.0, 1), (1.0, 2), (20.0, 3)])
async def test_turns_grow_until_the_scripts_are_done(needs: float, turns: int) -> None:
    async with funded() as funds:
        tx = funds.spend()
        scripts = Scripts(funds, {tx.hash: needs})
        estimator = Estimator(scripts)
        assert await estimator.cycles(funds.dev.chain.view(), tx) == 7
        most = pool_seconds(funds.dev.consensus.max_block_cycles)
        assert [seconds for _, seconds in scripts.turns] == [0.1, TURN_S, most][:turns]
        estimator.close()


async def test_who_needs_more_than_all_turns_is_told_so() -> None:
    async with funded() as funds:
        tx = funds.spend()
        estimator = Estimator(Scripts(funds, {tx.hash: 1e9}))
        with pytest.raises(TimeExceeded):
            await estimator.cycles(funds.dev.chain.view(), tx)
        estimator.close()


async def test_short_scripts_of_one_client_wait_for_one_turn_of_anothers_endless_ones() -> None:
    async with funded() as funds:
        endless = [funds.spend() for _ in range(5)]
        short = funds.spend()
        scripts = Scripts(funds, {**{tx.hash: 1e9 for tx in endless}, short.hash: 1.0})
        estimator, view = Estimator(scripts), funds.dev.chain.view()

        async def endlessly(tx: Any) -> None:
            with pytest.raises(TimeExceeded):
                await as_client("many", lambda: estimator.cycles(view, tx))

        async with asyncio.TaskGroup() as tasks:
            for tx in endless:
                tasks.create_task(endlessly(tx))
            await asyncio.sleep(0)
            assert await as_client("one", lambda: estimator.cycles(view, short)) == 7
            done_after = len(scripts.turns)
        assert done_after < len(scripts.turns) / 2
        estimator.close()


async def test_the_scripts_stop_when_the_caller_leaves() -> None:
    async with funded() as funds:
        tx = funds.spend()
        scripts = Scripts(funds, {tx.hash: 0.0})
        scripts.waits = True
        estimator = Estimator(scripts)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(estimator.cycles(funds.dev.chain.view(), tx))
            while not scripts.stops:  # noqa: ASYNC110 - a thread says so
                await asyncio.sleep(0.001)
            asked.cancel()
        assert scripts.stops[0].is_set
        estimator.close()  # returns: the thread has ended


async def test_the_end_of_the_node_ends_all() -> None:
    async with funded() as funds:
        tx = funds.spend()
        scripts = Scripts(funds, {tx.hash: 0.0})
        scripts.waits = True
        estimator = Estimator(scripts)

        async def ask() -> None:
            with pytest.raises(ScriptsStopped):
                await estimator.cycles(funds.dev.chain.view(), tx)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask())
            while not scripts.stops:  # noqa: ASYNC110 - a thread says so
                await asyncio.sleep(0.001)
            scripts.end_runs()
        estimator.close()
