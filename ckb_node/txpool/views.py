"""What the pool shows of itself. Sizes in bytes, times in milliseconds since 1970, fees in shannons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from consensus.types.blockchain import Transaction
from consensus.types.core import CellMeta


class FeePriority(Enum):
    """How soon a transaction should be committed: an hour, 30 minutes, 10 minutes, as soon as possible."""

    NO_PRIORITY = "no_priority"
    LOW_PRIORITY = "low_priority"
    MEDIUM_PRIORITY = "medium_priority"
    HIGH_PRIORITY = "high_priority"


class PoolInfo(NamedTuple):
    """The pool at a glance. Sizes in bytes, fee rates in shannons/kB. `pending` counts pending and gap."""

    tip_hash: bytes
    tip_number: int
    pending: int
    proposed: int
    orphan: int
    total_tx_size: int
    total_tx_cycles: int
    min_fee_rate: int
    min_rbf_rate: int
    last_txs_updated_at: int
    tx_size_limit: int
    max_tx_pool_size: int
    verify_queue_size: int


@dataclass(frozen=True, slots=True)
class PoolIds:
    """Hashes of the pool's transactions; pending includes gap. To be walked once."""

    pending: Iterable[bytes]
    proposed: Iterable[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryInfo:
    """One transaction of the pool. `size` is its bytes in a block; ancestors include the transaction itself."""

    cycles: int
    size: int
    fee: int
    ancestors_size: int
    ancestors_cycles: int
    ancestors_count: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class PoolEntries:
    """All transactions with their hashes, to be walked once; `conflicted` are kept aside after a replacement."""

    pending: Iterable[tuple[bytes, EntryInfo]]
    proposed: Iterable[tuple[bytes, EntryInfo]]
    conflicted: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDetail:
    """How one transaction stands in the pool. `status`: pending, gap, proposed, or unknown with zeros elsewhere."""

    status: str = "unknown"
    timestamp: int = 0
    rank_in_pending: int = 0
    pending_count: int = 0
    proposed_count: int = 0
    descendants_count: int = 0
    ancestors_count: int = 0
    fee: int = 0
    weight: int = 0
    ancestors_fee: int = 0
    ancestors_weight: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """What admission would find: cycles of all scripts and fee."""

    cycles: int
    fee: int


class TxState(Enum):
    """Where a transaction is; names as in `get_transaction`."""

    PENDING = "pending"
    PROPOSED = "proposed"
    COMMITTED = "committed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTransaction:
    """A transaction in the pool. `state` is PENDING (also for gap) or PROPOSED.

    Cycles and fee are None when it is to come back to the pool and was not tried yet, and they are not known.
    `min_replace_fee`: what a replacement must pay at least; None when it cannot be replaced (proposed, or no RBF).
    """

    transaction: Transaction
    state: TxState
    cycles: int | None
    fee: int | None
    time_added: int
    min_replace_fee: int | None = None


@dataclass(frozen=True, slots=True)
class RejectedTransaction:
    """A transaction that was refused lately: `Reject.kind` and `str(reject)`."""

    kind: str
    description: str


class CellState(Enum):
    """What is known of a cell; names as in `get_live_cell`."""

    LIVE = "live"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CellLookup:
    """Answer about one cell; `cell` when it is live."""

    state: CellState
    cell: CellMeta | None = None


class FeeEstimateError(Exception):
    """The fee estimator cannot tell (yet)."""
