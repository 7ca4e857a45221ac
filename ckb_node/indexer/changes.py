"""Changes of the index before they are written: cells, rows of transactions and sums of capacities."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from ckb_node.indexer.keys import (
    CAPACITY,
    CELL,
    CELL_BY_LOCK,
    CELL_BY_TYPE,
    IO_OUTPUT,
    SCRIPTS_AT,
    TOTAL_BY_LOCK,
    TOTAL_BY_TYPE,
    TX_BY_LOCK,
    TX_BY_TYPE,
    scripts_of,
    spent_cell,
)
from storage.kv import KeyValueStore

KEPT_TOTALS: Final = 50_000
"""Sums that are remembered between runs of blocks, about 200 bytes each."""

KEPT_PREFIXES: Final = 20_000
KEPT_SCRIPT_BYTES: Final = 256
"""Scripts of outputs, up to so many bytes, whose prefixes are remembered: about a kilobyte each."""

ScriptPrefixes = tuple[bytes, bytes, bytes]

_BIG_ENDIAN: Final = [index.to_bytes(4, "big") for index in range(256)]
_LITTLE_ENDIAN: Final = [index.to_bytes(4, "little") for index in range(256)]


def big_endian(index: int) -> bytes:
    """An index of an input or output as keys end."""
    return _BIG_ENDIAN[index] if index < len(_BIG_ENDIAN) else index.to_bytes(4, "big")


def little_endian(index: int) -> bytes:
    """An index as in an out point."""
    return _LITTLE_ENDIAN[index] if index < len(_LITTLE_ENDIAN) else index.to_bytes(4, "little")


class Totals:
    """Sums of capacities that were changed lately. One writer."""

    def __init__(self) -> None:
        self._kept: dict[bytes, int] = {}

    def get(self, key: bytes) -> int | None:
        """The sum, if it is remembered."""
        return self._kept.get(key)

    def note(self, changed: dict[bytes, int]) -> None:
        """These are written next."""
        if len(self._kept) + len(changed) > KEPT_TOTALS:
            self._kept.clear()
        self._kept.update(changed)

    def forget(self) -> None:
        """What is remembered may not be what is stored any more."""
        self._kept.clear()


def unpack_total(packed: bytes | None) -> int:
    """A stored sum of capacities in shannons."""
    return 0 if packed is None else int.from_bytes(packed, "little")


class Prefixes:
    """What the keys of an output's rows begin with: of cells, transactions and the sum, by lock, then by type. Those of
    scripts that were met lately are remembered, since most outputs have some that others have."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[ScriptPrefixes, ...]] = {}

    def of(self, output: bytes) -> tuple[ScriptPrefixes, ...]:
        """Of a serialised CellOutput."""
        scripts = output[SCRIPTS_AT:]
        found = self._kept.get(scripts)
        if found is None:
            lock, type_, _ = scripts_of(output)
            found = ((CELL_BY_LOCK + lock, TX_BY_LOCK + lock, TOTAL_BY_LOCK + lock),)
            if type_ is not None:
                found += ((CELL_BY_TYPE + type_, TX_BY_TYPE + type_, TOTAL_BY_TYPE + type_),)
            if len(scripts) <= KEPT_SCRIPT_BYTES:
                if len(self._kept) >= KEPT_PREFIXES:
                    self._kept.clear()
                self._kept[scripts] = found
        return found


Rows = dict[bytes, bytes | None]
"""New values by key; None deletes."""


class Changes:
    """New rows over a store. What is created and consumed within them reaches it only as deletes.

    `before` are rows that are being written, which the store may have or not.
    """

    def __init__(self, store: KeyValueStore, before: Rows, totals: Totals, prefixes: Prefixes) -> None:
        self._snapshot: Final = store.snapshot()
        self._read: Final = self._snapshot.get
        self._before: Final = before
        self._totals: Final = totals
        self._prefixes: Final = prefixes
        self._deltas: Final[defaultdict[bytes, int]] = defaultdict(int)
        self.rows: Final[Rows] = {}

    def get(self, key: bytes) -> bytes | None:
        """The new value if there is one, else the stored."""
        rows = self.rows
        if key in rows:
            return rows[key]
        before = self._before
        return before[key] if key in before else self._read(key)

    def create(self, cell_key: bytes, tx_hash: bytes, packed: bytes, output: bytes, tail: bytes) -> None:
        """A transaction makes a cell; `tail` is its place in the chain."""
        rows, deltas = self.rows, self._deltas
        rows[cell_key] = packed
        (capacity,) = CAPACITY.unpack_from(output)
        tx_tail = tail + IO_OUTPUT
        for cells, transactions, total in self._prefixes.of(output):
            rows[cells + tail] = rows[transactions + tx_tail] = tx_hash
            deltas[total] += capacity

    def consume(self, out_point: bytes, packed: bytes, tx_tail: bytes, tx_hash: bytes) -> None:
        """A transaction spends a cell; `tx_tail` ends the keys of its input's rows."""
        rows, deltas = self.rows, self._deltas
        rows[CELL + out_point] = None
        output, tail = spent_cell(packed, out_point)
        (capacity,) = CAPACITY.unpack_from(output)
        for cells, transactions, total in self._prefixes.of(output):
            rows[cells + tail] = None
            rows[transactions + tx_tail] = tx_hash
            deltas[total] -= capacity

    def undo_create(self, out_point: bytes, packed: bytes) -> None:
        """The transaction that made it is gone."""
        self.displace(out_point, packed)
        output, tail = spent_cell(packed, out_point)
        for _, transactions, _ in self._prefixes.of(output):
            self.rows[transactions + tail + IO_OUTPUT] = None

    def undo_consume(self, out_point: bytes, packed: bytes, tx_tail: bytes) -> None:
        """The transaction that spent it is gone."""
        self.undo_displace(out_point, packed)
        output, _ = spent_cell(packed, out_point)
        for _, transactions, _ in self._prefixes.of(output):
            self.rows[transactions + tx_tail] = None

    def displace(self, out_point: bytes, packed: bytes) -> None:
        """It is not live any more; rows of transactions stay."""
        output, tail = spent_cell(packed, out_point)
        self.rows[CELL + out_point] = None
        for cells, _, total in self._prefixes.of(output):
            self.rows[cells + tail] = None
            self._deltas[total] -= CAPACITY.unpack_from(output)[0]

    def undo_displace(self, out_point: bytes, packed: bytes) -> None:
        """It is live again."""
        output, tail = spent_cell(packed, out_point)
        self.rows[CELL + out_point] = packed
        for cells, _, total in self._prefixes.of(output):
            self.rows[cells + tail] = out_point[:32]
            self._deltas[total] += CAPACITY.unpack_from(output)[0]

    def close(self) -> Rows:
        """All rows, with the sums that they change."""
        changed = {key: self._total(key) + delta for key, delta in self._deltas.items() if delta}
        for key, total in changed.items():
            self.rows[key] = total.to_bytes(16, "little").rstrip(b"\0") if total else None
        self._snapshot.close()
        self._totals.note(changed)
        return self.rows

    def _total(self, key: bytes) -> int:
        kept = self._totals.get(key)
        return unpack_total(self.get(key)) if kept is None else kept
