"""Entries whose verdict is in doubt: those of before a hardfork, and those of a block that was refused.

They stay in the pool, but in no block (`PoolEntry.needs_reverification`) before their scripts have run once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from ckb_node.chain.events import BlockDecided
from ckb_node.runtime.slices import in_slices
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.pool import TxPool, reject_of
from ckb_node.txpool.rejects import Invalidated, Reject
from ckb_node.txpool.verifier import PoolVerifier
from ckb_node.txpool.verify_queue import VerifyQueue
from consensus.errors import CkbError, DaoError, ResolveError
from consensus.lookup import ChainDataError
from consensus.rules.since import ImmatureError
from consensus.rules.transaction import CellbaseImmatureError
from consensus.rules.two_phase import NotProposedError
from consensus.rules.verify_block import BlockCyclesError, BlockTransactionError
from consensus.script.errors import ExceededMaximumCycles
from consensus.types.blockchain import Block
from storage.errors import StorageError

log = structlog.get_logger("txpool")

_BLAMES_TRANSACTIONS = (
    BlockCyclesError,
    BlockTransactionError,
    DaoError,
    NotProposedError,
    ResolveError,
)
"""Errors of a block that its transactions cause, though not all say which."""


class Reverification:
    """Verifies stale entries one after the other, and sees to it that no entry stops the chain."""

    def __init__(self, pool: TxPool, verifier: PoolVerifier, waiting: VerifyQueue) -> None:
        self._pool: Final = pool
        self._verifier: Final = verifier
        self._verify_queue: Final = waiting
        self._stale: Final[asyncio.Queue[Sequence[PoolEntry]]] = asyncio.Queue()
        self._in_transit: list[PoolEntry] = []
        self._doubted_at = b""
        """The last tip on which a block was refused and the error did not name the transaction."""

    def verify_all(self) -> None:
        """A hardfork came, or went in a reorganisation. What a block may hold next is verified first."""
        graph = self._pool.graph
        if not len(graph):
            return
        proposed = list(graph.by_score((Status.PROPOSED,)))
        log.info("the pool is verified anew for another version of the VM", transactions=len(graph))
        self._doubt([*proposed, *(entry for entry in graph if entry.status is not Status.PROPOSED)])

    def _doubt(self, entries: Sequence[PoolEntry]) -> None:
        for entry in entries:
            entry.needs_reverification = True
        self._pool.version += 1
        self._stale.put_nowait(entries)

    # ------------------------------------------------------------ refused blocks

    def on_decided(self, decided: BlockDecided) -> None:
        """See `on_refused`."""
        if decided.error is not None:
            self.on_refused(decided.block, decided.error)

    def on_refused(self, block: Block, error: CkbError) -> None:
        """A block with transactions of the pool was refused at the pool's tip: the next template would be refused too.

        The transaction that the error names leaves, with all that need it. Where it names none, or speaks of the sum of
        cycles, the block's entries are verified anew; if the same happens at this tip once more they leave.
        """
        if block.parent_hash != self._pool.tip.hash or not isinstance(error, _BLAMES_TRANSACTIONS):
            return
        if isinstance(error, BlockTransactionError) and isinstance(error.cause, (CellbaseImmatureError, ImmatureError)):
            return  # no template holds it now, and one day it may be committed
        if isinstance(error, BlockTransactionError) and not isinstance(error.cause, ExceededMaximumCycles):
            named = self._entry_of(block, error.index)
            self._drop([] if named is None else [named], reject_of(error.cause))
            return
        entries = self._as_from_a_template(block)
        if not entries:
            return
        if self._doubted_at == block.parent_hash:
            self._drop(entries, reject_of(error))
        else:
            self._doubted_at = block.parent_hash
            log.warning("a block of the pool's transactions was refused; they are verified anew", reason=str(error))
            self._doubt(entries)

    def _drop(self, entries: Iterable[PoolEntry], reason: Reject) -> None:
        for entry in entries:
            log.warning("a block was refused for a transaction", hash=f"0x{entry.hash.hex()}", reason=str(reason))
            for _ in self._pool.drop((entry.short_id,), reason):  # at once: the next template is asked for
                pass

    def _entry_of(self, block: Block, index: int) -> PoolEntry | None:
        """The entry that is this transaction of the block, witnesses and all."""
        transaction = block.transactions[index]
        entry = self._pool.graph.by_hash(transaction.hash)
        return entry if entry is not None and entry.tx.witness_hash == transaction.witness_hash else None

    def _as_from_a_template(self, block: Block) -> list[PoolEntry]:
        """The block's entries if a template might hold just these: else the fault may be its maker's, and none is told.

        All are proposed, each comes after its parents, and by what the pool knows they keep the limits.
        """
        entries: dict[bytes, PoolEntry] = {}
        cycles = 0
        for index in range(1, len(block.transactions)):
            entry = self._entry_of(block, index)
            if entry is None or entry.status is not Status.PROPOSED:
                return []
            if not self._pool.graph.parents(entry.short_id) <= entries.keys():
                return []
            entries[entry.short_id] = entry
            cycles += entry.cycles
        return list(entries.values()) if cycles <= self._pool.consensus.max_block_cycles else []

    # ------------------------------------------------------------ verifying

    async def run(self) -> None:
        """Verify what is stale; runs until it is cancelled."""
        while True:
            entries = await self._stale.get()
            try:
                for entry in entries:
                    if self._is_wanted(entry):
                        await self._verify(entry)
            finally:
                self._stale.task_done()

    def _is_wanted(self, entry: PoolEntry) -> bool:
        """It is still in the pool, and still in doubt."""
        return entry.needs_reverification and self._pool.graph.entries.get(entry.short_id) is entry

    async def _verify(self, entry: PoolEntry) -> None:
        pool, pending = self._pool, self._verify_queue.outside(entry.tx)
        try:
            _, cycles = await self._verifier.verify(
                pending, lambda _: pool.check_entry(entry), pool.consensus.max_block_cycles
            )
        except Reject as reason:
            if pending.stop.is_set or not self._is_wanted(entry):  # set: the node stops
                return
            if pool.is_in_transit(entry):
                self._in_transit.append(entry)
            else:
                await in_slices(pool.drop((entry.short_id,), reason))
            return
        except (StorageError, ChainDataError) as error:
            log.error("a transaction cannot be verified anew", hash=f"0x{entry.hash.hex()}", reason=str(error))  # noqa: TRY400
            await in_slices(pool.drop((entry.short_id,), Invalidated("the chain cannot be read for it")))
            return
        finally:
            pending.stop.set()
        if self._is_wanted(entry):
            pool.refresh(entry, cycles)

    def try_again(self) -> None:
        """The pool has followed the chain, or transactions have returned: what entries lacked may be there now."""
        entries, self._in_transit = self._in_transit, []
        if entries:
            self._stale.put_nowait(entries)

    async def settled(self) -> None:
        """Wait until nothing is stale."""
        await self._stale.join()
