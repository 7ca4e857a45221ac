"""Changes of the index before they are written: cells, rows of transactions and sums of capacities."""

from __future__ import annotations

from typing import Final

from ckb_node.indexer.keys import (
    CELL,
    CELL_BY_LOCK,
    CELL_BY_TYPE,
    TOTAL_BY_LOCK,
    TOTAL_BY_TYPE,
    TX_BY_LOCK,
    TX_BY_TYPE,
    Scripts,
)
from storage.kv import KeyValueStore, Reader

KEPT_TOTALS: Final = 50_000
"""Sums that are remembered between runs of blocks, about 200 bytes each."""

_INDICES: Final = [index.to_bytes(4, "big") for index in range(256)]


def big_endian(index: int) -> bytes:
    """An index of an input or output as keys have it."""
    return _INDICES[index] if index < len(_INDICES) else index.to_bytes(4, "big")


class Totals:
    """Sums of capacities as they are stored, those lately changed in memory. One writer."""

    def __init__(self, store: Reader) -> None:
        self._store: Final = store
        self._kept: dict[bytes, int] = {}

    def get(self, key: bytes) -> int:
        """The stored sum."""
        kept = self._kept.get(key)
        return unpack_total(self._store.get(key)) if kept is None else kept

    def note(self, changed: dict[bytes, int]) -> None:
        """These have been written."""
        if len(self._kept) + len(changed) > KEPT_TOTALS:
            self._kept.clear()
        self._kept.update(changed)

    def forget(self) -> None:
        """What is remembered may not be what is stored any more."""
        self._kept.clear()


def unpack_total(packed: bytes | None) -> int:
    """A stored sum of capacities in shannons."""
    return 0 if packed is None else int.from_bytes(packed, "little")


class Changes:
    """Pending rows over a store. What is created and consumed within them reaches it only as deletes."""

    def __init__(self, store: KeyValueStore, totals: Totals) -> None:
        self._snapshot: Final = store.snapshot()
        self._read: Final = self._snapshot.get
        self._totals: Final = totals
        self._deltas: dict[bytes, int] = {}
        self.rows: Final[dict[bytes, bytes | None]] = {}

    def get(self, key: bytes) -> bytes | None:
        """The pending value if there is one, else the stored."""
        rows = self.rows
        return rows[key] if key in rows else self._read(key)

    def put_cell(self, out_point: bytes, packed: bytes, scripts: Scripts, tail: bytes) -> None:
        """A cell is live; `tail` is its place in the chain."""
        rows, deltas = self.rows, self._deltas
        lock, type_, capacity = scripts
        rows[CELL + out_point] = packed
        rows[CELL_BY_LOCK + lock + tail] = out_point[:32]
        total = TOTAL_BY_LOCK + lock
        deltas[total] = deltas.get(total, 0) + capacity
        if type_ is not None:
            rows[CELL_BY_TYPE + type_ + tail] = out_point[:32]
            total = TOTAL_BY_TYPE + type_
            deltas[total] = deltas.get(total, 0) + capacity

    def remove_cell(self, out_point: bytes, scripts: Scripts, tail: bytes) -> None:
        """It is not live any more."""
        rows, deltas = self.rows, self._deltas
        lock, type_, capacity = scripts
        rows[CELL + out_point] = None
        rows[CELL_BY_LOCK + lock + tail] = None
        total = TOTAL_BY_LOCK + lock
        deltas[total] = deltas.get(total, 0) - capacity
        if type_ is not None:
            rows[CELL_BY_TYPE + type_ + tail] = None
            total = TOTAL_BY_TYPE + type_
            deltas[total] = deltas.get(total, 0) - capacity

    def set_tx_rows(self, scripts: Scripts, tail: bytes, tx_hash: bytes | None) -> None:
        """The rows of an input or output of a transaction; None deletes them."""
        self.rows[TX_BY_LOCK + scripts.lock + tail] = tx_hash
        if scripts.type_ is not None:
            self.rows[TX_BY_TYPE + scripts.type_ + tail] = tx_hash

    def commit(self, store: KeyValueStore, *, sync: bool) -> None:
        """Write all of them as one batch."""
        changed = {key: self._totals.get(key) + delta for key, delta in self._deltas.items() if delta}
        for key, total in changed.items():
            self.rows[key] = total.to_bytes(16, "little").rstrip(b"\0") if total else None
        self._snapshot.close()
        store.write_batch(self.rows.items(), sync=sync)
        self._totals.note(changed)
