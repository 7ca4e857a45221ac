"""Searches over the index: pages of live cells and of transactions by script."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from time import perf_counter as clock
from typing import Final, NamedTuple

from ckb_node.indexer.changes import unpack_total
from ckb_node.indexer.gaps import IndexSnapshot
from ckb_node.indexer.keys import (
    CELL,
    CELL_BY_LOCK,
    CELL_BY_TYPE,
    CELL_HEAD,
    CELL_TAIL,
    IO,
    PACKED_CELL,
    PACKED_SCRIPTS_AT,
    TOTAL_BY_LOCK,
    TOTAL_BY_TYPE,
    TX_BY_LOCK,
    TX_BY_TYPE,
    TX_PLACE,
    AnyScript,
    script_bytes,
    scripts_of,
)
from consensus.crypto.hashing import HASH_SIZE
from storage.kv import Reader

STEP_ROWS: Final = 128
"""Rows of the index between two pauses of a search."""
STEP_BYTES: Final = 256 << 10
"""Bytes of cells between two pauses of a search."""
STEP_S: Final = 0.002
"""A step ends earlier when it takes longer, as it does where each row is read from a disk."""

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


class SoughtScript(NamedTuple):
    """What a search reads of a Script, which may stand for it."""

    code_hash: bytes
    hash_type: int
    args: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFilter:
    """Conditions on cells; None means any. `script` and `script_length` concern the script that is not searched by."""

    script: AnyScript | None = None
    script_length: Range | None = None
    data: bytes | None = None
    data_mode: SearchMode = SearchMode.PREFIX
    data_length: Range | None = None
    capacity: Range | None = None
    block: Range | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search key. Partial search of scripts is not supported."""

    script: AnyScript
    script_type: ScriptType
    mode: SearchMode = SearchMode.PREFIX
    filter: CellFilter = CellFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is wanted of a search: what comes behind a cursor, in the order of the index or against it."""

    search: Search
    after: bytes | None = None
    is_descending: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a search is done: for how long, and which cells are taken for spent, those of the pool."""

    timeout_s: float = TIMEOUT_S
    is_spent: Callable[[bytes], bool] | None = None


class FoundCell(NamedTuple):
    """A live cell: its cursor, out point (36 bytes), and record of the index."""

    cursor: bytes
    out_point: bytes
    packed: bytes

    @property
    def capacity(self) -> int:
        """In shannons."""
        return int(PACKED_CELL.unpack_from(self.packed)[3])

    @property
    def scripts(self) -> bytes:
        """Serialised lock and type."""
        return self.packed[PACKED_SCRIPTS_AT : CELL_HEAD.size + CELL_HEAD.unpack_from(self.packed)[2]]

    @property
    def data(self) -> bytes:
        return self.packed[CELL_HEAD.size + CELL_HEAD.unpack_from(self.packed)[2] :]

    @property
    def number(self) -> int:
        """Of the block that made it."""
        return int(CELL_HEAD.unpack_from(self.packed)[0])


Io = tuple[int, int]
"""Index of an input or output; 0 for an input, 1 for an output."""


class FoundTransaction(NamedTuple):
    """A transaction that has cells of a script: the key of its row; its hash, then the IO of each of those inputs and
    outputs that the filter takes, in the order of the search. `last` is the IO of the last of all."""

    key: bytes
    packed: bytes
    last: bytes

    @property
    def tx_hash(self) -> bytes:
        return self.packed[:HASH_SIZE]

    @property
    def ios(self) -> bytes:
        """An IO each."""
        return self.packed[HASH_SIZE:]

    @property
    def cells(self) -> list[Io]:
        """The inputs and outputs."""
        return list(IO.iter_unpack(self.ios))

    @property
    def place(self) -> tuple[int, int]:
        """Number of its block, index therein."""
        number, tx_index = TX_PLACE.unpack_from(self.key, -TX_PLACE.size)
        return number, tx_index

    def cursor(self, cell: Io) -> bytes:
        """Behind one of its inputs or outputs."""
        return self.key + IO.pack(*cell)


_PACKED_WITH_ONE: Final = HASH_SIZE + IO.size
"""Length of the row of a transaction that has one input or output of the script."""

_OF_CELLS: Final = (CELL_BY_LOCK, CELL_BY_TYPE)

_joined: Final = b"".join
_made: Final = tuple.__new__
"""A quarter of what the constructors take, which go through two functions."""


def find_cells(reader: Reader, page: Page, terms: Terms = Terms()) -> Iterator[list[FoundCell]]:
    """Live cells. A list is what one step found, perhaps nothing; a pause is due behind it. Raises QueryError."""
    search = page.search
    prefix = {ScriptType.LOCK: CELL_BY_LOCK, ScriptType.TYPE: CELL_BY_TYPE}[search.script_type]
    rows, least, most = _scan(reader, prefix, page, CELL_TAIL.size, b"")
    matches = None if search.filter == CellFilter() else _cell_matcher(search)
    get, is_spent = reader.get, terms.is_spent
    watch, left, is_end = _Watch(terms.timeout_s), sys.maxsize if page.limit is None else page.limit, False
    while left and not is_end:
        found: list[FoundCell] = []
        count = size = 0
        is_end = True
        for key, tx_hash in rows:
            count += 1
            if least <= len(key) <= most:
                out_point = tx_hash + key[:-5:-1]  # the index is big endian in keys
                packed = None if is_spent is not None and is_spent(out_point) else get(CELL + out_point)
                if packed is not None:
                    size += len(packed)
                    cell = _made(FoundCell, (key, out_point, packed))
                    if matches is None or matches(cell):
                        found.append(cell)
            if count >= STEP_ROWS or size >= STEP_BYTES or len(found) == left or clock() > watch.step_end:
                is_end = False
                break
        left -= len(found)
        watch.note(count, has_found=bool(found))
        yield found
        watch.go_on()


def find_capacity(reader: Reader, search: Search, terms: Terms = Terms()) -> Iterator[int | None]:
    """Capacities in shannons whose sum is that of all live cells; None where a pause is due. Raises QueryError.

    Without conditions one sum for each script, which the index keeps.
    """
    if search.filter != CellFilter() or terms.is_spent is not None:
        search = _with_inclusive_length(search)
        for found in find_cells(reader, Page(search=search), terms):
            yield sum(each.capacity for each in found) if found else None
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


def find_transactions(reader: Reader, page: Page, terms: Terms = Terms()) -> Iterator[list[FoundTransaction]]:
    """Transactions with their inputs and outputs, in lists as `find_cells`; the limit is of inputs and outputs that the
    filter takes.

    Filters: block range, other script. Transactions of which they take nothing come too: a page of grouped transactions
    ends behind them.
    """
    search = page.search
    _refuse_cell_filters(search.filter)
    prefix = {ScriptType.LOCK: TX_BY_LOCK, ScriptType.TYPE: TX_BY_TYPE}[search.script_type]
    begun, given = (None, b"") if page.after is None else (page.after[: -IO.size], page.after[-IO.size :])
    rows, least, most = _scan(reader, prefix, page, TX_PLACE.size, given)
    takes = None if search.filter == CellFilter() else _tx_filter(reader, search)
    watch, left, is_end = _Watch(terms.timeout_s), sys.maxsize if page.limit is None else page.limit, False
    while left > 0 and not is_end:
        found: list[FoundTransaction] = []
        before, count, is_end = left, 0, True
        for key, packed in rows:
            count += 1
            if least <= len(key) <= most:
                if len(packed) == _PACKED_WITH_ONE and takes is None and key != begun:  # most are so
                    found.append(_made(FoundTransaction, (key, packed, packed[HASH_SIZE:])))
                    left -= 1
                else:
                    ios = packed[HASH_SIZE:] if key != begun else _behind(packed[HASH_SIZE:], given, page)
                    ios = _ordered(ios, page, left if takes is None else sys.maxsize)
                    taken = ios if takes is None else takes(key, ios)[: left * IO.size]
                    found.append(FoundTransaction(key, packed[:HASH_SIZE] + taken, ios[-IO.size :]))
                    left -= len(taken) // IO.size
            if count >= STEP_ROWS or left <= 0 or clock() > watch.step_end:
                is_end = False
                break
        watch.note(count, has_found=left < before)
        yield found
        watch.go_on()


def _ordered(ios: bytes, page: Page, most: int) -> bytes:
    """The first inputs and outputs of a row in the order of the search."""
    size = min(len(ios), most * IO.size)
    if not page.is_descending:
        return ios[:size]
    return _joined(ios[at : at + IO.size] for at in range(len(ios) - IO.size, len(ios) - size - 1, -IO.size))


def _behind(ios: bytes, given: bytes, page: Page) -> bytes:
    """Without those that an earlier page had, up to the IO that its cursor ended with."""
    places, size = range(len(ios) // IO.size), IO.size

    def io(index: int) -> bytes:
        return ios[index * size : (index + 1) * size]

    if page.is_descending:
        return ios[: size * bisect_left(places, given, key=io)]
    return ios[size * bisect_right(places, given, key=io) :]


def _tx_filter(reader: Reader, search: Search) -> Callable[[bytes, bytes], bytes]:
    """Those of a row's inputs and outputs that the filter takes."""
    kind = TX_BY_TYPE if search.script_type is ScriptType.LOCK else TX_BY_LOCK
    conditions = search.filter
    other = None if conditions.script is None else kind + script_bytes(conditions.script)

    def takes(key: bytes, ios: bytes) -> bytes:
        place = key[-TX_PLACE.size :]
        if not _in_range(TX_PLACE.unpack(place)[0], conditions.block):
            return b""
        if other is None:
            return ios
        also = reader.get(other + place)
        both = set(_each(also[HASH_SIZE:])) if also is not None else ()
        return _joined(io for io in _each(ios) if io in both)

    return takes


def _each(ios: bytes) -> Iterator[bytes]:
    return (ios[at : at + IO.size] for at in range(0, len(ios), IO.size))


class _Watch:
    """Rows and time of a search, to abort one that takes too long."""

    def __init__(self, timeout_s: float) -> None:
        self._rows = 0
        self._left_s = timeout_s
        self.go_on()

    def go_on(self) -> None:
        """The search was not working until now."""
        self._since = clock()
        self.step_end = self._since + STEP_S
        """A pause is due then, whatever was read."""

    def note(self, rows: int, *, has_found: bool) -> None:
        """A step has looked at so many rows. Raises SearchTimeoutError."""
        self._rows = 0 if has_found else self._rows + rows
        self._left_s -= clock() - self._since
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


def _scan(reader: Reader, kind: bytes, page: Page, tail_size: int, given: bytes) -> _Scan:
    """Rows of a script behind a cursor, with the row that it is of when a part of that was `given`; none behind the
    cursor of another search."""
    search, after = page.search, page.after
    refuse_partial(search)
    prefix = kind + script_bytes(search.script)
    least = len(prefix) + tail_size
    most = least if search.mode is SearchMode.EXACT else sys.maxsize
    start = stop = None
    if after is not None:
        if not after.startswith(prefix):
            return _Scan(iter(()), least, most)
        row, next_row = after[: len(after) - len(given)], after[: len(after) - len(given)] + b"\0"
        if page.is_descending:
            stop = next_row if given else row
        else:
            start = row if given else next_row
    if (
        search.mode is SearchMode.EXACT
        and kind in _OF_CELLS
        and not page.is_descending
        and isinstance(reader, IndexSnapshot)
    ):
        return _Scan(reader.live_rows(prefix, after), least, most)
    return _Scan(reader.iterator(prefix=prefix, start=start, stop=stop, reverse=page.is_descending), least, most)


def _cell_matcher(search: Search) -> Callable[[FoundCell], bool]:
    """Whether the filter takes a cell."""
    conditions, is_by_lock = search.filter, search.script_type is ScriptType.LOCK
    wanted = None if conditions.script is None else script_bytes(conditions.script)

    def matches(cell: FoundCell) -> bool:
        lock, type_ = scripts_of(cell.scripts)
        other = (type_ or b"") if is_by_lock else lock
        if wanted is not None and not other.startswith(wanted):
            return False
        return (
            _in_range(len(other), conditions.script_length)
            and _data_matches(cell.data, conditions)
            and _in_range(len(cell.data), conditions.data_length)
            and _in_range(cell.capacity, conditions.capacity)
            and _in_range(cell.number, conditions.block)
        )

    return matches


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
