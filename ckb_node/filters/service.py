"""Block filters as a task of the node: follows the chain in a thread of its own, answers from what is built."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.filters.builder import BatchLimits, FilterBuilder
from storage.filters import BlockFilter, BlockPlace, FilterStore

log = structlog.get_logger(__name__)

FAR_BEHIND = 10_000
"""So many blocks without a filter are worth a line in the log."""


class FilterService:
    """Owns the filters' database. Reading does not need `run`: without it, what was built before is still there."""

    def __init__(self, chain: ChainService, store: FilterStore, limits: BatchLimits | None = None) -> None:
        self._chain, self.store = chain, store
        self._limits = limits
        self._builder = FilterBuilder(store, limits)
        self._has_failed = self._is_far_behind = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="filters")
        self._wake = asyncio.Event()
        self._wake.set()
        chain.listen(self._on_change)

    def _on_change(self, _: ChainChanged) -> None:
        self._wake.set()

    def block_filter(self, number: int, block_hash: bytes) -> BlockFilter | None:
        """Filter of the block of this height and hash; None when it is not built."""
        return self.store.filter(BlockPlace(number, block_hash))

    async def run(self) -> None:
        """Keep the filters at the tip until cancelled. May be called again after it has raised, whatever it was."""
        loop = asyncio.get_running_loop()
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await loop.run_in_executor(self._writer, self._step_or_begin_anew):
                self._wake.set()

    def _step_or_begin_anew(self) -> bool:
        if self._has_failed:
            self.store.reopen()
            self._builder = FilterBuilder(self.store, self._limits)
        self._has_failed = True
        is_done = self.step()
        self._has_failed = False
        return is_done

    def step(self) -> bool:
        """Build a batch of filters; True when they have reached the tip of the chain."""
        with self._chain.view() as view:
            is_done = self._builder.step(view)
            self._say_progress(view.tip_header().number, is_done=is_done)
        return is_done

    def _say_progress(self, tip: int, *, is_done: bool) -> None:
        built = self._builder.last_number
        if not self._is_far_behind and tip - built >= FAR_BEHIND:
            self._is_far_behind = True
            log.info("block filters are built in the background", number=built, tip=tip)
        elif self._is_far_behind and is_done:
            self._is_far_behind = False
            log.info("block filters have reached the tip", number=built)

    def close(self) -> None:
        """Finish the batch at hand, stop the thread and close the store."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self.store.close()
