"""Brings transactions back to the pool: those of detached blocks, of conflicts that ended, of a former run's file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from ckb_node.runtime.slices import in_slices
from ckb_node.txpool.persist import SavedPool, save_transactions
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.readmission import ReadmissionBatch, ReadmissionEntry, ReadmissionQueue
from ckb_node.txpool.rejects import Invalidated, Reject
from ckb_node.txpool.reverification import Reverification
from ckb_node.txpool.saving import parents_first
from ckb_node.verification.stopping import Stop
from consensus.lookup import ChainDataError
from consensus.types.blockchain import Transaction
from storage.errors import StorageError

log = structlog.get_logger("txpool")

TXS_PER_SLICE: Final = 64
"""Transactions of the saved file that are noted before the event loop may do something else."""

Submit = Callable[[Transaction, int], Awaitable[None]]
"""Verify, within so many cycles, and admit. Raises Reject."""


class Returning:
    """Belongs to the event loop. `queue` has what is to return: until then it counts as pending."""

    def __init__(
        self,
        pool: TxPool,
        reverification: Reverification,
        submit: Submit,
        tell_peers: Callable[[bytes], None],
        stop: Stop,
    ) -> None:
        self._pool, self._reverification, self._submit = pool, reverification, submit
        self._tell_peers, self._stop = tell_peers, stop
        pool.away = self.queue = ReadmissionQueue()
        self.clearings = 0
        """How often all was forgotten: who works on something in steps ends when that has happened."""
        self.has_loaded = False
        """What a former run kept on disk was looked at."""
        self._batches: asyncio.Queue[ReadmissionBatch] = asyncio.Queue()
        self._saved = SavedPool()

    def add(self, transactions: Iterable[Transaction]) -> None:
        """To be submitted when `run` comes to them, parents first."""
        hashes = []
        for each in transactions:
            self.queue.add(ReadmissionEntry.of(each, self._pool.now_ms()))
            hashes.append(each.hash)
        self.later(ReadmissionBatch(hashes))

    def later(self, batch: ReadmissionBatch) -> None:
        """The same for a batch whose entries are in the queue."""
        if batch.hashes or batch.lost:
            self._batches.put_nowait(batch)

    def clear(self) -> None:
        """None is wanted any more, of the file neither."""
        self.queue.clear()
        self._saved.clear()
        self.clearings += 1
        while not self._batches.empty():
            self._batches.get_nowait()
            self._batches.task_done()

    async def settled(self) -> None:
        """Wait until all that were to return have been tried again."""
        await self._batches.join()

    async def run(self) -> None:
        """Bring back what is to return, until cancelled."""
        while True:
            batch = await self._batches.get()
            try:
                await self._bring_back(batch)
            finally:
                self._batches.task_done()

    async def _bring_back(self, batch: ReadmissionBatch) -> None:
        clearings = self.clearings
        for tx_hash in batch.hashes:
            if self.clearings != clearings:
                return
            entry = self.queue.get(tx_hash)
            if entry is None:  # removed by hand, or in a block again
                continue
            await self._try_again(entry, self._pool.limits.max_verify_cycles)
            await asyncio.sleep(0)  # those that are refused at once wait for nothing
        for tx_hash, output_count in batch.lost:
            await in_slices(self._pool.drop_orphaned(tx_hash, output_count))
            await asyncio.sleep(0)
        self._reverification.try_again()

    async def _try_again(self, entry: ReadmissionEntry, max_cycles: int) -> bool:
        """Submit one; whether it was admitted. An unreadable chain fails it alone.

        What is refused because the node stops stays in the queue, and so is saved. Peers know what a block held.
        """
        is_in, transaction = False, entry.transaction
        try:
            await self._submit(transaction, max_cycles)
            is_in = True
        except Reject:
            if self._stop.is_set:
                return False
        except (StorageError, ChainDataError) as error:
            log.error("a transaction cannot return", hash=transaction.hash.hex(), reason=str(error))  # noqa: TRY400
            self._pool.reject(transaction, Invalidated("the chain cannot be read for it"))
        self.queue.drop(transaction.hash)
        if is_in and not entry.is_from_block:
            self._tell_peers(transaction.hash)
        return is_in

    # ------------------------------------------------------------ the file

    async def load(self, path: Path) -> int:
        """Submit again what a former run kept on disk; how many came in. `clear` meanwhile forgets the rest.

        Raises OSError when the file cannot be read; it may be called again then.
        """
        saved = self._saved = SavedPool()
        await saved.read(path)
        noted: list[bytes] = []
        while transactions := saved.take(TXS_PER_SLICE):
            for transaction in transactions:
                self.queue.add(ReadmissionEntry.of_file(transaction, self._pool.now_ms()))
                noted.append(transaction.hash)
            await asyncio.sleep(0)
        count = 0
        for tx_hash in noted:
            if (entry := self.queue.get(tx_hash)) is not None:
                count += await self._try_again(entry, self._pool.consensus.max_block_cycles)
        self.has_loaded = True
        self._reverification.try_again()
        return count

    def save(self, path: Path) -> int:
        """Keep the pool on disk, what is to return to it, and what of the file was not looked at yet, parents first;
        how many transactions. Raises OSError; the file is as before then."""
        rest = self._saved.rest(path)
        transactions = parents_first(self._pool.graph, (each for _, each in self.queue))
        save_transactions(path, [*transactions, *rest])
        return len(transactions) + len(rest)
