"""A transaction in the pool, with the sums over its ancestors and descendants that order it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from consensus.types.blockchain import SHORT_ID_SIZE, Transaction
from consensus.types.core import ResolvedTransaction

BYTES_PER_CYCLE = 0.000_170_571_4
"""What a cycle weighs: block bytes limit over block cycles limit of mainnet."""

_RATE_BITS = 64
"""Binary digits of a score behind the point: weights stay below 2³², so rates that differ differ within them."""


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
    """One transaction. `size` counts 4 bytes for its offset in a block; both sums include itself.

    It keeps names of the cells that it uses, not the cells: their data would be kept as often as they are used.
    """

    __slots__ = (
        "ancestors",
        "arrived_ms",
        "cycles",
        "dep_keys",
        "descendants",
        "fee",
        "fee_rate",
        "hash",
        "input_keys",
        "is_stale",
        "scaled_rate",
        "short_id",
        "size",
        "status",
        "timestamp",
        "tx",
        "weight",
    )

    def __init__(
        self, rtx: ResolvedTransaction, fee: int, cycles: int, status: Status, timestamp: int, arrived_ms: int = 0
    ) -> None:
        """It came at `timestamp` (ms) by the wall clock, and at `arrived_ms` by one that nobody sets."""
        tx = rtx.transaction
        self.hash = tx.hash
        self.short_id = self.hash[:SHORT_ID_SIZE]
        self.tx = Transaction.trusted(tx.raw)
        """A view of its own bytes: the one that came may hold a whole block in memory."""
        self.input_keys = tuple(cell_input.previous_output.raw for cell_input in tx.body.inputs)
        """36-byte out points of the cells that it spends."""
        self.dep_keys = tuple(dict.fromkeys(cell.out_point for cell in (*rtx.cell_deps, *rtx.dep_groups)))
        """36-byte out points of all cells that it reads: expanded deps and group cells."""
        self.size = tx.size_in_block
        self.fee = fee
        self.cycles = cycles
        self.status = status
        self.is_stale = False
        """Its scripts are to run anew, and no block may hold it before."""
        self.timestamp = timestamp
        self.arrived_ms = arrived_ms
        self._weigh()
        self.ancestors = Sums(1, self.size, fee, cycles)
        self.descendants = Sums(1, self.size, fee, cycles)

    def _weigh(self) -> None:
        self.weight = weight(self.size, self.cycles)
        self.fee_rate = fee_rate(self.fee, self.weight)
        """Shannons per 1000 weight units."""
        self.scaled_rate = (self.fee << _RATE_BITS) // self.weight

    def set_cycles(self, cycles: int) -> None:
        """Other cycles than before; the sums of others are the graph's."""
        for sums in (self.ancestors, self.descendants):
            sums.cycles += cycles - self.cycles
        self.cycles = cycles
        self._weigh()


Score = tuple[int, int]
"""Fee rate (fixed point, shannons per weight unit) that a miner can count on, and the ancestors' weight for ties."""


def score(entry: PoolEntry, ancestors: Sums) -> Score:
    """The lower of the entry's own fee rate and that of it with its ancestors."""
    ancestors_weight = ancestors.weight
    return min(entry.scaled_rate, (ancestors.fee << _RATE_BITS) // ancestors_weight), ancestors_weight


EvictKey = tuple[int, int, int]


def evict_key(entry: PoolEntry) -> EvictKey:
    """Who leaves a full pool first: lowest fee rate with descendants, then fewest descendants, then the oldest."""
    down = entry.descendants
    return max(entry.fee_rate, fee_rate(down.fee, down.weight)), down.count, entry.timestamp
