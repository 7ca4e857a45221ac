"""A pool that gets transactions of peers, and what it tells of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ckb_node.runtime.tasks import Tasks
from ckb_node.sync.pool_access import PoolAccess
from ckb_node.txpool.events import RelayNews, RemoteRefused
from ckb_node.txpool.rejects import (
    Reject,
)
from consensus.types.blockchain import Transaction
from tests.support.chains.funded_pool import Funds, HeldExecutor, funded, hold_scripts

PEER, OTHER = 7, 8


@dataclass
class Remote:
    """A running pool, and the news that it told. What transactions cost is found out on a chain of its own."""

    funds: Funds
    elsewhere: Funds
    news: list[RelayNews] = field(default_factory=list)
    cycles: dict[bytes, int] = field(default_factory=dict)

    @property
    def access(self) -> PoolAccess:
        return PoolAccess(self.funds.pool)

    async def learn(self, *transactions: Transaction) -> None:
        """The cycles of those that are valid, parents first."""
        for each in transactions:
            with contextlib.suppress(Reject):
                await self.elsewhere.pool.submit(each)
            entry = self.elsewhere.pool.pool.graph.by_hash(each.hash)
            if entry is not None:
                self.cycles[each.hash] = entry.cycles

    def submit(self, *transactions: Transaction, giver: int = PEER) -> None:
        for each in transactions:
            self.access.submit(each, self.cycles.get(each.hash, 1000), giver)

    async def settle(self) -> list[RelayNews]:
        """What was told since the last look, when nothing waits any more."""
        async with asyncio.timeout(60):
            await self.funds.pool.settled()
        told, self.news[:] = list(self.news), []
        return told

    async def after(self, *transactions: Transaction, giver: int = PEER) -> list[RelayNews]:
        await self.learn(*transactions)
        self.submit(*transactions, giver=giver)
        return await self.settle()

    async def orphan_count(self) -> int:
        return self.funds.pool.info().orphan


@asynccontextmanager
async def resting() -> AsyncIterator[Remote]:
    """The pool's tasks do not run."""
    async with funded(count=12) as funds, funded(count=12) as elsewhere:
        yield Remote(funds, elsewhere)


@asynccontextmanager
async def remote() -> AsyncIterator[Remote]:
    async with resting() as made, running(made):
        yield made


@asynccontextmanager
async def held() -> AsyncIterator[tuple[Remote, HeldExecutor]]:
    """Scripts run when the executor is released."""
    async with resting() as made:
        worker = hold_scripts(made.funds)
        async with running(made):
            yield made, worker


@asynccontextmanager
async def running(made: Remote) -> AsyncIterator[None]:
    async with Tasks(made.funds.dev.clock.now_ms) as tasks:
        for name, run in made.funds.pool.tasks().items():
            tasks.start_restartable(name, run)
        made.access.listen(made.news.append)
        yield


async def until_held(worker: HeldExecutor, count: int) -> None:
    async with asyncio.timeout(60):
        while len(worker.held) < count:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)


async def release_until(made: Remote, worker: HeldExecutor, count: int) -> None:
    """Let scripts run until so much was told."""
    async with asyncio.timeout(60):
        while len(made.news) < count:
            worker.release()
            await asyncio.sleep(0)


def reasons(news: list[RelayNews]) -> list[type]:
    return [type(each.reason) for each in news if isinstance(each, RemoteRefused)]
