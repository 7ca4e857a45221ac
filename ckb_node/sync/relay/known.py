"""Which transactions were here lately, in the pool still or not: they are not asked for again."""

from __future__ import annotations

from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from network.peer import Scheduler

__all__ = ["KNOWN_LIFE", "MAX_KNOWN", "KnownTransactions"]

MAX_KNOWN: Final = 50_000
KNOWN_LIFE: Final = 4 * 60 * 60.0
"""Seconds."""


class KnownTransactions:
    """Hashes with their times; the oldest leave."""

    def __init__(self, scheduler: Scheduler, max_count: int = MAX_KNOWN) -> None:
        self._scheduler: Final = scheduler
        self._since: Final[BoundedMap[bytes, float]] = BoundedMap(max_count=max_count)

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, tx_hash: bytes) -> bool:
        since = self._since.get(tx_hash)
        return since is not None and self._scheduler.now() - since <= KNOWN_LIFE

    def add(self, tx_hash: bytes) -> None:
        self._since.put(tx_hash, self._scheduler.now())

    def discard(self, tx_hash: bytes) -> None:
        """It may be offered again."""
        self._since.pop(tx_hash)
