"""All bounds of the pool and of the tables, queues, caches and files around it, and what a transaction must pay.

PoolLimits are set in config.toml, section [tx_pool].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TRANSACTION_SIZE_LIMIT: Final = 512_000
"""Bytes in a block: a larger transaction might never find room in one."""

MAX_REPLACED: Final = 100
"""Most transactions that one replacement may push out, descendants included."""

# --------------------------------------------------------------------- what waits for verification

MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 256_000_000
"""Of clients, and those that are verified now."""
MAX_QUEUED: Final = 10_000
MAX_QUEUED_BYTES: Final = 64 << 20
"""Of peers."""
MAX_QUEUED_BLOCKS: Final = 100
"""Of peers: cycles, in those of full blocks."""
UNDECLARED_CYCLES: Final = 70_000_000
"""What a transaction without declared cycles counts for there."""

MAX_ORPHANS: Final = 100
MAX_ORPHAN_BYTES: Final = 16 << 20
ORPHAN_LIFE_S: Final = 100 * 48
"""A hundred times the longest time between two blocks that the chain aims at."""
MAX_PARENTS: Final = 256
MAX_MISSING: Final = 16
"""Parents of an orphan that are looked at, and of these that are waited for; when they have come, the next are."""

# --------------------------------------------------------------------- what is kept of those that are not in the pool

MAX_CONFLICTED: Final = 10_000
MAX_CONFLICTED_BYTES: Final = 64 << 20
"""They lost against others, and may get another chance."""
MAX_SPARE_COMMITTED: Final = 50_000
MAX_SPARE_COMMITTED_BYTES: Final = 32 << 20
"""For blocks of peers: two miners that find a block at the same time commit nearly the same transactions."""
MAX_SPARE_REFUSED: Final = 20_000
MAX_SPARE_REFUSED_BYTES: Final = 16 << 20
"""For blocks of peers: other pools are larger, or ask for less."""

MAX_REASON_TEXT: Final = 4096
"""Characters of the reason of a refusal."""
MAX_UNWRITTEN: Final = 10_000
"""Reasons that wait to be written; the oldest are lost when the disk is that slow."""
REASONS_PER_S: Final = 20
MAX_REASONS: Final = 1000
"""Reasons that concern peers' transactions, and such at once: a flood must not push out those of this node's own
clients."""
MAX_REFUSED_FILES: Final = 100
MAX_REFUSED_FILE_BYTES: Final = 32 << 20
"""All files of transactions whose scripts failed."""

MAX_SAVED_BYTES: Final = 1 << 29
"""The file that keeps the pool from one run to the next."""

# --------------------------------------------------------------------- what is known about those in the pool

MAX_SHARED: Final = 256
MAX_SHARED_CELLS: Final = 16
MAX_SHARED_BYTES: Final = 32 << 20
"""Lists of deps that are kept while the tip is the same; cells of each, which hold their data once it was read, and
bytes of these data in all."""
MAX_TRACKED: Final = 500_000
"""Transactions whose commitment teaches the estimator ConfirmationFraction."""
MAX_FLOWED: Final = 500_000
"""Rates, by height, at which weight flowed in, of the estimator WeightUnitsFlow."""

# --------------------------------------------------------------------- what one question may take

MAX_NAMED: Final = 100
"""Transactions that one answer names as parents, or as conflicts."""
MAX_COUNTED: Final = 20_000
"""Transactions before one whose bytes and cycles are added up: more than twenty blocks hold."""
MAX_LOOKED_AT: Final = 1000
"""Inputs, and cell deps, of one transaction whose time is explained."""
MAX_SEARCHED: Final = 64
"""Inputs of a transaction that is not verified, when others ask for it: peers may have given a hundred such, and
ask for all of them."""


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
