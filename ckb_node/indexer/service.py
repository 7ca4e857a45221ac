"""The indexer as a task of the node: follows the chain, catches up after a restart, answers searches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.indexer.index import Index, IndexTooOldError
from consensus.lookup import require
from storage.chain_store import ChainView
from storage.kv import KeyValueStore, Snapshot

log = structlog.get_logger(__name__)

BATCH = 256
"""Blocks that are indexed before the task looks whether it should stop."""

CHECKED_BLOCKS = 100_000
"""Blocks from the tip down that must be there when the index is opened."""

SEARCHERS = 2
"""Searches at a time; others wait."""

T = TypeVar("T")


class IndexerService:
    """Owns the index; writes in one thread of its own and searches in others, so that nobody waits for it."""

    def __init__(self, chain: ChainService, store: KeyValueStore) -> None:
        self._chain, self._store = chain, store
        self._index = Index(store)
        self._is_checked = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="indexer")
        self._searchers = ThreadPoolExecutor(SEARCHERS, thread_name_prefix="search")
        self._wake = asyncio.Event()
        self._wake.set()
        chain.listen(self._on_change)

    def _on_change(self, change: ChainChanged) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Follow the main chain until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await loop.run_in_executor(self._writer, self.step):
                self._wake.set()

    def step(self) -> bool:
        """Index a batch of blocks; True when the index is at the tip of the chain."""
        self._check_once()
        with self._chain.view() as view:
            try:
                self._roll_back_to_main(view)
            except IndexTooOldError as error:
                log.warning("the index is built anew", reason=str(error))
                self._index.clear()
            tip = self._index.tip()
            first = 0 if tip is None else tip[0] + 1
            last = view.tip_header().number
            end = min(first + BATCH, last + 1)
            for number in range(first, end):
                block_hash = require(view.main_hash(number), "main-chain block", number)
                block = require(view.block(block_hash), "block", block_hash)
                self._index.append(block, sync=number == end - 1)
            return end > last

    def _check_once(self) -> None:
        """The end of each batch is synced, so what a power cut took is not far from the tip."""
        if not self._is_checked and not self._index.is_sound(CHECKED_BLOCKS):
            log.warning("the index is built anew", reason="it was not closed as it should be")
            self._index.clear()
        self._is_checked = True

    def _roll_back_to_main(self, view: ChainView) -> None:
        tip = self._index.tip()
        while tip is not None and view.main_hash(tip[0]) != tip[1]:
            block = view.block(tip[1])
            if block is None:
                raise IndexTooOldError(tip[0])
            self._index.rollback(block)
            tip = self._index.tip()

    def tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block."""
        return self._index.tip()

    async def search(self, read: Callable[[Snapshot], T]) -> T:
        """What `read` makes of one consistent state, in a thread of its own."""

        def run() -> T:
            snapshot = self._store.snapshot()
            try:
                return read(snapshot)
            finally:
                snapshot.close()

        return await asyncio.get_running_loop().run_in_executor(self._searchers, run)

    def close(self) -> None:
        """Stop the threads and close the store."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._searchers.shutdown(wait=True, cancel_futures=True)
        self._store.close()
