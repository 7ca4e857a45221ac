"""Which fee rate gets a transaction into a block soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.runtime.events import EventBus
from ckb_node.txpool import views
from ckb_node.txpool.entry import Status
from ckb_node.txpool.events import TransactionAdmitted, TransactionRejected
from ckb_node.txpool.fee_estimators import NOT_READY, Algorithm, Paying, make_estimator
from ckb_node.txpool.pool import TxPool
from consensus.params import Consensus

CONFIRM_TARGETS: Final = {
    views.FeePriority.NO_PRIORITY: 128,
    views.FeePriority.LOW_PRIORITY: 64,
    views.FeePriority.MEDIUM_PRIORITY: 21,
    views.FeePriority.HIGH_PRIORITY: 5,
}
"""Blocks within which a transaction of each priority should be committed."""

ENTRIES_PER_SLICE: Final = 1024
"""Entries that are walked before the event loop may do something else."""


class FeeEstimates:
    """The configured estimator, which hears what pool and chain do; none: what the reference calls the dummy."""

    def __init__(self, pool: TxPool, algorithm: Algorithm | None, is_downloading: Callable[[], bool]) -> None:
        """Nothing is learnt while the chain is downloaded for the first time: those blocks tell nothing of now."""
        self._pool: Final = pool
        self._estimator = None if algorithm is None else make_estimator(algorithm)
        self._is_downloading: Final = is_downloading
        self._is_ready = False

    def listen(self, events: EventBus, chain: ChainService) -> None:
        """From now on, behind the pool."""
        if self._estimator is not None:
            events.listen(TransactionAdmitted, self._admitted)
            events.listen(TransactionRejected, self._rejected)
            chain.listen(self._on_change)

    def _admitted(self, event: TransactionAdmitted) -> None:
        entry = event.entry
        if self._estimator is not None and self._is_ready and entry.status is not Status.PROPOSED:
            self._estimator.accepted(entry.hash, Paying(entry.fee_rate, entry.weight))

    def _rejected(self, event: TransactionRejected) -> None:
        if self._estimator is not None and self._is_ready and event.entry is not None:
            self._estimator.rejected(event.entry.hash)

    def _on_change(self, change: ChainChanged) -> Iterator[None]:
        self._is_ready = self._is_ready or not self._is_downloading()
        if self._estimator is None or not self._is_ready:
            return
        for block in change.attached:
            self._estimator.committed(block.number, (each.hash for each in block.tx_slices[1:]))
            yield

    async def estimate_or_fall_back(self, priority: views.FeePriority, *, fallback: bool) -> int:
        """`estimate`, with `fallback` from what the pool holds when there is none. Raises FeeEstimateError."""
        try:
            return await self.estimate(priority)
        except views.FeeEstimateError:
            if not fallback:
                raise
            return await estimate_fee_rate(self._pool, self._pool.consensus, priority)

    async def estimate(self, priority: views.FeePriority) -> int:
        """Shannons per 1000 weight units. Raises FeeEstimateError."""
        if self._estimator is None:
            raise views.FeeEstimateError("dummy fee estimator is used")
        self._is_ready = self._is_ready or not self._is_downloading()
        if not self._is_ready:
            raise views.FeeEstimateError(NOT_READY)
        waiting = list[Paying]()
        for looked, entry in enumerate(self._pool.graph.by_score_as_now(Status)):
            if looked % ENTRIES_PER_SLICE == 0:
                await asyncio.sleep(0)
            waiting.append(Paying(entry.fee_rate, entry.weight))
        return self._estimator.estimate(CONFIRM_TARGETS[priority], waiting)


async def estimate_fee_rate(pool: TxPool, consensus: Consensus, priority: views.FeePriority) -> int:
    """The fallback: shannons per 1000 weight units, from what the pool holds: the rate that is committed within the
    target."""
    left = CONFIRM_TARGETS[priority] - consensus.proposal_window.closest
    size = cycles = 0
    for looked, entry in enumerate(pool.graph.by_score_as_now(Status)):
        if looked % ENTRIES_PER_SLICE == 0:
            await asyncio.sleep(0)
        size, cycles = size + entry.size, cycles + entry.cycles
        if size >= consensus.max_block_bytes or cycles >= consensus.max_block_cycles:
            left -= 1
            if left == 0:
                return entry.fee_rate
            size, cycles = entry.size, entry.cycles
    return pool.limits.min_fee_rate
