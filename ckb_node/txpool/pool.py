"""The pool's own rules: admission, replacement, eviction, and what a change of the chain does to it.

Synchronous and single-threaded (the event loop owns it); scripts run elsewhere, between `check` and `admit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckb_node.runtime.clock import monotonic_ms
from ckb_node.runtime.events import EventBus
from ckb_node.txpool.cells import PoolCells
from ckb_node.txpool.conflicted import Conflicted
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.events import TransactionAdmitted, TransactionProposed, TransactionRejected
from ckb_node.txpool.graph import PoolGraph
from ckb_node.txpool.known import KnownCells
from ckb_node.txpool.limits import TRANSACTION_SIZE_LIMIT, PoolLimits, fee_at
from ckb_node.txpool.proposal_window import ProposalReader, ProposalTable
from ckb_node.txpool.quick import UsualRules, is_sound_alone
from ckb_node.txpool.rbf import verify_replacement
from ckb_node.txpool.recent_rejects import RecentRejects, RejectLimits
from ckb_node.txpool.rejects import (
    Duplicated,
    Expired,
    Invalidated,
    LowFeeRate,
    Malformed,
    PoolFull,
    RbfRejected,
    Reject,
    ResolveFailed,
    TooLarge,
    VerificationFailed,
)
from consensus.context import ChainReader
from consensus.errors import CkbError, DaoError, ResolveError
from consensus.params import Consensus
from consensus.rules.dao import transaction_fee
from consensus.rules.hardfork import type_script_vm_version
from consensus.rules.resolve import (
    DeadOutPointError,
    InvalidHeaderDepError,
    ResolveDeps,
    UnknownOutPointError,
    resolve_cell_deps,
    resolve_transaction,
)
from consensus.rules.transaction import verify_time_relative
from consensus.rules.verify_transaction import verify_transaction_non_contextual
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Block, Transaction, out_point_key
from consensus.types.core import ResolvedTransaction
from consensus.types.tx_slice import TxSlice
from storage.memory import MemoryStore

EXPIRED_AT_ONCE = 100
"""Entries that leave together because of their age; with what uses their cells they may be more."""

EVICTED_AT_ONCE = 500
"""Entries that leave with the one that a full pool evicts, before that is done in steps."""

PROPOSED_FOR = 1
"""A proposed entry was proposed at least this many blocks ago; assume no more."""

_ReasonFor = Callable[[PoolEntry], Reject]
_END = object()


@dataclass(frozen=True, slots=True)
class Checked:
    """A transaction that passed all rules but its scripts.

    `tip_hash` is the tip at which it was checked, `vm_version` that on which scripts of hash type `type` run.
    `is_usual`: at that tip it also keeps the rules of its context and those that come after scripts.
    """

    rtx: ResolvedTransaction
    fee: int
    status: Status
    tip_hash: bytes
    vm_version: int
    is_usual: bool = False


class TxPool:
    """Uncommitted transactions over one state of the chain; `set_tip` moves it to the next."""

    def __init__(
        self,
        consensus: Consensus,
        limits: PoolLimits,
        reader: ChainReader,
        now_ms: Callable[[], int],
        rejected: RecentRejects | None = None,
        age_ms: Callable[[], int] = monotonic_ms,
        events: EventBus | None = None,
    ) -> None:
        """`now_ms` is the wall clock, `age_ms` a monotonic one. Without `rejected`, reasons of refused transactions are
        kept in memory."""
        self.consensus, self.limits, self.now_ms, self._age_ms = consensus, limits, now_ms, age_ms
        self.graph = PoolGraph(limits.max_ancestors)
        if rejected is None:
            rejected = RecentRejects(MemoryStore(), RejectLimits(), now_ms)
        self.rejected = rejected
        self.conflicted = Conflicted()
        self._events = EventBus() if events is None else events
        self.version = 0
        """Grows with every change of what the pool offers to miners."""
        self.is_moving = False
        """The tip has moved, but its blocks are not applied to the pool yet: entries may not fit the chain."""
        self.away: Container[bytes] = frozenset()
        """Hashes of transactions that are to return, and on which entries may stand."""
        self._released_conflicts: list[Transaction] = []
        self._leaving: deque[Iterator[None]] = deque()
        """Steps in which entries leave that were too many to leave when one came."""
        self._proposal_reader = ProposalReader(consensus.proposal_window)
        self.proposals = ProposalTable()
        self.tip = reader.tip_header()
        self._set_reader(reader)

    def _set_reader(self, reader: ChainReader) -> None:
        """Move to another state of the chain; entries change their status in the two-step commit.

        Those that blocks on the way have committed do not, they are about to leave: what one block makes committable no
        block before the next can commit.
        """
        self.reader = reader
        old_tip, self.tip = self.tip, reader.tip_header()
        is_next = self.tip.parent_hash == old_tip.hash
        self._envs = {status: self._env_of(status) for status in Status}
        self._usual = UsualRules(self.consensus, reader, self.env(Status.PENDING).epoch)
        self.vm_version = type_script_vm_version(self.consensus, self.env(Status.PENDING).epoch_without_proposal_window)
        before, self.proposals = self.proposals, self._proposal_reader.table(reader)
        statuses = dict[bytes, Status]()
        for short_id in self.proposals.changed_since(before):
            entry = self.graph.entries.get(short_id)
            if entry is not None and (is_next or self.is_off_chain(entry.hash)):
                statuses[short_id] = self.proposals.status(short_id)
        self._set_statuses(statuses)

    def _set_statuses(self, statuses: Mapping[bytes, Status]) -> None:
        proposed = [short_id for short_id, status in statuses.items() if status is Status.PROPOSED]
        entries = [self.graph.entries[short_id] for short_id in proposed]
        news = [entry for entry in entries if entry.status is not Status.PROPOSED]
        self.graph.set_statuses(statuses)
        if self._events.has_listeners(TransactionProposed):
            for entry in news:
                self._events.publish(TransactionProposed(entry))

    def proposed_at(self, short_id: bytes) -> list[int]:
        """Heights of the blocks of the window that propose it."""
        return self._proposal_reader.numbers_of(self.reader, short_id)

    @property
    def updated_at(self) -> int:
        """When the newest entry came, ms; 0 while there is none."""
        return next((entry.timestamp for entry in reversed(self.graph.entries.values())), 0)

    # ------------------------------------------------------------ admission

    def check(self, tx: Transaction, known: KnownCells | None = None) -> Checked:
        """All rules but the scripts'; Reject when one is broken. `known`: those of the transaction by itself were
        checked, and its cells looked up in the pool's state of the chain; then any thread may call it."""
        if known is None:
            if (usual := self._check_usual(tx)) is not None:
                return usual
            self.verify_non_contextual(tx)
        if tx.short_id in self.graph:
            raise Duplicated(tx.hash)
        cells = PoolCells(self.graph, known or self.reader)
        resolve_deps = self._usual.deps.resolve if known is None else resolve_cell_deps
        try:
            rtx = self._resolve(tx, cells, self.graph.spenders, resolve_deps)
        except DeadOutPointError as dead:
            rtx = self._resolve_as_replacement(tx, cells, dead, resolve_deps)
        return self._checked(rtx)

    def _check_usual(self, tx: Transaction) -> Checked | None:
        """`check`, by cheaper means, if it is a usual transaction and keeps all rules."""
        if tx.size_in_block > self._size_limit:
            return None
        usual = self._usual.judge(tx, self.graph)
        if usual is None or usual.fee < fee_at(self.limits.min_fee_rate, tx.size_in_block):
            return None
        status = self.proposals.status(tx.short_id)
        return Checked(usual.rtx, usual.fee, status, self.tip.hash, self.vm_version, is_usual=True)

    @property
    def _size_limit(self) -> int:
        """Bytes in a block."""
        return min(self.consensus.max_block_bytes, TRANSACTION_SIZE_LIMIT)

    def check_entry(self, entry: PoolEntry) -> Checked:
        """`check` for an entry of the pool. Raises Reject when it does not belong there any more."""
        try:
            return self._checked(self._resolve(entry.tx, self.cells(), (), self._usual.deps.resolve))
        except DeadOutPointError as error:
            raise ResolveFailed(error) from error

    def _checked(self, rtx: ResolvedTransaction) -> Checked:
        status = self.proposals.status(rtx.transaction.short_id)
        return Checked(rtx, self._checked_fee(rtx), status, self.tip.hash, self.vm_version)

    def verify_non_contextual(self, tx: Transaction) -> None:
        """The rules that need neither chain nor pool. Raises Reject."""
        if tx.size_in_block > self.consensus.max_block_bytes or not is_sound_alone(tx):
            try:
                verify_transaction_non_contextual(self.consensus, tx)
            except CkbError as error:
                raise VerificationFailed(error) from error
        if tx.size_in_block > TRANSACTION_SIZE_LIMIT:
            raise TooLarge(tx.size_in_block, TRANSACTION_SIZE_LIMIT)
        if tx.is_cellbase:
            raise Malformed("cellbase like")

    def cells(self) -> PoolCells:
        """Live cells of the chain and of the pool."""
        return PoolCells(self.graph, self.reader)

    def _resolve(
        self, tx: Transaction, cells: PoolCells, spent: Container[bytes], resolve_deps: ResolveDeps
    ) -> ResolvedTransaction:
        try:
            return resolve_transaction(tx, cells, self.reader, spent, resolve_deps)
        except DeadOutPointError:
            raise
        except ResolveError as error:
            raise ResolveFailed(error) from error

    def _resolve_as_replacement(
        self, tx: Transaction, cells: PoolCells, dead: DeadOutPointError, resolve_deps: ResolveDeps
    ) -> ResolvedTransaction:
        """Resolve once more as if nothing of the pool spent its cells.

        It goes on to its scripts even where nothing can be replaced: only a valid transaction is kept as conflicting.
        """
        try:
            rtx = self._resolve(tx, cells, (), resolve_deps)
        except DeadOutPointError as error:
            raise ResolveFailed(error) from error
        if not self.graph.conflicts(cell.out_point for cell in rtx.inputs):
            raise ResolveFailed(dead)
        return rtx

    def _checked_fee(self, rtx: ResolvedTransaction) -> int:
        try:
            fee = transaction_fee(self.consensus, rtx, self.reader)
        except CkbError as error:
            what = error.word if isinstance(error, DaoError) else str(error)
            raise Malformed(what, "expect (outputs capacity) <= (inputs capacity)") from error
        least = fee_at(self.limits.min_fee_rate, rtx.transaction.size_in_block)
        if fee < least:
            raise LowFeeRate(self.limits.min_fee_rate, least, fee)
        return fee

    def env(self, status: Status) -> TxEnv:
        """The block in which a transaction of this status would be committed: environment of its scripts."""
        return self._envs[status]

    def _env_of(self, status: Status) -> TxEnv:
        if status is Status.PENDING:
            return TxEnv.submitted(self.tip)
        return TxEnv.proposed(self.tip, 0 if status is Status.GAP else PROPOSED_FOR)

    def admit(self, checked: Checked, cycles: int) -> PoolEntry:
        """Insert a transaction whose scripts passed; what changed since `check` is checked again. Raises Reject."""
        tx = checked.rtx.transaction
        if tx.short_id in self.graph:
            raise Duplicated(tx.hash)
        if checked.tip_hash != self.tip.hash or (not checked.is_usual and self._has_lost_parent(checked.rtx)):
            checked = self.check(tx)
            try:
                verify_time_relative(self.consensus, checked.rtx, self.env(checked.status), self.reader)
            except CkbError as error:
                raise VerificationFailed(error) from error
        entry = PoolEntry.of(checked.rtx, checked.fee, cycles, checked.status, self.now_ms(), self._age_ms())
        conflicts = self._conflicts_to_replace(entry)
        self._verify_reads_are_unspent(checked.rtx, conflicts)
        self._insert(entry, conflicts)
        self._shrink_to_limit(entry)
        if entry.short_id not in self.graph:
            raise _full(entry)
        self._events.publish(TransactionAdmitted(entry))
        if entry.status is Status.PROPOSED:
            self._events.publish(TransactionProposed(entry))
        return entry

    def _conflicts_to_replace(self, entry: PoolEntry) -> set[bytes]:
        if self.limits.is_rbf_enabled:
            try:
                return verify_replacement(self.graph, entry, self.reader, self.limits)
            except RbfRejected:
                self.conflicted.keep(entry.tx)
                raise
        dead = next((key for key in entry.input_keys if key in self.graph.spenders), None)
        if dead is not None:
            self.conflicted.keep(entry.tx)
            raise ResolveFailed(DeadOutPointError(dead))
        return set()

    def _has_lost_parent(self, rtx: ResolvedTransaction) -> bool:
        """A pool cell that it uses left the pool while its scripts ran: it was dropped, or committed."""
        used = (*rtx.inputs, *rtx.cell_deps, *rtx.dep_groups)
        return any(cell.info is None and self.graph.by_hash(cell.tx_hash) is None for cell in used)

    def _verify_reads_are_unspent(self, rtx: ResolvedTransaction, conflicts: set[bytes]) -> None:
        """A cell that it reads may have been spent while its scripts ran."""
        spenders = self.graph.spenders
        for cell in (*rtx.cell_deps, *rtx.dep_groups):
            spender = spenders.get(cell.out_point)
            if spender is None or spender in conflicts:
                continue
            if not any(cell.out_point == each.out_point for each in rtx.inputs):
                raise ResolveFailed(DeadOutPointError(cell.out_point))

    def _insert(self, entry: PoolEntry, conflicts: set[bytes]) -> None:
        departed = self.graph.add(entry, conflicts)
        freed = {key for old in departed.replaced for key in old.input_keys} - set(entry.input_keys)
        self._released_conflicts += self.conflicted.spending(freed)
        for old in departed.replaced:
            self.conflicted.keep(old.tx)
            self._reject_entry(old, RbfRejected(f"replaced by tx Byte32(0x{entry.hash.hex()})"))
        invalidated = Invalidated(f"invalidated by tx 0x{entry.hash.hex()}")
        for old in departed.crowded_out:
            self._reject_entry(old, invalidated)
        if departed.crowd:
            for each in departed.crowd:
                self.graph.entries[each].needs_reverification = True  # no block may hold it any more
            self._leaving.append(self.drop(departed.crowd, invalidated))
        self.conflicted.drop(entry.hash)
        self.rejected.drop(entry.hash)
        self.version += 1

    def _shrink_to_limit(self, newest: PoolEntry | None) -> None:
        """Evict what pays least. `newest` may have to leave too; then it was never in. What very many need leaves in
        steps, and meanwhile nothing else is evicted."""
        while self.graph.total_size > self.limits.max_size and not self._leaving:
            victim = self.graph.first_to_evict()
            if victim is None:
                return
            at_once = victim
            if victim.descendants.count > EVICTED_AT_ONCE:
                self._leaving.append(self._tell(self.graph.leave_with_descendants((victim.short_id,)), _full))
                if newest is None or victim.short_id not in self.graph.ancestors(newest.short_id):
                    return
                at_once = newest
            for entry in self.graph.remove_with_descendants((at_once.short_id,)):
                if entry is not newest:
                    self._reject_entry(entry, _full(entry))

    def leave_more(self) -> Iterator[None]:
        """Entries that have to leave for one that came, and are too many to leave at once. Several callers may take
        steps in turn."""
        while self._leaving:
            leaving = self._leaving[0]
            if next(leaving, _END) is _END and self._leaving and self._leaving[0] is leaving:
                self._leaving.popleft()
                self._shrink_to_limit(None)
            yield

    def take_released_conflicts(self) -> list[Transaction]:
        """Transactions that lost a conflict whose winner was replaced since: they should be submitted again."""
        freed, self._released_conflicts = self._released_conflicts, []
        return freed

    def refresh(self, entry: PoolEntry, cycles: int) -> None:
        """A stale entry's scripts have passed under the rules of the next block."""
        entry.needs_reverification = False
        self.graph.set_cycles(entry, cycles)
        self.version += 1

    def is_in_transit(self, entry: PoolEntry) -> bool:
        """A cell that it uses is expected on the chain or in the pool; until then its verdict does not count."""
        return self.is_moving or any(key[:32] in self.away for key in (*entry.input_keys, *entry.dep_keys))

    def drop_impossible(self, entry: PoolEntry, error: CkbError) -> Iterator[None]:
        """An entry that no block can hold at this tip leaves, in steps, with all that need it."""
        if self.graph.entries.get(entry.short_id) is entry and not self.is_in_transit(entry):
            yield from self.drop((entry.short_id,), reject_of(error))

    # ------------------------------------------------------------ what is remembered

    def reject(self, tx: Transaction, reason: Reject, entry: PoolEntry | None = None) -> None:
        """Keep the reason for RPC and publish it; a duplicate is no reason. `entry`: which has left the pool."""
        if isinstance(reason, Duplicated):
            return
        self.rejected.put(tx.hash, reason.kind, str(reason))
        self._events.publish(TransactionRejected(tx, reason, entry))

    def reject_without_room(self, tx_slice: TxSlice) -> None:
        """One that left the chain cannot return: others that did fill the pool."""
        self.reject(Transaction.trusted(tx_slice.raw), PoolFull("others that left the chain fill it"))

    def _reject_entry(self, entry: PoolEntry, reason: Reject) -> None:
        self.reject(entry.tx, reason, entry)

    def drop(self, short_ids: Iterable[bytes], reason: Reject) -> Iterator[None]:
        """Entries and all that use their cells leave, for one reason, in steps: they may be most of the pool. Others
        may come meanwhile; those that use cells of what leaves then leave too."""
        return self._tell(self.graph.leave_with_users(short_ids), lambda _: reason)

    def _tell(self, leaving: Iterator[Sequence[PoolEntry]], reason_for: _ReasonFor) -> Iterator[None]:
        graph = self.graph
        for gone in leaving:
            for entry in gone:
                self.version += 1
                self._reject_entry(entry, reason_for(entry))
            yield
            if self.graph is not graph:  # cleared
                return

    # ------------------------------------------------------------ what the chain does

    def set_tip(self, reader: ChainReader) -> bool:
        """Move to another state of the chain; True when scripts run on another version of the VM there.

        Until the blocks between are told by `remove_committed` and `take_detached`, the pool still holds what they
        committed; `check` and `admit` are right all the same.
        """
        vm_version = self.vm_version
        self._set_reader(reader)
        self.remove_expired()
        self.version += 1
        return self.vm_version != vm_version

    def remove_committed(self, transactions: Sequence[TxSlice]) -> Iterator[None]:
        """Remove committed entries, and in steps entries that use a cell which they spent. In chain order."""
        self.graph.remove_committed(tx.hash for tx in transactions)
        for tx in transactions:
            self.conflicted.drop(tx.hash)
            for out_point in tx.consumed:
                if self.graph.is_used(out_point):
                    yield from self.drop(self.graph.users_of(out_point), ResolveFailed(DeadOutPointError(out_point)))
        self.version += 1

    def take_detached(self, block: Block) -> Iterator[None]:
        """A block has left the main chain: in steps, drop entries that name it as header dep."""
        if not self.reader.is_main(block.hash):
            reason = ResolveFailed(InvalidHeaderDepError(block.hash))
            yield from self.drop(self.graph.with_header_dep(block.hash), reason)

    def is_off_chain(self, tx_hash: bytes) -> bool:
        """The chain does not hold the transaction."""
        return self.reader.transaction_info(tx_hash) is None

    def remove_expired(self) -> bool:
        """So many as do not take long; whether there are more. Entries come in the order of arrival, by the monotonic
        clock, so the first young one ends the search."""
        oldest = self._age_ms() - self.limits.expiry_ms
        expired = list[bytes]()
        for entry in self.graph:
            if entry.arrived_ms >= oldest or len(expired) >= EXPIRED_AT_ONCE:
                break
            expired.append(entry.short_id)
        leaving = self.graph.leave_with_users(expired)
        next(self._tell(leaving, lambda entry: Expired(entry.timestamp)), None)
        return len(expired) >= EXPIRED_AT_ONCE or any(each in self.graph for each in expired)

    def drop_orphaned(self, tx_hash: bytes, output_count: int) -> Iterator[None]:
        """After readmission of a detached transaction: drop its descendants, in steps, if it was not admitted."""
        if self.graph.by_hash(tx_hash) is not None or not self.is_off_chain(tx_hash):
            return
        for index in range(output_count):
            key = out_point_key(tx_hash, index)
            yield from self.drop(self.graph.users_of(key), ResolveFailed(UnknownOutPointError(key)))

    # ------------------------------------------------------------ by hand

    def remove(self, entry: PoolEntry) -> Iterator[None]:
        """Take a transaction out, and all that use its cells, in steps."""
        for _ in self.graph.leave_with_users((entry.short_id,)):
            self.version += 1
            yield

    def is_spent(self, out_point: bytes) -> bool:
        """Whether a transaction here spends this cell. Any thread may ask."""
        return out_point in self.graph.spenders

    def clear(self) -> None:
        """Forget everything."""
        self.graph = PoolGraph(self.limits.max_ancestors)
        self.conflicted = Conflicted()
        self._released_conflicts = []
        self._leaving.clear()
        self.version += 1


def _full(entry: PoolEntry) -> PoolFull:
    return PoolFull(f"the fee_rate for this transaction is: {entry.fee_rate} shannons/KW")


def reject_of(error: CkbError) -> Reject:
    """The Reject for an error of the rules."""
    return ResolveFailed(error) if isinstance(error, ResolveError) else VerificationFailed(error)
