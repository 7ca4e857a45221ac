"""Headers of branches that have lost, whose blocks never came, do not stay on the disk for ever.

A branch that ends far below the tip with less work may still be the beginning of one that wins: its headers come in
batches. So only one that has not grown for an hour is deleted, from its end down, a few rows at a time. Whoever has it
after all is asked for it again from where it begins.
"""

from __future__ import annotations

from typing import Final

import structlog

from consensus.types.blockchain import Header
from storage.chain_store import ChainStore
from storage.errors import StorageError

__all__ = ["LostHeaders"]

log = structlog.get_logger("chain")

DEPTH: Final = 5_000
"""Blocks below the tip, at least."""
QUIET_MS: Final = 3_600_000
"""So long it must not have grown, in this run."""
LOOK_EVERY: Final = 64
"""Blocks of the main chain."""
MAX_LEAVES: Final = 256
"""Ends of branches that are looked at; those with the least work."""
MAX_ROWS: Final = 128
"""Rows that are deleted at a time: a few milliseconds of the writer."""


class LostHeaders:
    """Belongs to the writer's thread."""

    def __init__(self) -> None:
        self._since: dict[bytes, int] = {}
        """When the end of a lost branch was first seen; at most MAX_LEAVES."""

    def look(self, store: ChainStore, tip: Header, now_ms: int) -> None:
        """The tip has changed. A fault of the disk is not that block's: it is told, and tried again later."""
        if tip.number % LOOK_EVERY or tip.number <= DEPTH:
            return
        try:
            self.prune(store, tip, now_ms)
        except StorageError as error:
            log.warning("headers of lost branches cannot be deleted", reason=str(error))

    def prune(self, store: ChainStore, tip: Header, now_ms: int) -> None:
        """Delete some of what has been lost for long. Raises StorageError."""
        with store.view() as view:
            ext = view.block_ext(tip.hash)
            work = 0 if ext is None else ext.total_difficulty
            leaves = view.known_headers().poorest_leaves(work, MAX_LEAVES)
        lost = [row.header.hash for row in leaves if row.header.number + DEPTH <= tip.number]
        self._since = {each: self._since.get(each, now_ms) for each in lost}
        due = next((each for each, since in self._since.items() if now_ms - since >= QUIET_MS), None)
        if due is not None:
            self._delete(store, due)

    def _delete(self, store: ChainStore, end: bytes) -> None:
        with store.begin() as txn:
            if txn.header_rows.has_cut:
                return
            left = txn.header_rows.prune(end, MAX_ROWS)
            txn.commit(sync=False)
        since = self._since.pop(end)
        if left is not None:
            self._since[left.header.hash] = since
