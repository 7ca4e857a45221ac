"""Why a transaction is not committed yet: where it is on its way, and what it waits for."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final

from ckb_node.runtime.loop_turns import in_loop_turns
from ckb_node.txpool.entry import PoolEntry, Status, fee_rate
from ckb_node.txpool.limits import MAX_COUNTED, MAX_NAMED
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.readmission import ReadmissionQueue
from ckb_node.txpool.remote import RemoteTransactions
from ckb_node.txpool.spares import SpareTransactions
from ckb_node.txpool.verify_queue import VerifyQueue
from ckb_node.txpool.views import RejectedTransaction
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Transaction

GROUPS: Final = {
    Status.PENDING: (Status.PENDING,),
    Status.GAP: (Status.GAP, Status.PROPOSED),
    Status.PROPOSED: (Status.PROPOSED,),
}
"""Whom an entry competes with: for a proposal, or for a place in the next block that may commit it."""


class Progress(Enum):
    """How far a transaction has come."""

    UNKNOWN = "unknown"
    ORPHAN = "orphan"
    QUEUED = "queued"
    RETURNING = "returning"
    PENDING = "pending"
    GAP = "gap"
    PROPOSED = "proposed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """`place` counts from 1, those that run now come first; None behind many. `of`: `rpc`, a peer's (`peer`), or what
    is to come back to the pool (`returning`)."""

    of: str
    place: int | None
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePlace:
    """Who pays better for the same. Fee rates in shannons per 1000 weight units: `package_rate` with all ancestors in
    the pool; the lower of both counts. `bytes_ahead`, `cycles_ahead` are None when more than MAX_COUNTED are ahead."""

    ahead: int
    bytes_ahead: int | None
    cycles_ahead: int | None
    competing: int
    fee_rate: int
    package_rate: int
    size: int
    cycles: int


@dataclass(frozen=True, slots=True)
class ProposedIn:
    """The oldest block of the window that proposes it, and the heights between which it may be committed."""

    block_number: int
    first_commit: int
    last_commit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`waits_for`: transactions that must come, or be committed, before it; the first MAX_NAMED. `conflicts`: those of
    the pool, or kept aside, that spend the same cells. `transaction` as far as it is at hand."""

    progress: Progress
    transaction: Transaction | None = None
    waits_for: Sequence[bytes] = ()
    queue: QueuePlace | None = None
    fee_place: FeePlace | None = None
    proposal: ProposedIn | None = None
    conflicts: Sequence[bytes] = ()
    rejected: RejectedTransaction | None = None
    is_verified_anew: bool = False


@dataclass(frozen=True, slots=True)
class PoolSpender:
    """A transaction of the pool that spends a cell by its input `index`."""

    tx_hash: bytes
    index: int
    status: Status


class Explainer:
    """Looks into all parts of the pool. Belongs to the event loop; each answer costs little."""

    def __init__(
        self,
        pool: TxPool,
        waiting: VerifyQueue,
        remote: RemoteTransactions,
        readmission: ReadmissionQueue,
        spares: SpareTransactions,
    ) -> None:
        self._pool: Final = pool
        self._waiting: Final = waiting
        self._remote: Final = remote
        self._readmission: Final = readmission
        self._spares: Final = spares

    def spender_of(self, out_point: bytes) -> PoolSpender | None:
        """The transaction of the pool that spends a cell."""
        short_id = self._pool.graph.spenders.get(out_point)
        entry = None if short_id is None else self._pool.graph.entries.get(short_id)
        return None if entry is None else PoolSpender(entry.hash, entry.input_keys.index(out_point), entry.status)

    def env(self, status: Status) -> TxEnv:
        """The earliest block that may commit a transaction of this status. Any thread may ask."""
        return self._pool.env(status)

    async def transaction(self, tx_hash: bytes) -> Explanation:
        """Of one that the chain does not hold."""
        entry = self._pool.graph.by_hash(tx_hash)
        if entry is not None:
            return await self._of_entry(entry)
        return self._queued(tx_hash) or self._orphan(tx_hash) or self._not_here(tx_hash)

    # ------------------------------------------------------------ in the pool

    async def _of_entry(self, entry: PoolEntry) -> Explanation:
        graph = self._pool.graph
        waits_for = graph.parents_first(graph.entries[each].hash for each in entry.parents)
        return Explanation(
            progress=Progress(entry.status.value),
            transaction=entry.tx,
            waits_for=waits_for[:MAX_NAMED],
            proposal=self._proposed_in(entry),
            conflicts=self._pool.conflicted.hashes_spending(entry.input_keys)[:MAX_NAMED],
            is_verified_anew=entry.needs_reverification,
            fee_place=await self._fee_place(entry),
        )

    def _proposed_in(self, entry: PoolEntry) -> ProposedIn | None:
        numbers = self._pool.proposed_at(entry.short_id)
        if not numbers:
            return None
        window = self._pool.consensus.proposal_window
        return ProposedIn(numbers[0], numbers[0] + window.closest, numbers[-1] + window.farthest)

    async def _fee_place(self, entry: PoolEntry) -> FeePlace:
        graph, group, sums = self._pool.graph, GROUPS[entry.status], entry.ancestors
        ahead, competing = graph.rank(entry, group), sum(graph.count(status) for status in group)
        package_rate = fee_rate(sums.fee, sums.weight)
        size, cycles = await self._sums_ahead(entry, group, ahead)
        return FeePlace(
            ahead=ahead,
            bytes_ahead=size,
            cycles_ahead=cycles,
            competing=competing,
            fee_rate=entry.fee_rate,
            package_rate=package_rate,
            size=entry.size,
            cycles=entry.cycles,
        )

    async def _sums_ahead(self, entry: PoolEntry, group: Iterable[Status], count: int) -> tuple[int | None, int | None]:
        """Bytes and cycles of the entries that pay better, as they are now."""
        if count > MAX_COUNTED:
            return None, None
        return await in_loop_turns(self._summing(entry, group, count))

    def _summing(self, entry: PoolEntry, group: Iterable[Status], count: int) -> Generator[None, None, tuple[int, int]]:
        size = cycles = seen = 0
        for other in self._pool.graph.by_score_as_now(group):
            if other is entry or seen == count:
                break
            size, cycles, seen = size + other.size, cycles + other.cycles, seen + 1
            yield
        return size, cycles

    # ------------------------------------------------------------ around the pool

    def _queued(self, tx_hash: bytes) -> Explanation | None:
        """One that waits for verification, is verified, or is to come back."""
        short_id = tx_hash[:SHORT_ID_SIZE]
        readmission = self._readmission.get(tx_hash)
        if readmission is not None:
            place = _place_in((each for each, _ in self._readmission), tx_hash)
            queue = QueuePlace("returning", place, len(self._readmission))
            return self._waiting_one(Progress.RETURNING, readmission.transaction, queue)
        own = self._waiting.get(short_id)
        if own is not None and own.hash == tx_hash:
            queue = QueuePlace("rpc", self._waiting.place(short_id), len(self._waiting))
            return self._waiting_one(Progress.QUEUED, own, queue)
        found = self._remote.place(short_id)
        if found is None or found.transaction.hash != tx_hash:
            return None
        return self._waiting_one(Progress.QUEUED, found.transaction, QueuePlace("peer", found.place, found.length))

    def _waiting_one(self, progress: Progress, tx: Transaction, queue: QueuePlace) -> Explanation:
        return Explanation(progress=progress, transaction=tx, queue=queue, conflicts=self._rivals(tx))

    def _orphan(self, tx_hash: bytes) -> Explanation | None:
        orphan = self._remote.orphans.find(tx_hash)
        if orphan is None:
            return None
        tx = orphan.item.transaction
        return Explanation(
            progress=Progress.ORPHAN,
            transaction=tx,
            waits_for=list(islice(orphan.parents, MAX_NAMED)),
            conflicts=self._rivals(tx),
        )

    def _not_here(self, tx_hash: bytes) -> Explanation:
        """Refused, or never heard of."""
        rejected = self._pool.rejected.get(tx_hash)
        if rejected is None:
            return Explanation(progress=Progress.UNKNOWN)
        short_id = tx_hash[:SHORT_ID_SIZE]
        tx = self._pool.conflicted.get(short_id) or self._spares.get(short_id)
        if tx is not None and tx.hash != tx_hash:
            tx = None
        conflicts = () if tx is None else self._rivals(tx)
        return Explanation(progress=Progress.REJECTED, transaction=tx, rejected=rejected, conflicts=conflicts)

    def _rivals(self, tx: Transaction) -> list[bytes]:
        """Transactions of the pool that spend its cells."""
        graph = self._pool.graph
        found = graph.conflicts(each.previous_output.raw for each in tx.body.inputs)
        return sorted(graph.entries[each].hash for each in found)[:MAX_NAMED]


def _place_in(hashes: Iterable[bytes], tx_hash: bytes) -> int | None:
    """From 1; None behind MAX_COUNTED others."""
    for place, each in enumerate(islice(hashes, MAX_COUNTED), start=1):
        if each == tx_hash:
            return place
    return None
