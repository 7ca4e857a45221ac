"""Which fee rate gets a transaction into a block soon."""

from __future__ import annotations

import asyncio
from typing import Final

from ckb_node.txpool import views
from ckb_node.txpool.entry import Status
from ckb_node.txpool.pool import TxPool
from consensus.params import Consensus

CONFIRM_TARGETS: Final = {
    views.FeePriority.NO_PRIORITY: 128,
    views.FeePriority.LOW_PRIORITY: 64,
    views.FeePriority.MEDIUM_PRIORITY: 21,
    views.FeePriority.HIGH_PRIORITY: 5,
}
"""Blocks within which a transaction of each priority should be committed."""

ENTRIES_PER_SLICE: Final = 1024
"""Entries that are walked before the event loop may do something else."""


async def estimate_fee_rate(pool: TxPool, consensus: Consensus, priority: views.FeePriority, *, fallback: bool) -> int:
    """Shannons per 1000 weight units, from what the pool holds: the rate that is committed within the target."""
    if not fallback:
        raise views.FeeEstimateError("dummy fee estimator is used")
    left = CONFIRM_TARGETS[priority] - consensus.proposal_window.closest
    size = cycles = 0
    for looked, entry in enumerate(pool.graph.by_score_as_now(Status)):
        if looked % ENTRIES_PER_SLICE == 0:
            await asyncio.sleep(0)
        size, cycles = size + entry.size, cycles + entry.cycles
        if size >= consensus.max_block_bytes or cycles >= consensus.max_block_cycles:
            left -= 1
            if left == 0:
                return entry.fee_rate
            size, cycles = entry.size, entry.cycles
    return pool.limits.min_fee_rate
