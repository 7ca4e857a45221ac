"""The indexer as a task of the node: follows the chain, catches up after a restart, answers searches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.indexer.index import Index, IndexTooOldError
from ckb_node.runtime.lane import Slices
from consensus.lookup import require
from storage.chain_store import ChainView
from storage.kv import KeyValueStore, Snapshot
from storage.leveldb import LevelDbOptions
from storage.log_rescue import open_derived
from storage.reopening import ReopeningStore

log = structlog.get_logger(__name__)

BATCH = 256
"""Blocks that are indexed before the task looks whether it should stop,"""
BATCH_BYTES = 2 << 20
"""or so many bytes of blocks."""

CHECKED_BLOCKS = 100_000
"""Blocks from the tip down that must be there when the index is opened."""

WAIT_S = 2.0
"""How long a search waits for the index to follow what the chain has done before."""

FAR_BEHIND = 10_000
"""So many blocks behind the tip nobody waits."""

INDEXER_DIRECTORY = "indexer"
"""In the data directory."""


class IndexBehindError(Exception):
    """The index has not followed the chain (yet), and a search would find what was right once. Heights."""

    def __init__(self, indexed: int | None, tip: int) -> None:
        done = "no block" if indexed is None else f"block {indexed}"
        super().__init__(f"the index is being built: it has reached {done} of {tip}; try again later")
        self.indexed, self.tip = indexed, tip


def open_index(path: Path) -> ReopeningStore:
    """Open or create the index's database in directory `path`. Raises StorageError."""
    cure = f"Stop the node and remove the directory {path}: the index is built again from the chain"
    return ReopeningStore(path, partial(open_derived, path, LevelDbOptions(cure=cure)))


def _keep_open() -> None:
    """A store that needs no opening again."""


class IndexerService:
    """Owns the index; writes in one thread of its own, so that nobody waits for it.

    Whoever searches after a change of the chain finds what it has changed, never a state on the way there. `reopen`
    makes a store usable again of which a write has failed; raises StorageError.
    """

    def __init__(self, chain: ChainService, store: KeyValueStore, reopen: Callable[[], None] = _keep_open) -> None:
        self._chain, self._store, self._reopen = chain, store, reopen
        self._has_failed = False
        self._index = Index(store)
        self._is_checked = False
        self._changes = 0
        """Of the chain, so far."""
        self._followed = -1
        """As many changes the index has followed to the end; fewer while a step is under way."""
        self._searches: list[tuple[int, asyncio.Future[Snapshot]]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="indexer")
        self._wake = asyncio.Event()
        self._wake.set()
        chain.listen(self._on_change)

    def _on_change(self, _: ChainChanged) -> None:
        self._changes += 1
        self._wake.set()

    async def run(self) -> None:
        """Follow the main chain until cancelled. May be called again after it has raised, whatever it was."""
        loop = asyncio.get_running_loop()
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await loop.run_in_executor(self._writer, self._step_or_begin_anew):
                self._wake.set()
            self._begin_searches()

    def _begin_searches(self) -> None:
        """Between two steps: give those that wait a state with all that they wait for."""
        ready = [told for changes, told in self._searches if changes <= self._followed]
        self._searches = [each for each in self._searches if each[0] > self._followed]
        for told in ready:
            if not told.done():
                told.set_result(self._store.snapshot())

    def _step_or_begin_anew(self) -> bool:
        if self._has_failed:
            self._followed = -1  # what is opened again may lack the end, or be built anew
            self._reopen()
            self._index, self._is_checked = Index(self._store), False
        self._has_failed = True
        is_done = self.step()
        self._has_failed = False
        return is_done

    def step(self) -> bool:
        """Index a batch of blocks; True when the index is at the tip of the chain."""
        changes = self._changes
        self._check_once()
        with self._chain.view() as view:
            try:
                self._roll_back_to_main(view)
            except IndexTooOldError as error:
                log.warning("the index is built anew", reason=str(error))
                self._index.clear()
            tip = self._index.tip()
            number = -1 if tip is None else tip[0]
            last = view.tip_header().number
            end, size = min(number + BATCH, last), 0
            while number < end and size < BATCH_BYTES:
                number += 1
                block_hash = require(view.main_hash(number), "main-chain block", number)
                block = require(view.block(block_hash), "block", block_hash)
                size += len(block.raw)
                self._index.append(block, sync=number == end or size >= BATCH_BYTES)
        if number == last:
            self._followed = changes
        return number == last

    def _check_once(self) -> None:
        """The end of each batch is synced, so what a power cut took is not far from the tip."""
        if not self._is_checked and not self._index.is_sound(CHECKED_BLOCKS):
            log.warning(
                "the index is built anew", reason="it is of an older version, or was not closed as it should be"
            )
            self._index.clear()
        self._is_checked = True

    def _roll_back_to_main(self, view: ChainView) -> None:
        while (tip := self._index.tip()) is not None and view.main_hash(tip[0]) != tip[1]:
            self._index.rollback()

    def tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block."""
        return self._index.tip()

    async def follow(self) -> None:
        """Give the index a moment to follow what the chain has done; `tip` tells how far it came."""
        if self._behind() > BATCH:
            return
        with suppress(IndexBehindError):
            (await self.snapshot()).close()

    async def snapshot(self) -> Snapshot:
        """The index as of the chain's tip, or of a later one. Raises IndexBehindError."""
        if self._followed >= self._changes:
            return self._store.snapshot()
        if self._behind() > FAR_BEHIND:
            raise self._behind_error()
        told: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._searches.append((self._changes, told))
        try:
            async with asyncio.timeout(WAIT_S):
                return await told
        except TimeoutError:
            raise self._behind_error() from None
        finally:
            self._searches = [each for each in self._searches if each[1] is not told]

    def _behind(self) -> int:
        tip = self._index.tip()
        return self._chain.view().tip_header().number - (-1 if tip is None else tip[0])

    def _behind_error(self) -> IndexBehindError:
        tip = self._index.tip()
        return IndexBehindError(None if tip is None else tip[0], self._chain.view().tip_header().number)

    async def search(self, read: Callable[[Snapshot], Slices]) -> Slices:
        """What `read` makes of one consistent state; for any one thread at a time. Raises IndexBehindError."""
        snapshot = await self.snapshot()

        def slices() -> Slices:
            try:
                yield from read(snapshot)
            finally:
                snapshot.close()

        return slices()

    def close(self) -> None:
        """Stop the thread and close the store, when all searches have ended."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._store.close()
