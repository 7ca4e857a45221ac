"""The chain service as the event loop sees it: one writer thread, blocks in, events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

import structlog

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.events import ChainChanged
from ckb_node.chain.publisher import Call, Publisher
from ckb_node.chain.queue import BlockQueueLimit
from ckb_node.chain.writer import ChainWriter, Outcome, Verdict
from ckb_node.verification.estimator import Estimator
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.header import UnknownParentError
from consensus.types.blockchain import Block, Transaction
from storage.chain_store import ChainView
from storage.errors import StorageError

log = structlog.get_logger("chain")

P = ParamSpec("P")
T = TypeVar("T")

MAX_READERS: Final = 2
"""Threads for what is done aside: templates, mostly."""

Listener = Callable[[ChainChanged], Iterator[None] | None]
"""One that has much to do is a generator: the event loop does other things where it yields."""

SideListener = Callable[[Block], None]

RefusedListener = Callable[[Block, CkbError], None]


class ChainService:
    """Everything that changes the chain goes through its one thread, in order.

    Listeners run on the event loop, in the order in which they were added, before the caller of `submit_block` goes on.
    """

    def __init__(self, writer: ChainWriter) -> None:
        self._writer = writer
        self._listeners: list[Listener] = []
        self._side_listeners: list[SideListener] = []
        self._refused_listeners: list[RefusedListener] = []
        self._publisher = Publisher()
        self.queue_limit = BlockQueueLimit()
        self._queued: dict[bytes, tuple[Block, asyncio.Future[Outcome]]] = {}
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._readers = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="chain-reader")
        self._estimator = Estimator(writer.scripts)
        self._is_closed = False
        self._failure: StorageError | None = None
        self._has_failed = asyncio.Event()

    @property
    def consensus(self) -> Consensus:
        return self._writer.consensus

    @property
    def assume_valid(self) -> AssumeValid:
        return self._writer.assume_valid

    @property
    def orphan_count(self) -> int:
        return len(self._writer.orphans)

    def view(self) -> ChainView:
        """The newest committed state of the main chain."""
        return self._writer.store.view()

    def listen(self, listener: Listener) -> None:
        """Call `listener` on the event loop after each change of the tip."""
        self._listeners.append(listener)

    def listen_side(self, listener: SideListener) -> None:
        """Call `listener` on the event loop for each valid block that did not become the tip."""
        self._side_listeners.append(listener)

    def listen_refused(self, listener: RefusedListener) -> None:
        """Call `listener` on the event loop for each block that breaks a rule, before its submitter is told."""
        self._refused_listeners.append(listener)

    async def submit_block(self, block: Block) -> bytes:
        """Take a block from a miner, whose parent must be known; its hash. Raises the error of the rule it breaks."""
        if self.view().block_ext(block.parent_hash) is None:  # of an invalid one only that is known
            raise UnknownParentError(block.parent_hash)
        await self.process(block)
        return block.hash

    async def estimate_cycles(self, transaction: Transaction) -> int:
        """Cycles of a transaction's scripts at the tip, up to a block's limit. They stop when the caller leaves.

        Raises ResolveError, ScriptError, BudgetExceeded.
        """
        return await self._estimator.cycles(self.view(), transaction)

    async def run_in_reader(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something that reads the chain, for longer than the event loop may wait, in a thread.

        Not `asyncio.to_thread`: whose threads are waited for only when the store is closed already, and to read beside
        that would be the end of the process.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, partial(work, *args, **kwargs))

    async def process(self, block: Block) -> Verdict:
        """Take a block from anywhere; orphans wait. Returns when it is dealt with, so whoever awaits it sends no more
        than there is room for. A block that is in the queue already shares its verdict."""
        verdict_future = self._same_as(block)
        if verdict_future is None:
            await self.queue_limit.acquire(len(block.raw))
            verdict_future = self._same_as(block)
            if verdict_future is None:
                verdict_future = self._enqueue(block)
            else:
                self.queue_limit.release(len(block.raw))
        return (await asyncio.shield(verdict_future)).verdict

    def _same_as(self, block: Block) -> asyncio.Future[Outcome] | None:
        """What will become of the same block in the queue. A hash says nothing of a body that nobody has looked at."""
        queued = self._queued.get(block.hash)
        return queued[1] if queued is not None and queued[0].raw == block.raw else None

    def _enqueue(self, block: Block) -> asyncio.Future[Outcome]:
        """The block has entered the room; it leaves when all have been verdict_future."""
        verdict_future = self._start(lambda: self._writer.process(block), block)
        self._queued.setdefault(block.hash, (block, verdict_future))
        verdict_future.add_done_callback(lambda _: self._dequeue(block, verdict_future))
        return verdict_future

    def _dequeue(self, block: Block, verdict_future: asyncio.Future[Outcome]) -> None:
        queued = self._queued.get(block.hash)
        if queued is not None and queued[1] is verdict_future:
            del self._queued[block.hash]
        self.queue_limit.release(len(block.raw))

    async def process_block_without_verify(self, block: Block) -> bool:
        """IntegrationTest: no rules. False when the parent is unknown."""
        try:
            await self._write(lambda: self._writer.process_unverified(block))
        except UnknownParentError:
            return False
        return True

    async def truncate(self, block_hash: bytes) -> None:
        """IntegrationTest: cut the chain back to a block of the main chain."""

        def cut() -> Outcome:
            change = self._writer.truncate(block_hash)
            return Outcome(Verdict.KNOWN, [] if change is None else [change])

        await self._write(cut)

    async def _write(self, job: Callable[[], Outcome]) -> Outcome:
        """Run a job in the writer thread; its events reach the listeners first, whatever order callers wake up in."""
        return await asyncio.shield(self._start(job))

    def _start(self, job: Callable[[], Outcome], block: Block | None = None) -> asyncio.Future[Outcome]:
        """The job, which may be to take a block, goes on when nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        verdict_future: asyncio.Future[Outcome] = loop.create_future()
        verdict_future.add_done_callback(_retrieve_exception)
        written = self._writer_thread.submit(job)
        written.add_done_callback(lambda _: loop.call_soon_threadsafe(self._publish, written, verdict_future, block))
        return verdict_future

    def _publish(self, written: Future[Outcome], verdict_future: asyncio.Future[Outcome], block: Block | None) -> None:
        if written.cancelled():
            verdict_future.cancel()
        elif (error := written.exception()) is not None:
            self._publisher.add([*self._calls_of_refusal(block, error), partial(verdict_future.set_exception, error)])
            self._note_failure(error)
        else:
            outcome = written.result()
            self._publisher.add([*self._calls_of(outcome), partial(verdict_future.set_result, outcome)])
            self._note_failure(outcome.fault)

    def _note_failure(self, error: BaseException | None) -> None:
        """The writer met a disk that does not do what it should: no block can be taken any more."""
        if isinstance(error, StorageError) and self._failure is None and not self._is_closed:
            self._failure = error
            self._has_failed.set()

    async def watch(self) -> None:
        """Run until the chain cannot be written any more: raises the StorageError that the writer met."""
        await self._has_failed.wait()
        if self._failure is not None:
            log.error("the chain cannot be written any more; the node ends", reason=str(self._failure))
            raise self._failure

    def _calls_of(self, outcome: Outcome) -> Iterator[Call]:
        """Each listener is verdict_future by itself, so that one's fault does not keep the event from the others."""
        for change in outcome.changes:
            for listener in self._listeners:
                yield partial(self._tell, listener, change)
        for block in outcome.side_blocks:
            for side_listener in self._side_listeners:
                yield partial(self._tell, side_listener, block)

    def _calls_of_refusal(self, block: Block | None, error: BaseException) -> Iterator[Call]:
        if block is not None and isinstance(error, CkbError):
            for listener in self._refused_listeners:
                yield partial(self._tell, partial(listener, block), error)

    def _tell(self, listener: Callable[[T], Iterator[None] | None], event: T) -> Iterator[None]:
        """Whoever still waits for a verdict gets it after the end, but listeners would find the store closed."""
        steps = None if self._is_closed else listener(event)
        for _ in steps or ():
            yield
            if self._is_closed:
                return

    def close(self) -> None:
        """Finish the block at hand and what goes on aside, and stop the threads. Listeners hear no more: they see it in
        the store when they are started again."""
        self._is_closed = True
        self._writer_thread.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._estimator.close()


def _retrieve_exception(verdict_future: asyncio.Future[Outcome]) -> None:
    """An error of a block whose callers have all given up is nobody's."""
    if not verdict_future.cancelled():
        verdict_future.exception()
