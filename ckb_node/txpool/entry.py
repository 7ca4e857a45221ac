"""A transaction in the pool, with the sums over its ancestors and descendants that order it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from msgspec import Struct

from ckb_node.txpool.links import Links
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import TX_LAYOUTS, Transaction, out_point_key
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

    __hash__ = object.__hash__
    """Of enumerations it is written in Python, and a tip moves thousands of entries."""


def weight(size: int, cycles: int) -> int:
    """Virtual size of a transaction: the larger of its bytes and what its cycles take of a block."""
    return max(size, int(cycles * BYTES_PER_CYCLE))


def fee_rate(fee: int, tx_weight: int) -> int:
    """Shannons per 1000 weight units."""
    return fee * 1000 // tx_weight if tx_weight else 0


class PackageTotals(Struct, gc=False):
    """Totals over a set of transactions. Fee in shannons, size in bytes."""

    count: int
    size: int
    fee: int
    cycles: int

    def add(self, other: PackageTotals) -> None:
        self.count += other.count
        self.size += other.size
        self.fee += other.fee
        self.cycles += other.cycles

    def subtract(self, other: PackageTotals) -> None:
        self.count -= other.count
        self.size -= other.size
        self.fee -= other.fee
        self.cycles -= other.cycles

    def copy(self) -> PackageTotals:
        return PackageTotals(self.count, self.size, self.fee, self.cycles)

    @property
    def weight(self) -> int:
        return weight(self.size, self.cycles)


class PoolEntry(Struct, eq=False, gc=False, kw_only=True):
    """One transaction. A full pool has hundreds of thousands of them: each keeps what cannot be computed, as bytes.

    It keeps names of the cells that it uses, not the cells: their data would be kept as often as they are used. The
    garbage collector, which stops all threads, does not look at entries: none leads back to itself.
    """

    hash: bytes
    short_id: bytes
    raw: bytes
    """Its own bytes: the view that came may hold a whole block in memory."""
    input_keys: tuple[bytes, ...]
    """36-byte out points of the cells that it spends."""
    dep_keys: tuple[bytes, ...]
    """36-byte out points of all cells that it reads: expanded deps and group cells."""
    header_deps: tuple[bytes, ...]
    output_count: int
    fee: int
    cycles: int
    status: Status
    timestamp: int
    """When it came, ms, by the wall clock."""
    arrived_ms: int
    """The same by the monotonic clock."""
    needs_reverification: bool = False
    """Its scripts are to run anew, and no block may hold it before."""
    parents: Links[bytes] = ()
    """Short ids of what must be committed directly before it; the graph's, as are its children."""
    children: Links[bytes] = ()
    score_place: bytes = b""
    """Where PoolIndex has it; empty while it is in none."""
    evict_place: bytes = b""
    _ancestors: PackageTotals | None = None
    _descendants: PackageTotals | None = None

    @classmethod
    def of(
        cls, rtx: ResolvedTransaction, fee: int, cycles: int, status: Status, timestamp: int, arrived_ms: int = 0
    ) -> PoolEntry:
        """It came at `timestamp` (ms) by the wall clock, and at `arrived_ms` by the monotonic clock."""
        tx = rtx.transaction
        header_deps, output_count = _header_deps_and_outputs(tx)
        return cls(
            hash=tx.hash,
            short_id=tx.hash[:SHORT_ID_SIZE],
            raw=tx.raw,
            input_keys=tuple(cell.out_point for cell in rtx.inputs),
            dep_keys=tuple(dict.fromkeys(cell.out_point for cell in (*rtx.cell_deps, *rtx.dep_groups))),
            header_deps=header_deps,
            output_count=output_count,
            fee=fee,
            cycles=cycles,
            status=status,
            timestamp=timestamp,
            arrived_ms=arrived_ms,
        )

    @property
    def tx(self) -> Transaction:
        """A view of its bytes, parsed as far as the caller looks."""
        tx = Transaction.trusted(self.raw)
        tx.__dict__["hash"] = self.hash  # known already
        return tx

    @property
    def size(self) -> int:
        """Bytes in a block, with 4 for its offset."""
        return len(self.raw) + 4

    @property
    def weight(self) -> int:
        return weight(len(self.raw) + 4, self.cycles)

    @property
    def fee_rate(self) -> int:
        """Shannons per 1000 weight units."""
        return fee_rate(self.fee, self.weight)

    @property
    def output_keys(self) -> list[bytes]:
        """Out points (36 bytes) of its outputs."""
        return [out_point_key(self.hash, index) for index in range(self.output_count)]

    @property
    def ancestors(self) -> PackageTotals:
        """Totals over what must be committed before it and itself; for reading."""
        return self._ancestors or self.alone

    @property
    def descendants(self) -> PackageTotals:
        """Totals over what needs it and itself; for reading."""
        return self._descendants or self.alone

    @property
    def alone(self) -> PackageTotals:
        """Of the entry without any others."""
        return PackageTotals(1, self.size, self.fee, self.cycles)

    def package(self) -> PackageTotals:
        """`ancestors` as a copy of the caller's own."""
        return self.alone if self._ancestors is None else self._ancestors.copy()

    def add_ancestor(self, other: PackageTotals) -> None:
        if self._ancestors is None:
            self._ancestors = self.alone
        self._ancestors.add(other)

    def add_descendant(self, other: PackageTotals) -> None:
        if self._descendants is None:
            self._descendants = self.alone
        self._descendants.add(other)

    def drop_ancestor(self, other: PackageTotals) -> None:
        sums = self._ancestors
        if sums is not None:
            sums.subtract(other)
            if sums.count == 1:
                self._ancestors = None

    def drop_descendant(self, other: PackageTotals) -> None:
        sums = self._descendants
        if sums is not None:
            sums.subtract(other)
            if sums.count == 1:
                self._descendants = None

    def recount_ancestors(self, others: Iterable[PoolEntry]) -> None:
        self._ancestors = None
        for other in others:
            self.add_ancestor(other.alone)

    def recount_descendants(self, others: Iterable[PoolEntry]) -> None:
        self._descendants = None
        for other in others:
            self.add_descendant(other.alone)

    def set_cycles(self, cycles: int) -> None:
        """Other cycles than before; the sums of others are the graph's."""
        for sums in (self._ancestors, self._descendants):
            if sums is not None:
                sums.cycles += cycles - self.cycles
        self.cycles = cycles


def _header_deps_and_outputs(tx: Transaction) -> tuple[tuple[bytes, ...], int]:
    """Hashes, and how many outputs there are; most structures are known."""
    layout = TX_LAYOUTS.known(tx.raw, 0, len(tx.raw))
    if layout is not None and not layout.header_deps:
        return (), len(layout.outputs)
    return tuple(tx.body.header_deps), len(tx.body.outputs)


Score = tuple[int, int]
"""Fee rate (fixed point, shannons per weight unit) that a miner can count on, and the ancestors' weight for ties."""


def score(entry: PoolEntry, ancestors: PackageTotals) -> Score:
    """The lower of the entry's own fee rate and that of it with its ancestors."""
    ancestors_weight = ancestors.weight
    own = (entry.fee << _RATE_BITS) // entry.weight
    if ancestors.count == 1:  # itself
        return own, ancestors_weight
    return min(own, (ancestors.fee << _RATE_BITS) // ancestors_weight), ancestors_weight


EvictKey = tuple[int, int, int]


def evict_key(entry: PoolEntry) -> EvictKey:
    """Order of eviction from a full pool: lowest fee rate with descendants, fewest descendants, oldest."""
    down = entry.descendants
    if down.count == 1:  # itself
        return entry.fee_rate, 1, entry.timestamp
    return max(entry.fee_rate, fee_rate(down.fee, down.weight)), down.count, entry.timestamp
