"""Changes of the index before they are written: cells, rows of transactions and sums of capacities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from ckb_node.indexer.keys import (
    CAPACITY,
    CELL,
    CELL_BY_LOCK,
    CELL_BY_TYPE,
    CELL_HEAD,
    CELL_TAIL,
    IO_INPUT,
    IO_OUTPUT,
    PACKED_CELL,
    PACKED_SCRIPTS_AT,
    SCRIPTS_AT,
    TOTAL_BY_LOCK,
    TOTAL_BY_TYPE,
    TX_BY_LOCK,
    TX_BY_TYPE,
    TX_PLACE,
    scripts_of,
)
from ckb_node.indexer.parts import Cell
from storage.kv import KeyValueStore

KEPT_TOTALS: Final = 50_000
"""Sums that are remembered between runs of blocks, about 200 bytes each."""

KEPT_PREFIXES: Final = 20_000
KEPT_SCRIPT_BYTES: Final = 256
"""Scripts of outputs, up to so many bytes, whose prefixes are remembered: about a kilobyte each."""

ScriptPrefixes = tuple[bytes, bytes, bytes]

KEPT_CELLS: Final = 393_216
KEPT_CELL_BYTES: Final = 256
"""Live cells, up to so many bytes, that are remembered while the index is built: 175 MiB at most, 130 of usual ones."""

OutputIndex = tuple[bytes, bytes, bytes]
"""An index as out points, keys of cells and rows of transactions end with it."""

_FEW: Final = 1024


def _output_index(index: int) -> OutputIndex:
    big = index.to_bytes(4, "big")
    return index.to_bytes(4, "little"), big, big + IO_OUTPUT


_OUTPUT_INDICES: Final = [_output_index(index) for index in range(_FEW)]
_INPUTS: Final = [index.to_bytes(4, "big") + IO_INPUT for index in range(_FEW)]


def output_indices(count: int) -> Sequence[OutputIndex]:
    """Of so many outputs at least."""
    return _OUTPUT_INDICES if count <= _FEW else [_output_index(index) for index in range(count)]


def _inputs(count: int) -> Sequence[bytes]:
    """IO of so many inputs at least."""
    return _INPUTS if count <= _FEW else [index.to_bytes(4, "big") + IO_INPUT for index in range(count)]


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


class Prefixes(dict[bytes, tuple[ScriptPrefixes, ...]]):
    """By the scripts of a serialised output: what the keys of its rows begin with, of cells, transactions and the sum,
    by lock, then by type. Those of scripts that were met lately are there, since most outputs have some that others
    have."""

    def of_new(self, scripts: bytes) -> tuple[ScriptPrefixes, ...]:
        """Of scripts that are not there."""
        lock, type_ = scripts_of(scripts)
        found: tuple[ScriptPrefixes, ...] = ((CELL_BY_LOCK + lock, TX_BY_LOCK + lock, TOTAL_BY_LOCK + lock),)
        if type_ is not None:
            found += ((CELL_BY_TYPE + type_, TX_BY_TYPE + type_, TOTAL_BY_TYPE + type_),)
        if len(scripts) <= KEPT_SCRIPT_BYTES:
            if len(self) >= KEPT_PREFIXES:
                self.clear()
            self[scripts] = found
        return found


class LiveCells(dict[bytes, bytes]):
    """Records of live cells that were made lately, by their keys: most cells are spent soon, and a read of the store
    takes ten times as long. One writer."""

    def note(self, made: dict[bytes, bytes]) -> None:
        """These are live, too."""
        self.update({key: packed for key, packed in made.items() if len(packed) <= KEPT_CELL_BYTES})
        for key in list(islice(self, max(0, len(self) - KEPT_CELLS))):
            del self[key]


class Kept(NamedTuple):
    """What is remembered from one run of blocks to the next."""

    totals: Totals
    prefixes: Prefixes
    cells: LiveCells

    @classmethod
    def nothing(cls) -> Kept:
        return cls(Totals(), Prefixes(), LiveCells())


Rows = dict[bytes, bytes | None]
"""New values by key; None deletes."""


class Place(NamedTuple):
    """A transaction in the chain."""

    number: int
    tx_index: int
    tx_hash: bytes


Consumed = tuple[int, bytes, bytes]
"""Index of the input, out point, packed cell."""


class Changes:
    """New rows over a store, made a transaction at a time: what it consumes, what it creates, then `end_transaction`.

    `before` are rows that are being written, which the store may have or not.
    """

    def __init__(self, store: KeyValueStore, before: Rows, kept: Kept) -> None:
        self._snapshot: Final = store.snapshot()
        self._read: Final = self._snapshot.get
        self._before: Final = before
        self._kept: Final = kept
        self._deltas: Final[defaultdict[bytes, int]] = defaultdict(int)
        self._ios: Final[defaultdict[bytes, list[bytes]]] = defaultdict(list)
        """Of the transaction at hand, by the prefix of its rows."""
        self._made: Final[dict[bytes, bytes]] = {}
        """Live cells that these changes make; `rows` has none of them."""
        self.rows: Final[Rows] = {}

    def get(self, key: bytes) -> bytes | None:
        """The new value if there is one, else the stored."""
        return self._made.get(key) or (self.rows[key] if key in self.rows else self._stored(key))

    def _stored(self, key: bytes) -> bytes | None:
        before = self._before
        return before[key] if key in before else self._read(key)

    def consume(self, points: Sequence[bytes], *, may_repeat: bool) -> list[Consumed]:
        """A transaction spends cells, those of these out points that are there. Unless a transaction `may_repeat`, of
        cells that were made by the same changes nothing is left to be written."""
        rows, made, deltas, ios, prefixes = self.rows, self._made, self._deltas, self._ios, self._kept.prefixes
        kept = self._kept.cells
        found: list[Consumed] = []
        for index, (out_point, io) in enumerate(zip(points, _inputs(len(points)), strict=False)):
            key = CELL + out_point
            packed = made.pop(key, None)
            is_new = packed is not None and not may_repeat
            if packed is None:
                packed = None if key in rows else kept.pop(key, None) or self._stored(key)
            if packed is None:
                continue
            found.append((index, out_point, packed))
            number, tx_index, length, capacity = PACKED_CELL.unpack_from(packed)
            scripts = packed[PACKED_SCRIPTS_AT : CELL_HEAD.size + length]
            tail = TX_PLACE.pack(number, tx_index) + out_point[:31:-1]
            if not is_new:
                rows[key] = None
            for cells, transactions, total in prefixes.get(scripts) or prefixes.of_new(scripts):
                if is_new:
                    del rows[cells + tail]
                else:
                    rows[cells + tail] = None
                ios[transactions].append(io)
                deltas[total] -= capacity
        return found

    def create(self, place: Place, cells: Iterable[tuple[OutputIndex, Cell]]) -> None:
        """A transaction makes cells."""
        rows, made, deltas, ios, prefixes = self.rows, self._made, self._deltas, self._ios, self._kept.prefixes
        number, tx_index, tx_hash = place
        key, begin = CELL + tx_hash, TX_PLACE.pack(number, tx_index)
        for (little, big, io), (output, data) in cells:
            made[key + little] = CELL_HEAD.pack(number, tx_index, len(output)) + output + data
            (capacity,) = CAPACITY.unpack_from(output)
            scripts, tail = output[SCRIPTS_AT:], begin + big
            for by_script, transactions, total in prefixes.get(scripts) or prefixes.of_new(scripts):
                rows[by_script + tail] = tx_hash
                ios[transactions].append(io)
                deltas[total] += capacity

    def end_transaction(self, place: Place) -> None:
        """All that it consumes and creates was told."""
        number, tx_index, tx_hash = place
        rows, begin = self.rows, TX_PLACE.pack(number, tx_index)
        for transactions, ios in self._ios.items():
            ios.sort()
            rows[transactions + begin] = tx_hash + b"".join(ios)
        self._ios.clear()

    def undo_create(self, out_point: bytes, packed: bytes) -> None:
        """The transaction that made it is gone."""
        self.displace(out_point, packed)
        number, tx_index, *_ = PACKED_CELL.unpack_from(packed)
        self._undo_row(packed, TX_PLACE.pack(number, tx_index))

    def undo_consume(self, out_point: bytes, packed: bytes, place: bytes) -> None:
        """The transaction that spent it, in this TX_PLACE, is gone."""
        self.undo_displace(out_point, packed)
        self._undo_row(packed, place)

    def _undo_row(self, packed: bytes, place: bytes) -> None:
        for _, transactions, _ in self._prefixes_of(packed):
            self.rows[transactions + place] = None

    def displace(self, out_point: bytes, packed: bytes) -> None:
        """It is not live any more; rows of transactions stay."""
        self._change(out_point, packed, None, None, -1)

    def undo_displace(self, out_point: bytes, packed: bytes) -> None:
        """It is live again."""
        self._change(out_point, packed, packed, out_point[:32], 1)

    def _change(self, out_point: bytes, packed: bytes, cell: bytes | None, row: bytes | None, sign: int) -> None:
        number, tx_index, _, capacity = PACKED_CELL.unpack_from(packed)
        tail = CELL_TAIL.pack(number, tx_index, int.from_bytes(out_point[32:], "little"))
        self._made.pop(CELL + out_point, None)
        self._kept.cells.pop(CELL + out_point, None)
        self.rows[CELL + out_point] = cell
        for cells, _, total in self._prefixes_of(packed):
            self.rows[cells + tail] = row
            self._deltas[total] += sign * capacity

    def _prefixes_of(self, packed: bytes) -> tuple[ScriptPrefixes, ...]:
        length = PACKED_CELL.unpack_from(packed)[2]
        scripts = packed[PACKED_SCRIPTS_AT : CELL_HEAD.size + length]
        return self._kept.prefixes.get(scripts) or self._kept.prefixes.of_new(scripts)

    def close(self) -> Rows:
        """All rows, with the sums that they change."""
        changed = {key: self._total(key) + delta for key, delta in self._deltas.items() if delta}
        for key, total in changed.items():
            self.rows[key] = total.to_bytes(16, "little").rstrip(b"\0") if total else None
        self._snapshot.close()
        self._kept.totals.note(changed)
        self._kept.cells.note(self._made)
        self.rows.update(self._made)
        return self.rows

    def _total(self, key: bytes) -> int:
        kept = self._kept.totals.get(key)
        return unpack_total(self.get(key)) if kept is None else kept
