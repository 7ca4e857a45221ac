"""The chain service as the event loop sees it: one writer thread, blocks in, events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

import structlog

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.bulk import BulkOutcome, take_in_bulk, take_run
from ckb_node.chain.events import (
    BlockDecided,
    BlockVerified,
    ChainChanged,
    ChainEvent,
    SideBlockStored,
    Source,
    StorageFailed,
    Verdict,
)
from ckb_node.chain.publisher import Call, Publisher
from ckb_node.chain.queue import BlockQueueLimit
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification.estimator import Estimator
from consensus.params import Consensus
from consensus.rules.header import UnknownParentError
from consensus.types.blockchain import Block, Header, Transaction
from storage.chain_store import ChainView
from storage.errors import StorageError

log = structlog.get_logger("chain")

P = ParamSpec("P")
T = TypeVar("T")

RUNS_LINGER_S: Final = 1.0
"""After the last blocks that were written in bulk, more are likely to come."""

MAX_READERS: Final = 2
"""Threads for long reads of the chain: templates, mostly."""

ChangeListener = Callable[[ChainChanged], Iterator[None] | None]
"""A listener with much to do is a generator, which the event loop interrupts where it yields."""

SideListener = Callable[[Block], None]

DecidedListener = Callable[[BlockDecided], None]

VerifiedListener = Callable[[Block], None]

SubmittedListener = Callable[[Block], None]


class ChainService:
    """Everything that changes the chain goes through its one thread, in order.

    Listeners run on the event loop, in the order in which they were added, before the caller of `submit_block` goes on.
    """

    def __init__(self, writer: ChainWriter) -> None:
        self._writer = writer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[ChangeListener] = []
        self._side_listeners: list[SideListener] = []
        self._decided_listeners: list[DecidedListener] = []
        self._verified_listeners: list[VerifiedListener] = []
        self._submitted_listeners: list[SubmittedListener] = []
        self._publisher = Publisher()
        self.queue_limit = BlockQueueLimit()
        self._queued: dict[bytes, tuple[Block, asyncio.Future[Verdict]]] = {}
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._readers = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="chain-reader")
        self._judge = ThreadPoolExecutor(1, thread_name_prefix="header-judge")
        self._estimator = Estimator(writer.scripts)
        self._runs, self._runs_end = 0, 0.0
        self._is_closed = False
        self._failure: StorageError | None = None
        self._has_failed = asyncio.Event()
        writer.listen(self._on_event)

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

    def shared_view(self) -> ChainView:
        """The same, one for all who only look: it is not closed, and not kept."""
        return self._writer.store.shared_view()

    def listen(self, listener: ChangeListener) -> None:
        """Call `listener` on the event loop after each change of the tip."""
        self._listeners.append(listener)

    def listen_side(self, listener: SideListener) -> None:
        """Call `listener` on the event loop for each valid block that did not become the tip."""
        self._side_listeners.append(listener)

    def listen_decided(self, listener: DecidedListener) -> None:
        """Call `listener` on the event loop for each refused block, before its submitter is told, and for each block
        that left the orphans.

        The event has the sources of the block, so that a peer can be banned for an orphan or a side block that is
        refused later.
        """
        self._decided_listeners.append(listener)

    def listen_verified(self, listener: VerifiedListener) -> None:
        """Call `listener` on the event loop with each block that becomes the tip, as soon as it is verified: before it
        is on the disk, and before all other listeners. It must return at once."""
        self._verified_listeners.append(listener)

    def listen_submitted(self, listener: SubmittedListener) -> None:
        """Call `listener` on the event loop with each new block that a miner gave, once it is stored, on whatever
        branch: peers are to hear of it."""
        self._submitted_listeners.append(listener)

    async def submit_block(self, block: Block) -> bytes:
        """Take a block from a miner, whose parent must be known; its hash. Raises the error of the rule it breaks."""
        with self.view() as view:
            parent = view.block_ext(block.parent_hash)  # an invalid one has it, too: the writer refuses its children
        if parent is None:
            raise UnknownParentError(block.parent_hash)
        if await self.process(block) in (Verdict.BEST, Verdict.SIDE):
            for listener in self._submitted_listeners:
                listener(block)
        return block.hash

    async def estimate_cycles(self, transaction: Transaction) -> int:
        """Cycles of a transaction's scripts at the tip, up to a block's limit. They stop when the caller leaves.

        Raises ResolveError, ScriptError, BudgetExceeded.
        """
        return await self._estimator.cycles(self.view(), transaction)

    async def run_in_reader(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something in a thread that reads the chain for longer than the event loop may be blocked.

        Not `asyncio.to_thread`: its threads are joined after the store is closed, and a read of a closed store ends the
        process.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, partial(work, *args, **kwargs))

    async def process(self, block: Block, source: Source | None = None) -> Verdict:
        """Queue a block and await its verdict; waiting is backpressure. Raises the error of the rule that it breaks.

        A block that is in the queue already shares its verdict. `source` gave the block: when it is an orphan, or a
        side block that is refused later, `listen_decided` reports it.
        """
        queued, is_joined = await self._join_or_enqueue(block, source)
        verdict = await asyncio.shield(queued)
        if is_joined and source is not None:  # note this source, too
            if verdict is Verdict.ORPHAN:
                return await self.process(block, source)
            if verdict in (Verdict.SIDE, Verdict.KNOWN):
                await self._write(lambda: self._writer.note_side_source(block, source))
        return verdict

    async def store_headers(self, headers: Sequence[Header]) -> None:
        """Keep valid headers whose blocks have not come. See `ChainWriter.store_headers`."""
        await self._write(lambda: self._writer.store_headers(headers))

    async def process_in_bulk(self, blocks: Sequence[Block], source: Source | None = None) -> list[Verdict]:
        """Queue blocks that stand on each other, and await their verdicts. Blocks on the tip share commits.

        Raises RefusedBlockError for the first that breaks a rule on the tip, its CkbError for one on a branch, and,
        unlike `process`, UnknownParentError for an orphan: those before it are taken, those after it are not.
        """
        size = sum(len(block.raw) for block in blocks)
        await self.queue_limit.acquire(size)
        verdicts = self._start(partial(take_in_bulk, self._writer, blocks, source))
        verdicts.add_done_callback(lambda _: self.queue_limit.release(size))
        return await asyncio.shield(verdicts)

    @property
    def is_closed(self) -> bool:
        """The node ends: nothing can be started any more."""
        return self._is_closed

    # For sync, which bounds by itself what it gives and wants no task for each block: futures.

    def start_block(self, block: Block, source: Source | None = None) -> asyncio.Future[Verdict]:
        """As `process`, in the queue at once, whether there is room or not."""
        self.queue_limit.take(len(block.raw))
        return self._enqueue(block, source)

    def start_run(self, blocks: Sequence[Block], sources: Sequence[Source | None]) -> asyncio.Future[BulkOutcome]:
        """Take blocks that stand on each other in bulk; each has its source. At once in the queue."""
        size = sum(len(block.raw) for block in blocks)
        self.queue_limit.take(size)
        outcome = self._start(partial(take_run, self._writer, blocks, sources))
        self._runs += 1
        outcome.add_done_callback(lambda _: self._run_done(size))
        return outcome

    def _run_done(self, size: int) -> None:
        self.queue_limit.release(size)
        self._runs -= 1
        self._runs_end = time.monotonic()

    @property
    def is_taking_runs(self) -> bool:
        """Blocks are written in bulk, or were a moment ago."""
        return self._runs > 0 or (self._runs_end > 0.0 and time.monotonic() - self._runs_end < RUNS_LINGER_S)

    @property
    def is_at_work(self) -> bool:
        """Blocks are being verified or written now."""
        return bool(self._queued) or self._runs > 0

    def start_store_headers(self, headers: Sequence[Header]) -> asyncio.Future[None]:
        """Keep valid headers whose blocks have not come. See `ChainWriter.store_headers`."""
        return self._start(lambda: self._writer.store_headers(headers))

    def start_read(self, work: Callable[[ChainView], T]) -> asyncio.Future[T]:
        """Read in a thread, with a view that is closed afterwards. See `run_in_reader`."""
        return asyncio.get_running_loop().run_in_executor(self._readers, self._with_view, work)

    def start_judging(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """One after the other, in the thread that judges headers."""
        return asyncio.get_running_loop().run_in_executor(self._judge, work)

    def _with_view(self, work: Callable[[ChainView], T]) -> T:
        with self.view() as view:
            return work(view)

    async def _join_or_enqueue(self, block: Block, source: Source | None) -> tuple[asyncio.Future[Verdict], bool]:
        """The verdict to come, and whether it is that of the same block from another caller."""
        shared = self._verdict_of_same(block)
        if shared is not None:
            return shared, True
        await self.queue_limit.acquire(len(block.raw))
        shared = self._verdict_of_same(block)
        if shared is None:
            return self._enqueue(block, source), False
        self.queue_limit.release(len(block.raw))
        return shared, True

    def _verdict_of_same(self, block: Block) -> asyncio.Future[Verdict] | None:
        """The verdict of the same block in the queue. Compare bytes: the body is not yet checked against its header."""
        queued = self._queued.get(block.hash)
        return queued[1] if queued is not None and queued[0].raw == block.raw else None

    def _enqueue(self, block: Block, source: Source | None) -> asyncio.Future[Verdict]:
        """The queue has room for the block, which is released with the verdict."""
        verdict_future = self._start(lambda: self._writer.process(block, source))
        self._queued.setdefault(block.hash, (block, verdict_future))
        verdict_future.add_done_callback(lambda _: self._dequeue(block, verdict_future))
        return verdict_future

    def _dequeue(self, block: Block, verdict_future: asyncio.Future[Verdict]) -> None:
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
        await self._write(lambda: self._writer.truncate(block_hash))

    async def _write(self, job: Callable[[], T]) -> T:
        """Run a job in the writer thread; its events reach the listeners first, whatever order callers wake up in."""
        return await asyncio.shield(self._start(job))

    def _start(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run a job in the writer thread; it is not cancelled with its caller."""
        loop = self._loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        result.add_done_callback(_retrieve_exception)
        written = self._writer_thread.submit(job)
        written.add_done_callback(lambda _: loop.call_soon_threadsafe(self._finish, written, result))
        return result

    def _finish(self, written: Future[T], result: asyncio.Future[T]) -> None:
        if written.cancelled():
            result.cancel()
        elif (error := written.exception()) is not None:
            self._publisher.add([partial(result.set_exception, error)])
            self._note_failure(error)
        else:
            self._publisher.add([partial(result.set_result, written.result())])

    def _on_event(self, event: ChainEvent) -> None:
        """In the writer thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._publish, event)

    def _publish(self, event: ChainEvent) -> None:
        if isinstance(event, StorageFailed):
            self._note_failure(event.error)
        elif isinstance(event, BlockVerified):
            for listener in () if self._is_closed else self._verified_listeners:
                listener(event.block)
        else:
            self._publisher.add(self._calls_of(event))

    def _note_failure(self, error: BaseException | None) -> None:
        """The disk failed under the writer: no block can be taken any more."""
        if isinstance(error, StorageError) and self._failure is None and not self._is_closed:
            self._failure = error
            self._has_failed.set()

    async def watch(self) -> None:
        """Run until the chain cannot be written any more: raises the StorageError that the writer met."""
        await self._has_failed.wait()
        if self._failure is not None:
            log.error("the chain cannot be written any more; the node ends", reason=str(self._failure))
            raise self._failure

    def _calls_of(self, event: ChainChanged | SideBlockStored | BlockDecided) -> Iterator[Call]:
        """One call for each listener, so that a fault of one does not keep the event from the others."""
        match event:
            case ChainChanged():
                for listener in self._listeners:
                    yield partial(self._tell, listener, event)
            case SideBlockStored(block):
                for side_listener in self._side_listeners:
                    yield partial(self._tell, side_listener, block)
            case BlockDecided():
                for decided_listener in self._decided_listeners:
                    yield partial(self._tell, decided_listener, event)

    def _tell(self, listener: Callable[[T], Iterator[None] | None], event: T) -> Iterator[None]:
        """Call a listener, unless the chain is closed: callers still get their verdicts then, but listeners would read
        the closed store."""
        steps = None if self._is_closed else listener(event)
        for _ in steps or ():
            yield
            if self._is_closed:
                return

    def close(self) -> None:
        """Finish the block at hand and the reads that run, and stop the threads. Listeners hear no more: they see it in
        the store when they are started again."""
        self._is_closed = True
        self._writer_thread.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._judge.shutdown(wait=True, cancel_futures=True)
        self._estimator.close()


def _retrieve_exception(result: asyncio.Future[T]) -> None:
    """Retrieve the exception so that asyncio does not warn when all callers have given up."""
    if not result.cancelled():
        result.exception()
