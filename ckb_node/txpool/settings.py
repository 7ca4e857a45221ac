"""Sections of the configuration that this package reads."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ckb_node.runtime.settings import Count, Positive, Section
from ckb_node.txpool.fee_estimators import Algorithm
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.recent_rejects import RejectLimits


class PoolSection(Section, frozen=True):
    """[tx_pool]: sizes in bytes, rates in shannons per 1000 bytes."""

    max_tx_pool_size: Positive = 180_000_000
    min_fee_rate: Count = 1000
    min_rbf_rate: Count = 1500
    max_tx_verify_cycles: Positive = 70_000_000
    max_ancestors_count: Positive = 1000
    max_tx_verify_workers: Annotated[int, Meta(ge=1, le=256)] = 2
    expiry_hours: Count = 12
    persisted_data: str = "tx_pool/persisted_data.v1"
    keep_rejected_tx_hashes_days: Annotated[int, Meta(ge=1, le=3650)] = 7
    keep_rejected_tx_hashes_count: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000

    def limits(self) -> PoolLimits:
        return PoolLimits(
            max_size=self.max_tx_pool_size,
            min_fee_rate=self.min_fee_rate,
            min_rbf_rate=self.min_rbf_rate,
            max_verify_cycles=self.max_tx_verify_cycles,
            max_ancestors=self.max_ancestors_count,
            expiry_ms=self.expiry_hours * 60 * 60 * 1000,
        )

    def reject_limits(self) -> RejectLimits:
        return RejectLimits(self.keep_rejected_tx_hashes_days, self.keep_rejected_tx_hashes_count)


class FeeEstimatorSection(Section, frozen=True):
    """[fee_estimator]: without an algorithm estimates come from what the pool holds now."""

    algorithm: Algorithm | None = None
