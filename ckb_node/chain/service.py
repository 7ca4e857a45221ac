"""The chain service as the event loop sees it: one writer thread, blocks in, events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.events import ChainChanged
from ckb_node.chain.processor import BlockProcessor, Outcome, Verdict
from ckb_node.chain.publisher import Call, Publisher
from consensus.header import UnknownParentError
from consensus.params import Consensus
from consensus.resolve import resolve_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Block, Transaction
from storage.chain_store import ChainView

Listener = Callable[[ChainChanged], Iterator[None] | None]
"""One that has much to do is a generator: the event loop does other things where it yields."""

SideListener = Callable[[Block], None]


class ChainService:
    """Everything that changes the chain goes through its one thread, in order.

    Listeners run on the event loop, in the order in which they were added, before the caller of `submit_block` goes on.
    """

    def __init__(self, processor: BlockProcessor) -> None:
        self._processor = processor
        self._listeners: list[Listener] = []
        self._side_listeners: list[SideListener] = []
        self._publisher = Publisher()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="chain")

    @property
    def consensus(self) -> Consensus:
        return self._processor.consensus

    @property
    def assume_valid(self) -> AssumeValid:
        return self._processor.assume_valid

    @property
    def orphan_count(self) -> int:
        return len(self._processor.orphans)

    def view(self) -> ChainView:
        """The newest committed state of the main chain."""
        return self._processor.store.view()

    def listen(self, listener: Listener) -> None:
        """Call `listener` on the event loop after each change of the tip."""
        self._listeners.append(listener)

    def listen_side(self, listener: SideListener) -> None:
        """Call `listener` on the event loop for each valid block that did not become the tip."""
        self._side_listeners.append(listener)

    async def submit_block(self, block: Block) -> bytes:
        """Take a block from a miner, whose parent must be known; its hash. Raises the error of the rule it breaks."""
        if self.view().header(block.parent_hash) is None:
            raise UnknownParentError(block.parent_hash)
        await self.process(block)
        return block.hash

    async def estimate_cycles(self, transaction: Transaction) -> int:
        """Cycles of a transaction's scripts at the tip, up to a block's limit.

        Raises ResolveError, ScriptError, BudgetExceeded.
        """
        view = self.view()  # not closed here: the thread goes on with it when the caller gives up
        rtx = resolve_transaction(transaction, view, view, frozenset())
        scripts, env = self._processor.scripts, TxEnv.submitted(view.tip_header())
        return await asyncio.to_thread(
            scripts.run_patiently, view, rtx, env, self.consensus.max_block_cycles, scripts.stop
        )

    async def process(self, block: Block) -> Verdict:
        """Take a block from anywhere; orphans wait."""
        outcome = await self._write(lambda: self._processor.process(block))
        return outcome.verdict

    async def process_block_without_verify(self, block: Block) -> bool:
        """IntegrationTest: no rules. False when the parent is unknown."""
        try:
            await self._write(lambda: self._processor.process_unverified(block))
        except UnknownParentError:
            return False
        return True

    async def truncate(self, block_hash: bytes) -> None:
        """IntegrationTest: cut the chain back to a block of the main chain."""

        def cut() -> Outcome:
            change = self._processor.truncate(block_hash)
            return Outcome(Verdict.KNOWN, [] if change is None else [change])

        await self._write(cut)

    async def _write(self, job: Callable[[], Outcome]) -> Outcome:
        """Run a job in the writer thread; its events reach the listeners first, whatever order callers wake up in."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def run() -> Outcome:
            outcome = job()
            calls: list[Call] = [*self._calls_of(outcome), partial(_settle, told)]
            loop.call_soon_threadsafe(self._publisher.add, calls)
            return outcome

        outcome = await loop.run_in_executor(self._writer, run)
        await told
        return outcome

    def _calls_of(self, outcome: Outcome) -> Iterator[Call]:
        """Each listener is told by itself, so that one's fault does not keep the event from the others."""
        for change in outcome.changes:
            for listener in self._listeners:
                yield partial(listener, change)
        for block in outcome.side_blocks:
            for side_listener in self._side_listeners:
                yield partial(side_listener, block)

    def close(self) -> None:
        """Finish the block at hand and stop the writer thread."""
        self._writer.shutdown(wait=True, cancel_futures=True)


def _settle(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
