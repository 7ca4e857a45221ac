"""Which fee rate gets a transaction into a block soon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator
from functools import partial
from typing import Final, NamedTuple

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.runtime.events import EventBus
from ckb_node.runtime.fair_queue import FairSlots
from ckb_node.runtime.loop_turns import in_loop_turns, loop_turn
from ckb_node.txpool import views
from ckb_node.txpool.entry import Status
from ckb_node.txpool.events import TransactionAdmitted, TransactionRejected
from ckb_node.txpool.fee_estimators import NOT_READY, Algorithm, FeeEstimator, Paying, Waiting, make_estimator
from ckb_node.txpool.pool import TxPool
from consensus.params import Consensus

CONFIRM_TARGETS: Final = {
    views.FeePriority.NO_PRIORITY: 128,
    views.FeePriority.LOW_PRIORITY: 64,
    views.FeePriority.MEDIUM_PRIORITY: 21,
    views.FeePriority.HIGH_PRIORITY: 5,
}
"""Blocks within which a transaction of each priority should be committed."""


class _Found(NamedTuple):
    """What walk number `walk` came to."""

    walk: int
    rate: int | views.FeeEstimateError


class _SharedWalks:
    """One walk through the pool at a time. Whoever asks before a walk begins takes what it finds: as new as asked for,
    and any number of callers need two walks."""

    def __init__(self) -> None:
        self._alone: Final = FairSlots(1)
        self._begun = 0
        self._found: Final[dict[object, _Found]] = {}

    async def rate(self, question: object, walk: Callable[[], Awaitable[int]]) -> int:
        """The answer to one of few questions. Raises FeeEstimateError."""
        begun = self._begun
        async with self._alone.turn():
            found = self._found.get(question)
            if found is None or found.walk <= begun:
                self._begun += 1
                found = self._found[question] = await _walked(self._begun, walk)
        if isinstance(found.rate, views.FeeEstimateError):
            raise views.FeeEstimateError(str(found.rate))
        return found.rate


async def _walked(number: int, walk: Callable[[], Awaitable[int]]) -> _Found:
    try:
        return _Found(number, await walk())
    except views.FeeEstimateError as error:
        return _Found(number, error.with_traceback(None))


class FeeEstimates:
    """The configured estimator, which hears what pool and chain do; none: what the reference calls the dummy."""

    def __init__(self, pool: TxPool, algorithm: Algorithm | None, is_downloading: Callable[[], bool]) -> None:
        """Nothing is learnt while the chain is downloaded for the first time: those blocks tell nothing of now."""
        self._pool: Final = pool
        self._estimator = None if algorithm is None else make_estimator(algorithm)
        self._is_downloading: Final = is_downloading
        self._is_ready = False
        self._walks: Final = _SharedWalks()

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
            return await self._walks.rate(priority, partial(self._fall_back, priority))

    async def _fall_back(self, priority: views.FeePriority) -> int:
        return await in_loop_turns(_rate_in_pool(self._pool, self._pool.consensus, priority))

    async def estimate(self, priority: views.FeePriority) -> int:
        """Shannons per 1000 weight units. Raises FeeEstimateError."""
        if self._estimator is None:
            raise views.FeeEstimateError("dummy fee estimator is used")
        self._is_ready = self._is_ready or not self._is_downloading()
        if not self._is_ready:
            raise views.FeeEstimateError(NOT_READY)
        target = CONFIRM_TARGETS[priority]
        return await self._walks.rate(target, partial(self._learnt, self._estimator, target))

    async def _learnt(self, estimator: FeeEstimator, target: int) -> int:
        waiting = Waiting()
        if estimator.looks_at_pool:
            await in_loop_turns(_gathering(waiting, self._pool))
        return await loop_turn(lambda: estimator.estimate(target, waiting))


def _gathering(waiting: Waiting, pool: TxPool) -> Generator[None, None, None]:
    for entry in pool.graph.by_score_as_now(Status):
        waiting.add(entry.fee_rate, entry.weight)
        yield


def _rate_in_pool(pool: TxPool, consensus: Consensus, priority: views.FeePriority) -> Generator[None, None, int]:
    """The fallback: shannons per 1000 weight units, from what the pool holds: the rate that is committed within the
    target."""
    left = CONFIRM_TARGETS[priority] - consensus.proposal_window.closest
    size = cycles = 0
    for entry in pool.graph.by_score_as_now(Status):
        yield
        size, cycles = size + entry.size, cycles + entry.cycles
        if size >= consensus.max_block_bytes or cycles >= consensus.max_block_cycles:
            left -= 1
            if left == 0:
                return entry.fee_rate
            size, cycles = entry.size, entry.cycles
    return pool.limits.min_fee_rate
