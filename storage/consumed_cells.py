"""Rebuilding the cells that a detached block consumed."""

from __future__ import annotations

from typing import Final

from consensus.codec.block_layout import created_cell
from storage.chain_state import ChainState
from storage.errors import StorageCorrupt
from storage.records import TransactionRecord, pack_cell

__all__ = ["ConsumedCells"]


class ConsumedCells:
    """Rebuilds consumed cells from the main-chain transactions that created them.

    Keeps the last such transaction, since neighbouring inputs often share it; not more, since each may be big.
    """

    def __init__(self, state: ChainState) -> None:
        self._state: Final = state
        self._last: tuple[bytes, TransactionRecord, bytes] | None = None

    def cell(self, out_point: bytes) -> bytes:
        """The cell's record as it was before it was consumed."""
        tx_hash, index = out_point[:32], int.from_bytes(out_point[32:], "little")
        if self._last is None or self._last[0] != tx_hash:
            self._last = self._load(tx_hash)
        _, record, raw = self._last
        output, data = created_cell(raw, index)
        return pack_cell(record, raw[output[0] : output[1]], raw[data[0] : data[1]], record.start + data[0])

    def _load(self, tx_hash: bytes) -> tuple[bytes, TransactionRecord, bytes]:
        found = self._state.raw_transaction(tx_hash)
        if found is None:
            raise StorageCorrupt(self._state.path, f"the creator 0x{tx_hash.hex()} of a consumed cell is missing")
        return tx_hash, *found
