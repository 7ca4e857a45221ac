"""The indexer as a task of the node: its tables follow the chain, and searches read them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from ckb_node.chain.follower import ChainFollower, FollowedChain
from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.gaps import Gaps, IndexSnapshot, State
from ckb_node.indexer.index import Index, IndexTooOldError
from ckb_node.indexer.query import Terms
from ckb_node.runtime.lane import Slices
from consensus.lookup import require
from consensus.types.blockchain import Block
from storage.chain_store import ChainView
from storage.kv import KeyValueStore, Snapshot
from storage.leveldb import LevelDbOptions
from storage.log_rescue import open_derived
from storage.reopening import ReopeningStore

log = structlog.get_logger(__name__)

BATCH = 1024
"""Blocks of one step of the follower."""
BATCH_BYTES = 4 << 20
"""Bytes of blocks after which a step ends earlier."""

CHECKED_BLOCKS = 100_000
"""Blocks below the tip that are checked for gaps when the index is opened."""

WRITE_BUFFER = 64 << 20
"""Of the index's database, which may hold two of it: with half as much a build compacts a third longer."""

WAIT_S = 2.0
"""How long a search waits until the index has followed the chain."""

FAR_BEHIND = 10_000
"""If the index is more blocks behind, a search is refused at once."""

INDEXER_DIRECTORY = "indexer"
"""In the data directory."""


class IndexBehindError(Exception):
    """The index is behind the chain, so an answer would be outdated. `indexed` and `tip` are heights."""

    def __init__(self, indexed: int | None, tip: int) -> None:
        done = "no block" if indexed is None else f"block {indexed}"
        super().__init__(f"the index is being built: it has reached {done} of {tip}; try again later")
        self.indexed, self.tip = indexed, tip


def open_index(path: Path) -> ReopeningStore:
    """Open or create the index's database in directory `path`. Raises StorageError."""
    cure = f"Stop the node and remove the directory {path}: the index is built again from the chain"
    options = LevelDbOptions(cure=cure, is_compressed=True, write_buffer=WRITE_BUFFER)
    return ReopeningStore(path, partial(open_derived, path, options))


def _keep_open() -> None:
    """For a store that never has to be reopened."""


@dataclass(frozen=True, slots=True)
class IndexerOptions:
    """What the operator chose; see IndexerSection. `is_spent` tells of an out point (36 bytes) whether a transaction of
    the pool spends it; any thread may ask."""

    filters: CustomFilters = field(default_factory=CustomFilters)
    init_tip: bytes | None = None
    request_limit: int | None = None
    terms: Terms = field(default_factory=Terms)


class IndexerService:
    """Owns the index, and answers searches of it.

    A search sees all changes of the chain before it, and never a half-followed change. `reopen` makes a store usable
    again after a failed write; it may raise StorageError.
    """

    def __init__(
        self,
        chain: FollowedChain,
        store: KeyValueStore,
        reopen: Callable[[], None] = _keep_open,
        options: IndexerOptions | None = None,
    ) -> None:
        self.options: Final = options or IndexerOptions()
        self._chain: Final = chain
        self._store: Final = store
        self._derived: Final = _DerivedIndex(store, reopen, self.options)
        self.follower: Final = ChainFollower(chain, self._derived, "indexer tables")
        self._gaps: Final = Gaps()

    async def run(self) -> None:
        """Follow the main chain until cancelled. See ChainFollower.run."""
        await self.follower.run()

    def tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block."""
        return self._derived.index.tip()

    async def follow(self) -> None:
        """Wait a moment until the index has followed the chain; `tip` says how far it came."""
        if self.blocks_behind() > BATCH:
            return
        with suppress(IndexBehindError):
            (await self.snapshot()).close()

    def snapshot_now(self) -> Snapshot | None:
        """The index as of the chain's tip; None while it has not followed it."""
        return self._snapshot() if self.follower.is_current else None

    def _snapshot(self) -> Snapshot:
        """On the event loop, while no step is under way."""
        tip = self.tip()
        state = State(self._derived.history, -1 if tip is None else tip[0])
        return IndexSnapshot(self._store.snapshot(), self._gaps, state)

    async def snapshot(self) -> Snapshot:
        """The index as of the chain's tip, or of a later one. Raises IndexBehindError."""
        if not self.follower.is_current and self.blocks_behind() > FAR_BEHIND:
            raise self._behind_error()
        try:
            return await self.follower.when_current(self._snapshot, WAIT_S)
        except TimeoutError:
            raise self._behind_error() from None

    def blocks_behind(self) -> int:
        """Blocks between the last indexed one and the chain's tip; negative while the chain was cut back further."""
        tip = self.tip()
        return self._chain_height() - (-1 if tip is None else tip[0])

    def _behind_error(self) -> IndexBehindError:
        tip = self.tip()
        return IndexBehindError(None if tip is None else tip[0], self._chain_height())

    def _chain_height(self) -> int:
        with self._chain.view() as view:
            return view.tip_header().number

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
        self.follower.close()


class _DerivedIndex:
    """The index as ckb_node.chain.follower.Derived."""

    def __init__(self, store: KeyValueStore, reopen: Callable[[], None], options: IndexerOptions) -> None:
        self._store: Final = store
        self._reopen: Final = reopen
        self._options: Final = options
        self._beside: Final = ThreadPoolExecutor(1, thread_name_prefix="indexer writes")
        self.index = self._opened()
        self._is_checked = False
        self.history = object()
        """Another one whenever anything but the next block changes the index."""

    def _opened(self) -> Index:
        return Index(self._store, self._options.filters, self._beside)

    def step(self, view: ChainView) -> int:
        """See Derived."""
        self._check_once()
        try:
            self._roll_back_to_main(view)
        except IndexTooOldError as error:
            log.warning("the index is built anew", reason=str(error))
            self._clear()
        height = view.tip_header().number
        if self._waits_for_init_tip(view):
            return height
        tip = self.index.tip()
        blocks = blocks_of_step(view, -1 if tip is None else tip[0], BATCH, BATCH_BYTES)
        if blocks:
            self.index.append_run(blocks, height, sync=True)
        tip = self.index.tip()
        if tip is None or tip[0] >= height:
            self.index.rest()
        return -1 if tip is None else tip[0]

    def _waits_for_init_tip(self, view: ChainView) -> bool:
        """Begin behind the configured block, unless the index has come further; True while the main chain has not come
        to it."""
        init_tip, tip = self._options.init_tip, self.index.tip()
        if init_tip is None or (tip is not None and tip[0] >= self.index.first() > 0):
            return False
        header = view.header(init_tip)
        if header is None or view.main_hash(header.number) != init_tip:
            return True
        if tip is None or tip[0] < header.number:
            log.info("indexing begins behind indexer_v2.init_tip_hash", number=header.number)
            self.index.begin_behind(header.number, init_tip)
        return False

    def _check_once(self) -> None:
        """Each batch ends with a sync, so a power cut leaves gaps near the tip only."""
        if not self._is_checked and not self.index.is_sound(CHECKED_BLOCKS):
            log.warning(
                "the index is built anew",
                reason="it is of an older version, of other filters, or was not closed as it should be",
            )
            self._clear()
        self._is_checked = True

    def _clear(self) -> None:
        self.history = object()
        self.index.clear()

    def _roll_back_to_main(self, view: ChainView) -> None:
        while (tip := self.index.tip()) is not None and view.main_hash(tip[0]) != tip[1]:
            self.history = object()
            self.index.rollback()
            self.history = object()  # what a search has noted meanwhile counts no longer, either

    def reopen(self) -> None:
        """See Derived."""
        self.history = object()
        self._reopen()
        self.index, self._is_checked = self._opened(), False

    def close(self) -> None:
        """See Derived."""
        self._beside.shutdown(wait=True)
        self._store.close()


def blocks_of_step(view: ChainView, number: int, most: int, most_bytes: int) -> list[Block]:
    """Blocks of the main chain above a height, as many as one step takes: up to `most`, or few more bytes."""
    blocks: list[Block] = []
    end, size = min(number + most, view.tip_header().number), 0
    while number < end and size < most_bytes:
        number += 1
        block_hash = require(view.main_hash(number), "main-chain block", number)
        blocks.append(require(view.block(block_hash), "block", block_hash))
        size += len(blocks[-1].raw)
    return blocks
