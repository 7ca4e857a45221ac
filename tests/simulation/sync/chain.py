"""A node's chain without threads: the real writer, store and `ChainAccess`, and a model of how long their work takes.

One writer works off its jobs in order, one judge of headers and readers go on beside it. What a job has done is told a
moment later, when it is on the disk: first to the listeners, then to the caller. A node that is killed leaves its store
as the last finished job left it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, TypeVar, cast

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.bulk import BulkOutcome, take_run
from ckb_node.chain.events import (
    BlockVerified,
    ChainEvent,
    Source,
    StorageFailed,
    Verdict,
)
from ckb_node.chain.service import ChainService
from ckb_node.chain.writer import ChainWriter
from ckb_node.sync.chain_access import ChainAccess
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainView
from storage.errors import StorageError
from tests.simulation.clock import Clock, SimTimer
from tests.simulation.sync.blocks import SimScripts
from tests.simulation.sync.stores import SimStore
from tests.support.chains.listeners import Listeners

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCosts:
    """Seconds of work."""

    header: float = 20e-6
    block: float = 2e-3
    bulk_block: float = 0.5e-3
    transaction: float = 0.1e-3
    commit: float = 2e-3
    """From when a job has done its work until it is told."""
    read: float = 1e-3


class SimFuture(Generic[T]):
    """What `ChainAccess` needs of an asyncio.Future."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[SimFuture[T]], None]] = []
        self._result: T | None = None
        self._error: Exception | None = None
        self._is_done = False

    def cancelled(self) -> bool:
        return False

    def exception(self) -> Exception | None:
        return self._error

    def result(self) -> T:
        return cast(T, self._result)

    def add_done_callback(self, call: Callable[[SimFuture[T]], None]) -> None:
        if self._is_done:
            call(self)
        else:
            self._callbacks.append(call)

    def finish(self, result: T | Exception) -> None:
        """Call all who wait."""
        self._is_done = True
        if isinstance(result, Exception):
            self._error = result
        else:
            self._result = result
        for call in self._callbacks:
            call(self)


class SimLane:
    """Jobs that are done one after the other. What is left of them when the node is killed is never done."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._timers: Final[dict[SimTimer, Callable[[], object]]] = {}
        self._free_at = 0.0

    def __len__(self) -> int:
        return len(self._timers)

    def put(self, seconds: float, call: Callable[[], None]) -> None:
        """Call when all before it are done and so many seconds have passed."""

        def finish() -> None:
            del self._timers[timer]
            call()

        self._free_at = max(self._free_at, self._clock.now()) + seconds
        timer = self._clock.call_at(self._free_at, finish)
        self._timers[timer] = call

    def kill(self) -> Callable[[], object] | None:
        """Nothing is done any more; the job in hand."""
        calls = list(self._timers.values())
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        return calls[0] if calls else None


class SimChainService(Listeners):
    """What `ChainAccess` needs of ckb_node.chain.service.ChainService."""

    def __init__(self, writer: ChainWriter, clock: Clock, costs: ChainCosts) -> None:
        super().__init__()
        self.writer: Final = writer
        self.costs: Final = costs
        self.is_closed = False
        self.given: Final[dict[bytes, int]] = {}
        """How often each block was given to the writer."""
        self.on_storage_failure: Callable[[StorageError], None] = lambda _: None
        self._clock: Final = clock
        self._writing, self._judging, self._reading = SimLane(clock), SimLane(clock), SimLane(clock)
        self._events: list[ChainEvent] = []
        writer.listen(lambda event: self._events.append(event))

    @property
    def consensus(self) -> Consensus:
        return self.writer.consensus

    @property
    def assume_valid(self) -> AssumeValid:
        return self.writer.assume_valid

    @property
    def jobs(self) -> int:
        """What is not done yet."""
        return len(self._writing) + len(self._judging) + len(self._reading)

    def view(self) -> ChainView:
        return self.writer.store.view()

    # --- work ---

    def start_block(self, block: Block, source: Source | None = None) -> SimFuture[Verdict]:
        self._note_given(block)
        cost = self.costs.block + self.costs.transaction * len(block.transactions)
        return self._write(cost, lambda: self.writer.process(block, source))

    def start_run(self, blocks: Sequence[Block], sources: Sequence[Source | None]) -> SimFuture[BulkOutcome]:
        for block in blocks:
            self._note_given(block)
        cost = sum(self.costs.bulk_block + self.costs.transaction * len(block.transactions) for block in blocks)
        return self._write(cost, lambda: take_run(self.writer, blocks, sources))

    def start_store_headers(self, headers: Sequence[Header]) -> SimFuture[None]:
        return self._write(0.0, lambda: self.writer.store_headers(headers))

    def start_judging(self, work: Callable[[], T]) -> SimFuture[T]:
        return self._beside(self._judging, self.costs.header * 100, work)

    def start_read(self, work: Callable[[ChainView], T]) -> SimFuture[T]:
        def read() -> T:
            with self.view() as view:
                return work(view)

        return self._beside(self._reading, self.costs.read, read)

    def _note_given(self, block: Block) -> None:
        self.given[block.hash] = self.given.get(block.hash, 0) + 1

    def _beside(self, lane: SimLane, seconds: float, work: Callable[[], T]) -> SimFuture[T]:
        future = SimFuture[T]()
        lane.put(seconds, lambda: future.finish(_result_of(work)))
        return future

    def _write(self, seconds: float, job: Callable[[], T]) -> SimFuture[T]:
        future = SimFuture[T]()
        results: list[T | Exception] = []

        def work() -> None:
            results.append(_result_of(job))
            self._tell_verified()

        def tell() -> None:
            events, self._events = self._events, []
            for event in events:
                self._tell(event)
            if isinstance(results[0], StorageError):
                self.on_storage_failure(results[0])
            future.finish(results[0])

        self._writing.put(seconds, work)
        self._writing.put(self.costs.commit, tell)
        return future

    def kill(self, rng: Random) -> None:
        """The process ends. The job in hand may have been done; nobody hears of it."""
        self.is_closed = True
        job = self._writing.kill()
        self._judging.kill()
        self._reading.kill()
        if job is not None and rng.random() < 0.5:
            self.forget_listeners()
            self._events = []
            job()

    def _tell_verified(self) -> None:
        for event in self._events:
            if isinstance(event, BlockVerified):
                self.tell(event)

    def _tell(self, event: ChainEvent) -> None:
        """What was verified is told before."""
        if isinstance(event, StorageFailed):
            self.on_storage_failure(event.error)
        elif not isinstance(event, BlockVerified):
            self.tell(event)


class SimChain(ChainAccess):
    """The chain of one node, in one of its lives."""

    def __init__(
        self,
        consensus: Consensus,
        store: SimStore,
        clock: Clock,
        *,
        costs: ChainCosts | None = None,
        assume_valid: AssumeValid | None = None,
    ) -> None:
        self.scripts: Final = SimScripts(consensus)
        self.writer: Final = ChainWriter(consensus, store.chain, self.scripts, clock.wall_ms, assume_valid)
        self.writer.start(bytes(32))
        self.service: Final = SimChainService(self.writer, clock, costs or ChainCosts())
        super().__init__(cast(ChainService, self.service), clock.wall_ms)

    def mine(self, block: Block, done: Callable[[Verdict | Exception], None]) -> None:
        """Give a block of the node's own miner to the writer; its verdict, or what went wrong."""

        def finished(future: SimFuture[Verdict]) -> None:
            error = future.exception()
            done(future.result() if error is None else error)

        self.service.start_block(block).add_done_callback(finished)

    def kill(self, rng: Random) -> None:
        """The process ends."""
        self.service.kill(rng)


def _result_of(job: Callable[[], T]) -> T | Exception:
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - as the real service, it tells the caller whatever it is
        return error
