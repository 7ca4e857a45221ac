"""The indexer as a task of the node: follows the chain, catches up after a restart, answers searches."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

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


class IndexerService:
    """Owns the index; writes in one thread of its own, so that searches and blocks do not wait for it."""

    def __init__(self, chain: ChainService, store: KeyValueStore) -> None:
        self._chain, self._store = chain, store
        self._index = Index(store)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="indexer")
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
        with self._chain.view() as view:
            try:
                self._roll_back_to_main(view)
            except IndexTooOldError as error:
                log.warning("the index is built anew", reason=str(error))
                self._index.clear()
            tip = self._index.tip()
            first = 0 if tip is None else tip[0] + 1
            last = view.tip_header().number
            for number in range(first, min(first + BATCH, last + 1)):
                block_hash = require(view.main_hash(number), "main-chain block", number)
                self._index.append(require(view.block(block_hash), "block", block_hash))
            return first + BATCH > last

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

    def snapshot(self) -> Snapshot:
        """A consistent state to search in."""
        return self._store.snapshot()

    def close(self) -> None:
        """Stop the writer thread and close the store."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._store.close()
