"""What the pool holds and asks for; set in config.toml, section [tx_pool]."""

from __future__ import annotations

from dataclasses import dataclass

TRANSACTION_SIZE_LIMIT = 512_000
"""Bytes in a block: a larger transaction might never find room in one."""

MAX_REPLACED = 100
"""Most transactions that one replacement may push out, descendants included."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Sizes in bytes, rates in shannons per 1000 bytes, times in milliseconds."""

    max_size: int = 180_000_000
    min_fee_rate: int = 1000
    min_rbf_rate: int = 1500
    max_verify_cycles: int = 70_000_000
    """For transactions that return after a reorg. New ones may take what a block may, or what the peer declared."""
    max_ancestors: int = 1000
    expiry_ms: int = 12 * 60 * 60 * 1000

    @property
    def is_rbf_enabled(self) -> bool:
        return self.min_rbf_rate > self.min_fee_rate


def fee_at(rate: int, size: int) -> int:
    """Shannons for `size` bytes at `rate` shannons per 1000 bytes, rounded down."""
    return rate * size // 1000
