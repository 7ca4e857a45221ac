"""The pool's own rules: admission, replacement, eviction, and what a change of the chain does to it.

Synchronous and single-threaded (the event loop owns it); scripts run elsewhere, between `check` and `admit`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container
from dataclasses import dataclass

from ckb_node.chain.events import ChainChanged
from ckb_node.rpc.rejects import (
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
from ckb_node.txpool.cells import PoolCells
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.graph import PoolGraph
from ckb_node.txpool.limits import TRANSACTION_SIZE_LIMIT, PoolLimits, fee_at
from ckb_node.txpool.rbf import removed_by, verify_replacement
from ckb_node.txpool.window import proposal_table
from consensus.context import ChainReader
from consensus.dao import transaction_fee
from consensus.errors import CkbError, ResolveError
from consensus.params import Consensus
from consensus.resolve import (
    DeadOutPointError,
    InvalidHeaderDepError,
    UnknownOutPointError,
    resolve_transaction,
)
from consensus.transaction import verify_in_time, verify_transaction_alone
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Transaction
from consensus.types.core import ResolvedTransaction

MAX_REMEMBERED = 10_000
"""Transactions kept aside as conflicting, and reasons of refused ones that RPC can tell."""

PROPOSED_FOR = 1
"""Blocks since its proposal that a proposed transaction can be sure of."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A transaction that only lacks the verdict of its scripts. `tip` is the chain state that this was seen at."""

    rtx: ResolvedTransaction
    fee: int
    status: Status
    tip: bytes


class TxPool:
    """Waiting transactions over one state of the chain; `on_change` moves it to the next."""

    def __init__(
        self, consensus: Consensus, limits: PoolLimits, reader: ChainReader, now_ms: Callable[[], int]
    ) -> None:
        self.consensus, self.limits, self.now_ms = consensus, limits, now_ms
        self.graph = PoolGraph(limits.max_ancestors)
        self.rejected: OrderedDict[bytes, Reject] = OrderedDict()
        self.conflicted: OrderedDict[bytes, Transaction] = OrderedDict()
        self.updated_at = now_ms()
        self._set_reader(reader)

    def _set_reader(self, reader: ChainReader) -> None:
        self.reader = reader
        self.tip = reader.tip_header()
        self.proposals = proposal_table(reader, self.consensus.proposal_window)

    # ------------------------------------------------------------ admission

    def check(self, tx: Transaction) -> Checked:
        """All rules but the scripts'; Reject when one is broken."""
        self._check_alone(tx)
        if tx.short_id in self.graph:
            raise Duplicated(tx.hash)
        try:
            rtx = self._resolve(tx, self.graph.spenders)
        except DeadOutPointError as dead:
            rtx = self._resolve_as_replacement(tx, dead)
        return Checked(rtx, self._checked_fee(rtx), self.proposals.status(tx.short_id), self.tip.hash)

    def _check_alone(self, tx: Transaction) -> None:
        try:
            verify_transaction_alone(self.consensus, tx)
        except CkbError as error:
            raise VerificationFailed(error) from error
        if tx.size_in_block > TRANSACTION_SIZE_LIMIT:
            raise TooLarge(tx.size_in_block, TRANSACTION_SIZE_LIMIT)
        if tx.is_cellbase:
            raise Malformed("cellbase like")

    def cells(self) -> PoolCells:
        """Cells as the next transaction of the pool sees them."""
        return PoolCells(self.graph, self.reader)

    def _resolve(self, tx: Transaction, spent: Container[bytes]) -> ResolvedTransaction:
        try:
            return resolve_transaction(tx, self.cells(), self.reader, spent)
        except DeadOutPointError:
            raise
        except ResolveError as error:
            raise ResolveFailed(error) from error

    def _resolve_as_replacement(self, tx: Transaction, dead: DeadOutPointError) -> ResolvedTransaction:
        """Resolve once more as if nothing of the pool spent its cells; only direct conflicts can be replaced."""
        try:
            rtx = self._resolve(tx, ())
        except DeadOutPointError as error:
            raise ResolveFailed(error) from error
        if not self.graph.conflicts(tx) or not self.limits.is_rbf_enabled:
            self._keep_conflicted(tx)
            raise ResolveFailed(dead)
        return rtx

    def _checked_fee(self, rtx: ResolvedTransaction) -> int:
        try:
            fee = transaction_fee(self.consensus, rtx, self.reader)
        except CkbError as error:
            raise Malformed(str(error), "expect (outputs capacity) <= (inputs capacity)") from error
        least = fee_at(self.limits.min_fee_rate, rtx.transaction.size_in_block)
        if fee < least:
            raise LowFeeRate(self.limits.min_fee_rate, least, fee)
        return fee

    def env(self, status: Status) -> TxEnv:
        """Which block a transaction of this status is verified for."""
        if status is Status.PENDING:
            return TxEnv.submitted(self.tip)
        return TxEnv.proposed(self.tip, 0 if status is Status.GAP else PROPOSED_FOR)

    def admit(self, checked: Checked, cycles: int) -> PoolEntry:
        """Insert a transaction whose scripts passed; what changed since `check` is checked again. Raises Reject."""
        tx, status = checked.rtx.transaction, checked.status
        if tx.short_id in self.graph:
            raise Duplicated(tx.hash)
        rtx = checked.rtx
        if checked.tip != self.tip.hash:
            again = self.check(tx)
            rtx, status = again.rtx, again.status
            try:
                verify_in_time(self.consensus, rtx, self.env(status), self.reader)
            except CkbError as error:
                raise VerificationFailed(error) from error
        conflicts = self._conflicts_to_replace(tx, checked.fee)
        self._verify_parents_are_here(rtx, conflicts)
        self._replace(tx, conflicts)
        entry = PoolEntry(rtx, checked.fee, cycles, status, self.now_ms())
        for evicted in self.graph.add(entry):
            self._drop(evicted, Invalidated(f"invalidated by tx 0x{tx.hash.hex()}"))
        self.conflicted.pop(tx.hash, None)
        self.rejected.pop(tx.hash, None)
        self.updated_at = self.now_ms()
        self._shrink_to_limit()
        if tx.short_id not in self.graph:
            raise PoolFull(f"the fee_rate for this transaction is: {entry.fee_rate} shannons/KW")
        return entry

    def _conflicts_to_replace(self, tx: Transaction, fee: int) -> set[bytes]:
        if self.limits.is_rbf_enabled:
            try:
                return verify_replacement(self.graph, tx, fee, self.reader, self.limits)
            except RbfRejected:
                self._keep_conflicted(tx)
                raise
        conflicts = self.graph.conflicts(tx)
        if conflicts:
            self._keep_conflicted(tx)
            first = next(
                each.previous_output.raw for each in tx.body.inputs if each.previous_output.raw in self.graph.spenders
            )
            raise ResolveFailed(DeadOutPointError(first))
        return conflicts

    def _verify_parents_are_here(self, rtx: ResolvedTransaction, conflicts: set[bytes]) -> None:
        """Cells of the pool that it uses may have gone while its scripts ran."""
        for cell in (*rtx.inputs, *rtx.cell_deps, *rtx.dep_groups):
            if cell.info is None and self.graph.by_hash(cell.tx_hash) is None:
                raise ResolveFailed(UnknownOutPointError(cell.out_point))
        inputs = {cell.out_point for cell in rtx.inputs}
        for cell in (*rtx.cell_deps, *rtx.dep_groups):
            spender = self.graph.spenders.get(cell.out_point)
            if spender is not None and spender not in conflicts and cell.out_point not in inputs:
                raise ResolveFailed(DeadOutPointError(cell.out_point))

    def _replace(self, tx: Transaction, conflicts: set[bytes]) -> None:
        for old in removed_by(self.graph, conflicts):
            self._keep_conflicted(old.tx)
            self._drop(old, RbfRejected(f"replaced by tx 0x{tx.hash.hex()}"))

    def _shrink_to_limit(self) -> None:
        while self.graph.total_size > self.limits.max_size:
            victim = self.graph.first_to_evict()
            if victim is None:
                return
            for entry in self.graph.remove_with_descendants(victim.short_id):
                self._drop(entry, PoolFull(f"the fee_rate for this transaction is: {entry.fee_rate} shannons/KW"))

    # ------------------------------------------------------------ what is remembered

    def _drop(self, entry: PoolEntry, reason: Reject) -> None:
        self.remember_rejected(entry.hash, reason)

    def remember_rejected(self, tx_hash: bytes, reason: Reject) -> None:
        """Keep the reason for RPC; a duplicate is no reason."""
        if isinstance(reason, Duplicated):
            return
        self.rejected[tx_hash] = reason
        self.rejected.move_to_end(tx_hash)
        if len(self.rejected) > MAX_REMEMBERED:
            self.rejected.popitem(last=False)

    def _keep_conflicted(self, tx: Transaction) -> None:
        self.conflicted[tx.hash] = tx
        self.conflicted.move_to_end(tx.hash)
        if len(self.conflicted) > MAX_REMEMBERED:
            self.conflicted.popitem(last=False)

    # ------------------------------------------------------------ what the chain does

    def on_change(self, change: ChainChanged, reader: ChainReader) -> list[Transaction]:
        """Follow the chain to `reader`'s tip; the detached transactions that should be submitted again, in order."""
        self._set_reader(reader)
        attached = {tx.hash: tx for block in change.attached for tx in block.transactions[1:]}
        for tx in attached.values():
            self._remove_committed(tx)
        self._remove_dead_header_deps({block.hash for block in change.detached})
        self._move_statuses()
        self._remove_expired()
        self.updated_at = self.now_ms()
        return [tx for block in reversed(change.detached) for tx in block.transactions[1:] if tx.hash not in attached]

    def _remove_committed(self, tx: Transaction) -> None:
        entry = self.graph.by_hash(tx.hash)
        if entry is not None:
            self.graph.remove(entry.short_id)
        self.conflicted.pop(tx.hash, None)
        self.rejected.pop(tx.hash, None)
        for cell_input in tx.body.inputs:
            out_point = cell_input.previous_output.raw
            for user in self.graph.users_of(out_point):
                for dead in self.graph.remove_with_descendants(user):
                    self._drop(dead, ResolveFailed(DeadOutPointError(out_point)))

    def _remove_dead_header_deps(self, detached: set[bytes]) -> None:
        gone = {each for each in detached if not self.reader.is_main(each)}
        if not gone:
            return
        for short_id, block_hash in self.graph.with_header_deps(gone):
            for entry in self.graph.remove_with_descendants(short_id):
                self._drop(entry, ResolveFailed(InvalidHeaderDepError(block_hash)))

    def _move_statuses(self) -> None:
        for entry in self.graph:
            entry.status = self.proposals.status(entry.short_id)

    def _remove_expired(self) -> None:
        oldest = self.now_ms() - self.limits.expiry_ms
        for entry in self.graph:
            if entry.timestamp < oldest and entry.short_id in self.graph:
                for gone in self.graph.remove_with_descendants(entry.short_id):
                    self._drop(gone, Expired(gone.timestamp))

    def drop_orphaned(self) -> None:
        """After a reorg: refresh what each entry stands on, and drop those whose parents did not come back."""
        for entry in sorted(self.graph, key=lambda each: each.ancestors.count):
            if entry.short_id not in self.graph:
                continue
            try:
                self._resolve_in_place(entry)
            except Reject as reason:
                for gone in self.graph.remove_with_descendants(entry.short_id):
                    self._drop(gone, reason)

    def _resolve_in_place(self, entry: PoolEntry) -> None:
        try:
            entry.rtx = self._resolve(entry.tx, ())
        except DeadOutPointError as error:
            raise ResolveFailed(error) from error

    # ------------------------------------------------------------ by hand

    def remove(self, tx_hash: bytes) -> bool:
        """Take a transaction and its descendants out."""
        entry = self.graph.by_hash(tx_hash)
        return entry is not None and bool(self.graph.remove_with_descendants(entry.short_id))

    def clear(self) -> None:
        """Forget everything."""
        self.graph = PoolGraph(self.limits.max_ancestors)
        self.conflicted.clear()
        self.updated_at = self.now_ms()
