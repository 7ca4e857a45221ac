"""Follows the chain: what blocks commit leaves the pool, what they lose in a reorganisation is to return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.readmission import ReadmissionBatch, ReadmissionEntry
from ckb_node.txpool.rejects import Duplicated
from ckb_node.txpool.remote import RemoteTransactions
from ckb_node.txpool.returning import Returning
from ckb_node.txpool.reverification import Reverification
from ckb_node.txpool.verify_queue import VerifyQueue
from consensus.types.blockchain import Block, out_point_key
from consensus.types.core import BlockExt
from consensus.types.tx_slice import TxSlice
from storage.chain_store import ChainView

TXS_PER_SLICE: Final = 64
"""Transactions of a block that are handled before the event loop may do something else."""
SPARE_BLOCKS: Final = 4
"""Of many new blocks, so many are looked at when the pool is empty."""


class Following:
    """Belongs to the event loop. `forget_all` empties the pool and everything around it."""

    def __init__(
        self,
        chain: ChainService,
        pool: TxPool,
        verify_queue: VerifyQueue,
        remote: RemoteTransactions,
        returning: Returning,
        reverification: Reverification,
        forget_all: Callable[[], None],
    ) -> None:
        self._chain, self._pool, self._verify_queue, self._remote = chain, pool, verify_queue, remote
        self._returning, self._reverification, self._forget_all = returning, reverification, forget_all

    def on_change(self, change: ChainChanged) -> Iterator[None]:
        """Follow in steps: a reorganisation may be deep, and a block big."""
        self._pool.is_moving = True
        try:
            yield from self._follow(change)
        finally:
            self._pool.is_moving = False
            self._reverification.try_again()

    def _follow(self, change: ChainChanged) -> Iterator[None]:
        clearings = self._returning.clearings
        view = self._chain.view()
        if self._pool.set_tip(view):
            self._reverification.verify_all()
        if change.is_cut:
            self._forget_all()
            return
        # What comes from now on is checked at the new tip. While nothing is here, only transactions that relay may be
        # asked for are of interest: not those of the thousands of blocks of an initial download.
        spares = 0 if self._chain.is_taking_runs else SPARE_BLOCKS
        attached = change.attached if not self._is_empty else change.attached[max(0, len(change.attached) - spares) :]
        yield
        while self._pool.remove_expired():  # thousands may have come within a moment, or a laptop was closed
            yield
        self._remote.tip_moved()
        for block in attached:
            for transactions in _by_few(block.tx_slices[1:]):
                yield from self._commit(transactions)
                yield
        if self._returning.clearings != clearings:
            return
        returning = ReadmissionBatch([])
        try:
            yield from self._take_all_back(change.detached, view, returning)
        finally:  # schedule the readmission even after an exception
            if self._returning.clearings == clearings:
                self._returning.later(returning)

    @property
    def _is_empty(self) -> bool:
        """There is nothing that a block could commit or put in conflict."""
        remote, pool = self._remote, self._pool
        counts = len(pool.graph), len(pool.conflicted), len(self._verify_queue), len(self._returning.queue)
        return not (any(counts) or len(remote) or len(remote.orphans))

    def _commit(self, transactions: Sequence[TxSlice]) -> Iterator[None]:
        yield from self._pool.remove_committed(transactions)
        self._remote.committed(transactions)
        for tx in transactions:
            self._verify_queue.withdraw(tx.hash, Duplicated(tx.hash))
            self._returning.queue.drop(tx.hash)

    def _take_all_back(self, detached: Sequence[Block], view: ChainView, returning: ReadmissionBatch) -> Iterator[None]:
        """Note what has left the chain, parents first; ends early when the pool is cleared."""
        clearings = self._returning.clearings
        room = self._pool.limits.max_size - self._returning.queue.total_size
        for block in reversed(detached):
            yield from self._pool.take_detached(block)
            ext = view.block_ext(block.hash)
            for first in range(0, len(block.tx_slices), TXS_PER_SLICE):
                if self._returning.clearings != clearings:
                    return
                positions = range(first, min(first + TXS_PER_SLICE, len(block.tx_slices)))
                room -= self._take_back(block, ext, positions, returning, room)
                yield

    def _take_back(
        self, block: Block, ext: BlockExt | None, positions: range, returning: ReadmissionBatch, room: int
    ) -> int:
        """Note those transactions of a detached block that the chain does not hold any more; their bytes."""
        taken = 0
        for position in positions:
            tx_slice = block.tx_slices[position]
            if not self._pool.is_off_chain(tx_slice.hash):
                continue
            count = len(tx_slice.layout.outputs)
            if any(self._pool.graph.is_used(out_point_key(tx_slice.hash, index)) for index in range(count)):
                returning.lost.append((tx_slice.hash, count))
            # More than the pool can hold would only push each other out.
            if position > 0 and taken + tx_slice.layout.size <= room:
                entry = ReadmissionEntry.of_block(tx_slice, position, ext, self._pool.now_ms())
                self._returning.queue.add(entry)
                returning.hashes.append(tx_slice.hash)
                taken += tx_slice.layout.size
            elif position > 0:
                self._pool.reject_without_room(tx_slice)
        return taken


def _by_few(transactions: Sequence[TxSlice]) -> Iterator[Sequence[TxSlice]]:
    return (transactions[first : first + TXS_PER_SLICE] for first in range(0, len(transactions), TXS_PER_SLICE))
