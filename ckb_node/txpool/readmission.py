"""Readmission: transactions that will be submitted to the pool again. Outside of this package they count as pending.

They come from detached blocks, from conflicts that a replacement has resolved, and from the file of a former run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ckb_node.txpool import views
from consensus.types.blockchain import Transaction
from consensus.types.core import BlockExt
from consensus.types.tx_slice import TxSlice


@dataclass(slots=True)
class ReadmissionBatch:
    """Transactions to submit again, parents first.

    `lost` are hashes and output counts of those among all detached ones on which entries of the pool stand.
    """

    hashes: list[bytes]
    lost: list[tuple[bytes, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ReadmissionEntry:
    """One of them, as bytes: there may be as many as the pool holds. `added_at` in ms; cycles and fee (shannons) are
    those that its block was found to have, None when it comes from elsewhere."""

    hash: bytes
    raw: bytes
    added_at: int
    cycles: int | None = None
    fee: int | None = None
    is_from_file: bool = False
    """A former run saved it."""
    is_from_block: bool = False

    @classmethod
    def of(cls, transaction: Transaction, added_at: int) -> ReadmissionEntry:
        """From elsewhere than a block."""
        return cls(transaction.hash, transaction.raw, added_at)

    @classmethod
    def of_file(cls, transaction: Transaction, added_at: int) -> ReadmissionEntry:
        """Saved by a former run."""
        return cls(transaction.hash, transaction.raw, added_at, is_from_file=True)

    @classmethod
    def of_block(cls, tx_slice: TxSlice, position: int, ext: BlockExt | None, added_at: int) -> ReadmissionEntry:
        """From a detached block, in which it stood at `position`, the cellbase at 0."""
        if ext is None:
            return cls(tx_slice.hash, tx_slice.raw, added_at, is_from_block=True)
        cycles, fee = _at(ext.cycles or (), position - 1), _at(ext.txs_fees, position - 1)
        return cls(tx_slice.hash, tx_slice.raw, added_at, cycles, fee, is_from_block=True)

    @property
    def transaction(self) -> Transaction:
        """A view of its bytes."""
        return Transaction.trusted(self.raw)

    @property
    def size(self) -> int:
        """Bytes in a block."""
        return len(self.raw) + 4

    def answer(self) -> views.PoolTransaction:
        """What `get_transaction` tells."""
        return views.PoolTransaction(
            transaction=self.transaction,
            state=views.TxState.PENDING,
            cycles=self.cycles,
            fee=self.fee,
            time_added=self.added_at,
        )

    def info(self) -> views.EntryInfo:
        """What `get_raw_tx_pool` tells; its ancestors are not known before it is in the pool."""
        cycles, size = self.cycles or 0, self.size
        return views.EntryInfo(
            cycles=cycles,
            size=size,
            fee=self.fee or 0,
            ancestors_size=size,
            ancestors_cycles=cycles,
            ancestors_count=1,
            timestamp=self.added_at,
        )


def _at(numbers: Sequence[int], index: int) -> int | None:
    return numbers[index] if index < len(numbers) else None


class ReadmissionQueue:
    """Entries by hash, in order of arrival, with their totals."""

    def __init__(self) -> None:
        self._entries: Final[dict[bytes, ReadmissionEntry]] = {}
        self.total_size = 0
        """Bytes in a block."""
        self.total_cycles = 0
        """As far as they are known."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, tx_hash: object) -> bool:
        return tx_hash in self._entries

    def __iter__(self) -> Iterator[tuple[bytes, ReadmissionEntry]]:
        return iter(self._entries.items())

    def get(self, tx_hash: bytes) -> ReadmissionEntry | None:
        return self._entries.get(tx_hash)

    def add(self, entry: ReadmissionEntry) -> None:
        """An entry that is there already stays as it is."""
        if entry.hash not in self._entries:
            self._entries[entry.hash] = entry
            self.total_size += entry.size
            self.total_cycles += entry.cycles or 0

    def drop(self, tx_hash: bytes) -> bool:
        """It was submitted, or it is not wanted any more; False when it was not there."""
        entry = self._entries.pop(tx_hash, None)
        if entry is None:
            return False
        self.total_size -= entry.size
        self.total_cycles -= entry.cycles or 0
        return True

    def clear(self) -> None:
        self._entries.clear()
        self.total_size = self.total_cycles = 0
