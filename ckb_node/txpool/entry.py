"""A transaction in the pool, with the sums over its ancestors and descendants that order it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cmp_to_key

from consensus.types.blockchain import Transaction
from consensus.types.core import ResolvedTransaction

BYTES_PER_CYCLE = 0.000_170_571_4
"""What a cycle weighs: block bytes limit over block cycles limit of mainnet."""


class Status(Enum):
    """Where a transaction stands in the two-step commit (RFC 20)."""

    PENDING = "pending"
    GAP = "gap"
    PROPOSED = "proposed"


def weight(size: int, cycles: int) -> int:
    """Virtual size of a transaction: the larger of its bytes and what its cycles take of a block."""
    return max(size, int(cycles * BYTES_PER_CYCLE))


def fee_rate(fee: int, tx_weight: int) -> int:
    """Shannons per 1000 weight units."""
    return fee * 1000 // tx_weight if tx_weight else 0


@dataclass(slots=True)
class Sums:
    """Totals over a set of transactions. Fee in shannons, size in bytes."""

    count: int
    size: int
    fee: int
    cycles: int

    def add(self, entry: PoolEntry) -> None:
        self.count += 1
        self.size += entry.size
        self.fee += entry.fee
        self.cycles += entry.cycles

    def subtract(self, entry: PoolEntry) -> None:
        self.count -= 1
        self.size -= entry.size
        self.fee -= entry.fee
        self.cycles -= entry.cycles

    def copy(self) -> Sums:
        return Sums(self.count, self.size, self.fee, self.cycles)

    @property
    def weight(self) -> int:
        return weight(self.size, self.cycles)


class PoolEntry:
    """One transaction. `size` counts 4 bytes for its offset in a block; both sums include itself."""

    __slots__ = ("ancestors", "cycles", "descendants", "fee", "rtx", "short_id", "size", "status", "timestamp", "tx")

    def __init__(self, rtx: ResolvedTransaction, fee: int, cycles: int, status: Status, timestamp: int) -> None:
        self.rtx = rtx
        self.tx: Transaction = rtx.transaction
        self.short_id = self.tx.short_id
        self.size = self.tx.size_in_block
        self.fee = fee
        self.cycles = cycles
        self.status = status
        self.timestamp = timestamp
        self.ancestors = Sums(1, self.size, fee, cycles)
        self.descendants = Sums(1, self.size, fee, cycles)

    @property
    def hash(self) -> bytes:
        return self.tx.hash

    @property
    def weight(self) -> int:
        return weight(self.size, self.cycles)

    @property
    def fee_rate(self) -> int:
        """Shannons per 1000 weight units."""
        return fee_rate(self.fee, self.weight)

    def reset_sums(self) -> None:
        """As if it stood alone."""
        self.ancestors = Sums(1, self.size, self.fee, self.cycles)
        self.descendants = Sums(1, self.size, self.fee, self.cycles)

    def dep_keys(self) -> list[bytes]:
        """36-byte out points of all cells that it reads: expanded deps and group cells."""
        return [cell.out_point for cell in (*self.rtx.cell_deps, *self.rtx.dep_groups)]

    def input_keys(self) -> list[bytes]:
        """36-byte out points of the cells that it spends."""
        return [cell_input.previous_output.raw for cell_input in self.tx.body.inputs]


Score = tuple[int, int, int]
"""Fee, weight and ancestors' weight: the fee rate that a miner gets for the entry with all it needs."""


def score(entry: PoolEntry, ancestors: Sums) -> Score:
    """The lower of the entry's own fee rate and that of it with its ancestors."""
    own_weight, with_ancestors = entry.weight, ancestors.weight
    if entry.fee * with_ancestors < ancestors.fee * own_weight:
        return entry.fee, own_weight, with_ancestors
    return ancestors.fee, with_ancestors, with_ancestors


def compare_scores(a: Score, b: Score) -> int:
    """By fee rate, cross-multiplied so that nothing is rounded; ties by the ancestors' weight."""
    left, right = a[0] * b[1], b[0] * a[1]
    if left == right:
        left, right = a[2], b[2]
    return (left > right) - (left < right)


score_key: Callable[[Score], object] = cmp_to_key(compare_scores)


def evict_key(entry: PoolEntry) -> tuple[int, int, int]:
    """Who leaves a full pool first: lowest fee rate with descendants, then fewest descendants, then the oldest."""
    down = entry.descendants
    return max(entry.fee_rate, fee_rate(down.fee, down.weight)), down.count, entry.timestamp
