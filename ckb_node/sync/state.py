"""How far the node is with the chain of its peers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How far the node is. `assume_valid_target` is zero when none is set; the three times are of the block fetcher."""

    ibd: bool
    assume_valid_target_reached: bool
    assume_valid_target: bytes
    min_chain_work_reached: bool
    min_chain_work: int
    best_known_block_number: int
    best_known_block_timestamp: int
    orphan_blocks_count: int
    inflight_blocks_count: int
    unverified_tip_number: int
    unverified_tip_hash: bytes
    tip_number: int
    tip_hash: bytes
    fast_time: int
    normal_time: int
    low_time: int
