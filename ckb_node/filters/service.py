"""Block filters as a task of the node: built behind the tip, answered from what is built."""

from __future__ import annotations

from typing import Final

from ckb_node.chain.follower import ChainFollower, FollowedChain
from ckb_node.filters.builder import BatchLimits, FilterBuilder
from storage.chain_store import ChainView
from storage.filters import BlockFilter, BlockPlace, FilterStore


class FilterService:
    """Owns the filters' database. Reading does not need `run`: without it, what was built before is still there."""

    def __init__(self, chain: FollowedChain, store: FilterStore, limits: BatchLimits | None = None) -> None:
        self.store: Final = store
        self.follower: Final = ChainFollower(chain, _DerivedFilters(store, limits), "block filters")

    async def run(self) -> None:
        """Keep the filters at the tip until cancelled. See ChainFollower.run."""
        await self.follower.run()

    def block_filter(self, number: int, block_hash: bytes) -> BlockFilter | None:
        """Filter of the block of this height and hash; None when it is not built."""
        return self.store.filter(BlockPlace(number, block_hash))

    def close(self) -> None:
        """Finish the batch at hand, stop the thread and close the store."""
        self.follower.close()


class _DerivedFilters:
    """The filters as ckb_node.chain.follower.Derived. A reorganisation takes none back: they stay true of their
    blocks."""

    def __init__(self, store: FilterStore, limits: BatchLimits | None) -> None:
        self._store: Final = store
        self._limits: Final = limits
        self._builder = FilterBuilder(store, limits)

    def step(self, view: ChainView) -> int:
        """See Derived."""
        self._builder.step(view)
        return self._builder.last_number

    def reopen(self) -> None:
        """See Derived."""
        self._store.reopen()
        self._builder = FilterBuilder(self._store, self._limits)

    def close(self) -> None:
        """See Derived."""
        self._store.close()
