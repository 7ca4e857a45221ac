"""Searches over the index: pages of live cells and of transactions by script."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from ckb_node.indexer.changes import unpack_total
from ckb_node.indexer.keys import (
    CAPACITY,
    CELL,
    CELL_BY_LOCK,
    CELL_BY_TYPE,
    CELL_HEAD,
    CELL_TAIL,
    TOTAL_BY_LOCK,
    TOTAL_BY_TYPE,
    TX_BY_LOCK,
    TX_BY_TYPE,
    TX_TAIL,
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


class FoundCell(NamedTuple):
    """A live cell; `out_point` is 36 bytes, `raw` its serialised CellOutput, `cursor` its place in the index."""

    out_point: bytes
    number: int
    tx_index: int
    raw: bytes
    data: bytes
    cursor: bytes


class FoundTransaction(NamedTuple):
    """A transaction that has a cell of the script as input or output `io_index`."""

    tx_hash: bytes
    number: int
    tx_index: int
    io_index: int
    is_output: bool
    cursor: bytes
    is_match: bool
    """The filter takes it."""


_made: Final = tuple.__new__
"""A quarter of what the constructors take, which go through two functions."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a search is done: for how long, and which cells are taken for spent, those of the pool."""

    timeout_s: float = TIMEOUT_S
    is_spent: Callable[[bytes], bool] | None = None


def find_cells(
    reader: Reader,
    search: Search,
    *,
    after: bytes | None,
    is_descending: bool,
    limit: int | None = None,
    terms: Terms = Terms(),
) -> Iterator[list[FoundCell]]:
    """Live cells in the order of the index, after a cursor. A list is what one step found, perhaps nothing; a pause is
    due behind it. Raises QueryError."""
    prefix = {ScriptType.LOCK: CELL_BY_LOCK, ScriptType.TYPE: CELL_BY_TYPE}[search.script_type]
    rows, least, most = _scan(reader, prefix, search, CELL_TAIL.size, after, is_descending)
    matches = None if search.filter == CellFilter() else partial(_matches, search)
    watch, left, is_end = _Watch(terms.timeout_s), sys.maxsize if limit is None else limit, False
    while left and not is_end:
        found: list[FoundCell] = []
        count = size = 0
        is_end = True
        for key, tx_hash in rows:
            count += 1
            each = _live_cell(reader, key, tx_hash, terms.is_spent) if least <= len(key) <= most else None
            if each is not None:
                size += len(each.data)
                if matches is None or matches(each):
                    found.append(each)
            if count >= STEP_ROWS or size >= STEP_BYTES or len(found) == left:
                is_end = False
                break
        left -= len(found)
        watch.note(count, has_found=bool(found))
        yield found
        watch.go_on()


def _live_cell(
    reader: Reader, key: bytes, tx_hash: bytes, is_spent: Callable[[bytes], bool] | None
) -> FoundCell | None:
    """The cell of a row; None when a transaction of the pool spends it."""
    number, tx_index, index = CELL_TAIL.unpack_from(key, len(key) - CELL_TAIL.size)
    out_point = out_point_key(tx_hash, index)
    packed = None if is_spent is not None and is_spent(out_point) else reader.get(CELL + out_point)
    if packed is None:
        return None
    of_number, of_index, length = CELL_HEAD.unpack_from(packed)
    if (of_number, of_index) != (number, tx_index):
        return None
    at = CELL_HEAD.size + length
    return _made(FoundCell, (out_point, number, tx_index, packed[CELL_HEAD.size : at], packed[at:], key))


def find_capacity(reader: Reader, search: Search, terms: Terms = Terms()) -> Iterator[int | None]:
    """Capacities in shannons whose sum is that of all live cells; None where a pause is due. Raises QueryError.

    Without conditions one sum for each script, which the index keeps.
    """
    if search.filter != CellFilter() or terms.is_spent is not None:
        search = _with_inclusive_length(search)
        for found in find_cells(reader, search, after=None, is_descending=False, terms=terms):
            yield sum(CAPACITY.unpack_from(each.raw)[0] for each in found) if found else None
        return
    kind = {ScriptType.LOCK: TOTAL_BY_LOCK, ScriptType.TYPE: TOTAL_BY_TYPE}[search.script_type]
    key = kind + script_bytes(search.script)
    if search.mode is SearchMode.EXACT:
        yield unpack_total(reader.get(key))
        return
    watch, rows = _Watch(terms.timeout_s), reader.iterator(prefix=key)
    while totals := [unpack_total(packed) for _, packed in islice(rows, STEP_ROWS)]:
        watch.note(len(totals), has_found=True)
        yield sum(totals)
        watch.go_on()


def _with_inclusive_length(search: Search) -> Search:
    """The reference takes the end of `script_len_range` as part of it, in sums of capacities alone."""
    limits = search.filter.script_length
    if limits is None:
        return search
    return replace(search, filter=replace(search.filter, script_length=(limits[0], limits[1] + 1)))


def find_transactions(
    reader: Reader,
    search: Search,
    *,
    after: bytes | None,
    is_descending: bool,
    limit: int | None = None,
    terms: Terms = Terms(),
) -> Iterator[list[FoundTransaction]]:
    """Inputs and outputs of transactions in the order of the index, in lists as `find_cells`; `limit` matches.

    Filters: block range, other script. What they do not take comes too, marked so: a page of grouped transactions
    ends behind it.
    """
    _refuse_cell_filters(search.filter)
    prefix = {ScriptType.LOCK: TX_BY_LOCK, ScriptType.TYPE: TX_BY_TYPE}[search.script_type]
    rows, least, most = _scan(reader, prefix, search, TX_TAIL.size, after, is_descending)
    matches = None if search.filter == CellFilter() else _tx_matcher(reader, search)
    watch, left = _Watch(terms.timeout_s), sys.maxsize if limit is None else limit
    while left and (step := list(islice(rows, min(left, STEP_ROWS)))):
        found = [
            _made(FoundTransaction, (tx_hash, number, tx_index, io_index, io_type == 1, key, True))
            for key, tx_hash in step
            if least <= len(key) <= most
            for number, tx_index, io_index, io_type in (TX_TAIL.unpack_from(key, len(key) - TX_TAIL.size),)
        ]
        taken = len(found)
        if matches is not None:
            found = [each._replace(is_match=matches(each)) for each in found]
            taken = sum(each.is_match for each in found)
        left -= taken
        watch.note(len(step), has_found=taken > 0)
        yield found
        watch.go_on()


def _tx_matcher(reader: Reader, search: Search) -> Callable[[FoundTransaction], bool]:
    """Whether the filter takes a row."""
    kind = TX_BY_TYPE if search.script_type is ScriptType.LOCK else TX_BY_LOCK
    conditions = search.filter
    other = None if conditions.script is None else kind + script_bytes(conditions.script)

    def matches(row: FoundTransaction) -> bool:
        return _in_range(row.number, conditions.block) and (
            other is None or reader.get(other + row.cursor[-TX_TAIL.size :]) is not None
        )

    return matches


class _Watch:
    """Rows and time of a search, to abort one that takes too long."""

    def __init__(self, timeout_s: float) -> None:
        self._rows = 0
        self._left_s = timeout_s
        self._since = time.perf_counter()

    def go_on(self) -> None:
        """The search was not working until now."""
        self._since = time.perf_counter()

    def note(self, rows: int, *, has_found: bool) -> None:
        """A step has looked at so many rows. Raises SearchTimeoutError."""
        self._rows = 0 if has_found else self._rows + rows
        self._left_s -= time.perf_counter() - self._since
        if self._rows > MAX_ROWS or self._left_s < 0:
            raise SearchTimeoutError


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


class _Scan(NamedTuple):
    """Rows that begin with a script's bytes. Those whose key is not of such a length are of other scripts: of longer
    ones in an exact search, or of a shorter one, whose numbers happen to go on as this script does."""

    rows: Iterator[tuple[bytes, bytes]]
    least: int
    most: int


def _scan(
    reader: Reader, kind: bytes, search: Search, tail_size: int, after: bytes | None, is_descending: bool
) -> _Scan:
    """Rows of a script after a cursor; none after the cursor of another search."""
    refuse_partial(search)
    prefix = kind + script_bytes(search.script)
    least = len(prefix) + tail_size
    most = least if search.mode is SearchMode.EXACT else sys.maxsize
    start = stop = None
    if after is not None:
        if not after.startswith(prefix):
            return _Scan(iter(()), least, most)
        start, stop = (None, after) if is_descending else (after + b"\0", None)
    return _Scan(reader.iterator(prefix=prefix, start=start, stop=stop, reverse=is_descending), least, most)


def _matches(search: Search, cell: FoundCell) -> bool:
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
