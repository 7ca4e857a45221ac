"""Searches over the index: pages of live cells and of transactions by script."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from ckb_node.indexer.changes import unpack_total
from ckb_node.indexer.keys import (
    CELL,
    CELL_BY_LOCK,
    CELL_BY_TYPE,
    CELL_TAIL,
    TOTAL_BY_LOCK,
    TOTAL_BY_TYPE,
    TX_BY_LOCK,
    TX_BY_TYPE,
    TX_TAIL,
    IndexedCell,
    script_bytes,
    scripts_of,
)
from consensus.types.blockchain import Script, out_point_key
from storage.kv import Reader

STEP_ROWS: Final = 64
"""Rows of the index between two pauses of a search."""
STEP_BYTES: Final = 256 << 10
"""Bytes of cells between two pauses of a search."""

MAX_ROWS: Final = 2_000_000
"""A search that matches none of so many rows is aborted: tens of seconds of work."""

TIMEOUT_S: Final = 10.0
"""Of a search's own work, unless the configuration says otherwise."""

Range = tuple[int, int]
"""[start, end)"""


class ScriptType(Enum):
    LOCK = "lock"
    TYPE = "type"


class SearchMode(Enum):
    PREFIX = "prefix"
    EXACT = "exact"
    PARTIAL = "partial"


class QueryError(Exception):
    """The indexer does not support this search; the message is for the caller."""


class SearchTimeoutError(QueryError):
    """The search found nothing for too long."""

    def __init__(self) -> None:
        super().__init__("Indexer request timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFilter:
    """Conditions on cells; None means any. `script` and `script_length` concern the script that is not searched by."""

    script: Script | None = None
    script_length: Range | None = None
    data: bytes | None = None
    data_mode: SearchMode = SearchMode.PREFIX
    data_length: Range | None = None
    capacity: Range | None = None
    block: Range | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search key. Partial search of scripts is not supported."""

    script: Script
    script_type: ScriptType
    mode: SearchMode = SearchMode.PREFIX
    filter: CellFilter = CellFilter()


@dataclass(frozen=True, slots=True)
class FoundCell:
    """A live cell; `out_point` is 36 bytes, `cursor` its place in the index."""

    out_point: bytes
    cell: IndexedCell
    cursor: bytes


@dataclass(frozen=True, slots=True)
class FoundTransaction:
    """A transaction that has a cell of the script as input or output `io_index`."""

    tx_hash: bytes
    number: int
    tx_index: int
    io_index: int
    is_output: bool
    cursor: bytes
    is_match: bool = True
    """The filter takes it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a search is done: for how long, and which cells are taken for spent, those of the pool."""

    timeout_s: float = TIMEOUT_S
    is_spent: Callable[[bytes], bool] | None = None


def find_cells(
    reader: Reader, search: Search, *, after: bytes | None, is_descending: bool, terms: Terms = Terms()
) -> Iterator[FoundCell | None]:
    """Live cells in the order of the index, after a cursor; None where a pause is due. Raises QueryError."""
    prefix = {ScriptType.LOCK: CELL_BY_LOCK, ScriptType.TYPE: CELL_BY_TYPE}[search.script_type]
    rows = _RowCounter(terms.timeout_s)
    is_spent = terms.is_spent
    for key, tx_hash in _scan(reader, prefix, search, CELL_TAIL.size, after, is_descending):
        number, tx_index, index = CELL_TAIL.unpack_from(key, len(key) - CELL_TAIL.size)
        out_point = out_point_key(tx_hash, index)
        packed = None if is_spent is not None and is_spent(out_point) else reader.get(CELL + out_point)
        if packed is not None:
            cell = IndexedCell.unpack(packed)
            if (cell.number, cell.tx_index) == (number, tx_index) and _matches(search, cell):
                rows.note_found()
                yield FoundCell(out_point, cell, key)
                rows.go_on()
        if rows.needs_pause(len(packed or b"")):
            yield None
            rows.go_on()


def find_capacity(reader: Reader, search: Search, terms: Terms = Terms()) -> Iterator[int | None]:
    """Capacities in shannons whose sum is that of all live cells; None where a pause is due. Raises QueryError.

    Without conditions one sum for each script, which the index keeps.
    """
    if search.filter != CellFilter() or terms.is_spent is not None:
        search = _with_inclusive_length(search)
        for found in find_cells(reader, search, after=None, is_descending=False, terms=terms):
            yield None if found is None else found.cell.capacity
        return
    kind = {ScriptType.LOCK: TOTAL_BY_LOCK, ScriptType.TYPE: TOTAL_BY_TYPE}[search.script_type]
    key = kind + script_bytes(search.script)
    if search.mode is SearchMode.EXACT:
        yield unpack_total(reader.get(key))
        return
    rows = _RowCounter(terms.timeout_s)
    for _, packed in reader.iterator(prefix=key):
        rows.note_found()
        yield unpack_total(packed)
        rows.go_on()
        if rows.needs_pause(len(packed)):
            yield None
            rows.go_on()


def _with_inclusive_length(search: Search) -> Search:
    """The reference takes the end of `script_len_range` as part of it, in sums of capacities alone."""
    limits = search.filter.script_length
    if limits is None:
        return search
    return replace(search, filter=replace(search.filter, script_length=(limits[0], limits[1] + 1)))


def find_transactions(
    reader: Reader, search: Search, *, after: bytes | None, is_descending: bool, terms: Terms = Terms()
) -> Iterator[FoundTransaction | None]:
    """Inputs and outputs of transactions in the order of the index; None where a pause is due.

    Filters: block range, other script. What they do not take comes too, marked so: a page of grouped transactions
    ends behind it.
    """
    _refuse_cell_filters(search.filter)
    prefix = {ScriptType.LOCK: TX_BY_LOCK, ScriptType.TYPE: TX_BY_TYPE}[search.script_type]
    other = TX_BY_TYPE if search.script_type is ScriptType.LOCK else TX_BY_LOCK
    wanted = search.filter.script
    rows = _RowCounter(terms.timeout_s)
    for key, tx_hash in _scan(reader, prefix, search, TX_TAIL.size, after, is_descending):
        tail = key[-TX_TAIL.size :]
        number, tx_index, io_index, io_type = TX_TAIL.unpack(tail)
        is_match = _in_range(number, search.filter.block) and (
            wanted is None or reader.get(other + script_bytes(wanted) + tail) is not None
        )
        if is_match:
            rows.note_found()
        yield FoundTransaction(tx_hash, number, tx_index, io_index, io_type == 1, key, is_match)
        if is_match:
            rows.go_on()
        if rows.needs_pause(len(key)):
            yield None
            rows.go_on()


class _RowCounter:
    """Counts rows and time of a search, to pause it in time and to abort one that takes too long."""

    def __init__(self, timeout_s: float) -> None:
        self._rows = self._step_rows = self._step_bytes = 0
        self._left_s = timeout_s
        self._since = time.perf_counter()

    def go_on(self) -> None:
        """The search was not working until now."""
        self._since = time.perf_counter()

    def note_found(self) -> None:
        """Something was found, and is about to be handed over."""
        self._rows = 0
        self._left_s -= time.perf_counter() - self._since

    def needs_pause(self, size: int) -> bool:
        """Count a row for which `size` bytes were read. Raises SearchTimeoutError."""
        self._rows += 1
        now = time.perf_counter()
        self._left_s -= now - self._since
        self._since = now
        if self._rows > MAX_ROWS or self._left_s < 0:
            raise SearchTimeoutError
        self._step_rows += 1
        self._step_bytes += size
        if self._step_rows < STEP_ROWS and self._step_bytes < STEP_BYTES:
            return False
        self._step_rows = self._step_bytes = 0
        return True


def _refuse_cell_filters(conditions: CellFilter) -> None:
    for name, value in (
        ("script_len_range", conditions.script_length),
        ("output_data", conditions.data),
        ("output_data_len_range", conditions.data_length),
        ("output_capacity_range", conditions.capacity),
    ):
        if value is not None:
            raise QueryError(f"doesn't support search_key.filter.{name} parameter")


def refuse_partial(search: Search) -> None:
    """Scripts can be searched by parts of their arguments in the rich indexer only. Raises QueryError."""
    if search.mode is SearchMode.PARTIAL:
        raise QueryError(
            "the CKB indexer doesn't support search_key.script_search_mode partial search mode, "
            "please use the CKB rich-indexer for such search"
        )


def _scan(
    reader: Reader, kind: bytes, search: Search, tail_size: int, after: bytes | None, is_descending: bool
) -> Iterator[tuple[bytes, bytes]]:
    """Rows of a script after a cursor; none after the cursor of another search."""
    refuse_partial(search)
    prefix = kind + script_bytes(search.script)
    start = stop = None
    if after is not None:
        if not after.startswith(prefix):
            return
        start, stop = (None, after) if is_descending else (after + b"\0", None)
    for key, value in reader.iterator(prefix=prefix, start=start, stop=stop, reverse=is_descending):
        # The key of a shorter script, with the numbers behind it, may have this prefix too.
        more_args = len(key) - len(prefix) - tail_size
        if more_args < 0 or (more_args and search.mode is SearchMode.EXACT):
            continue
        yield key, value


def _matches(search: Search, cell: IndexedCell) -> bool:
    conditions = search.filter
    scripts = scripts_of(cell.raw)
    other = (scripts.type_ or b"") if search.script_type is ScriptType.LOCK else scripts.lock
    if conditions.script is not None and not other.startswith(script_bytes(conditions.script)):
        return False
    return (
        _in_range(len(other), conditions.script_length)
        and _data_matches(cell.data, conditions)
        and _in_range(len(cell.data), conditions.data_length)
        and _in_range(scripts.capacity, conditions.capacity)
        and _in_range(cell.number, conditions.block)
    )


def _in_range(value: int, limits: Range | None) -> bool:
    return limits is None or limits[0] <= value < limits[1]


def _data_matches(data: bytes, conditions: CellFilter) -> bool:
    if conditions.data is None:
        return True
    match conditions.data_mode:
        case SearchMode.PREFIX:
            return data.startswith(conditions.data)
        case SearchMode.EXACT:
            return data == conditions.data
        case SearchMode.PARTIAL:
            return conditions.data in data
