"""Searches against a model that looks at every block."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

import pytest

from ckb_node.indexer import query
from ckb_node.indexer.index import Index
from ckb_node.indexer.keys import CELL_HEAD, SCRIPTS_AT
from ckb_node.indexer.query import (
    CellFilter,
    FoundCell,
    Page,
    QueryError,
    ScriptType,
    Search,
    SearchMode,
    SearchTimeoutError,
)
from consensus.types.blockchain import Block, CellOutput, RawTransaction, Script, Transaction, out_point_key
from storage.kv import Reader
from storage.memory import MemorySnapshot, MemoryStore
from tests.indexer.kit_index import CKB, CODES, DATA, SCRIPTS, Model, Row, a_chain, raw_script
from tests.support.chains.devchain import dev_consensus


class Found(NamedTuple):
    """An input or output, and the cursor behind it."""

    cell: tuple[Any, ...]
    cursor: bytes


def find_cells(reader: Reader, search: Search, *, after: bytes | None, is_descending: bool) -> Iterator[FoundCell]:
    """Without the pauses."""
    page = Page(search=search, after=after, is_descending=is_descending)
    return chain.from_iterable(query.find_cells(reader, page))


def find_transactions(reader: Reader, search: Search, *, after: bytes | None, is_descending: bool) -> Iterator[Found]:
    """Without the pauses, an input or output each."""
    page = Page(search=search, after=after, is_descending=is_descending)
    for each in chain.from_iterable(query.find_transactions(reader, page)):
        for io_index, is_output in each.cells:
            cell = each.tx_hash, *each.place, io_index, bool(is_output)
            yield Found(cell, each.cursor((io_index, is_output)))


@pytest.fixture(scope="module")
def world() -> tuple[MemorySnapshot, Model]:
    """An index of 60 blocks, and its model."""
    rng = random.Random(5)
    chain = a_chain(rng, 60)
    kept = Index(MemoryStore())
    for block in chain:
        kept.append(block)
    return kept.store.snapshot(), Model(chain)  # type: ignore[return-value]


def cells(snapshot: MemorySnapshot, search: Search, *, is_descending: bool = False) -> list[bytes]:
    return [cell.out_point for cell in find_cells(snapshot, search, after=None, is_descending=is_descending)]


def transactions(snapshot: MemorySnapshot, search: Search, *, is_descending: bool = False) -> list[tuple[Any, ...]]:
    return [each.cell for each in find_transactions(snapshot, search, after=None, is_descending=is_descending)]


def places(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row.tx_hash, row.number, row.tx_index, row.io_index, row.is_output) for row in rows]


def plain_searches() -> Iterator[Search]:
    for script in SCRIPTS:
        for script_type in ScriptType:
            for mode in (SearchMode.PREFIX, SearchMode.EXACT):
                yield Search(script=script, script_type=script_type, mode=mode)


def test_prefix_and_exact_both_ways(world: tuple[MemorySnapshot, Model]) -> None:
    snapshot, model = world
    found_any = 0
    for search in plain_searches():
        expected = [row.out_point for row in model.cells(search)]
        found_any += len(expected)
        assert cells(snapshot, search) == expected
        assert cells(snapshot, search, is_descending=True) == expected[::-1]
        rows = places(model.transactions(search))
        assert transactions(snapshot, search) == rows
        assert transactions(snapshot, search, is_descending=True) == rows[::-1]
    assert found_any > 200


def test_what_is_found_is_the_cell(world: tuple[MemorySnapshot, Model]) -> None:
    snapshot, model = world
    search = Search(script=Script(code_hash=CODES[0], hash_type=0, args=b""), script_type=ScriptType.LOCK)
    found = list(find_cells(snapshot, search, after=None, is_descending=False))
    for cell, row in zip(found, model.cells(search), strict=True):
        assert cell.scripts == row.output.raw[SCRIPTS_AT:]
        assert (cell.capacity, cell.data, cell.number) == (row.output.capacity, row.data, row.number)
        assert CELL_HEAD.unpack_from(cell.packed)[1] == row.tx_index


FILTERS = [
    *(CellFilter(script=script) for script in (*SCRIPTS[::5], Script(code_hash=CODES[1], hash_type=1, args=b"\x01"))),
    *(CellFilter(script_length=limits) for limits in ((0, 1), (1, 34), (33, 35), (35, 1000), (5, 5))),
    *(CellFilter(data=data, data_mode=mode) for data in (*DATA[:3], b"b") for mode in SearchMode),
    *(CellFilter(data_length=limits) for limits in ((0, 1), (1, 3), (40, 41))),
    *(CellFilter(capacity=limits) for limits in ((0, 200 * CKB), (200 * CKB, 201 * CKB), (500 * CKB, 1 << 63))),
    *(CellFilter(block=limits) for limits in ((0, 1), (10, 30), (59, 60), (60, 1 << 63))),
    CellFilter(script_length=(33, 60), data_length=(1, 3), capacity=(0, 400 * CKB), block=(0, 50)),
]


@pytest.mark.parametrize("conditions", FILTERS)
def test_filters_of_cells(world: tuple[MemorySnapshot, Model], conditions: CellFilter) -> None:
    snapshot, model = world
    for script_type in ScriptType:
        for script in (Script(code_hash=CODES[0], hash_type=1, args=b""), SCRIPTS[0], SCRIPTS[-1]):
            search = Search(script=script, script_type=script_type, filter=conditions)
            assert cells(snapshot, search) == [row.out_point for row in model.cells(search)]


def test_filters_do_select(world: tuple[MemorySnapshot, Model]) -> None:
    """Guards the test above: most filters let some cells pass and not others."""
    _, model = world
    counts = []
    for conditions in FILTERS:
        search = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK, filter=conditions)
        everything = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK)
        counts.append(0 < len(model.cells(search)) < len(model.cells(everything)))
    assert sum(counts) > len(FILTERS) // 2


@pytest.mark.parametrize("script_type", ScriptType)
def test_filters_of_transactions(world: tuple[MemorySnapshot, Model], script_type: ScriptType) -> None:
    snapshot, model = world
    for other in SCRIPTS:
        for block in (None, (10, 30)):
            search = Search(
                script=Script(code_hash=CODES[0], hash_type=0, args=b""),
                script_type=script_type,
                filter=CellFilter(script=other, block=block),
            )
            assert transactions(snapshot, search) == places(model.transactions(search))


@pytest.mark.parametrize(
    ("conditions", "name"),
    [
        (CellFilter(script_length=(0, 1)), "script_len_range"),
        (CellFilter(data=b""), "output_data"),
        (CellFilter(data_length=(0, 1)), "output_data_len_range"),
        (CellFilter(capacity=(0, 1)), "output_capacity_range"),
    ],
)
def test_transactions_have_no_filters_of_cells(
    world: tuple[MemorySnapshot, Model], conditions: CellFilter, name: str
) -> None:
    search = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK, filter=conditions)
    with pytest.raises(QueryError, match=rf"doesn't support search_key\.filter\.{name} parameter"):
        transactions(world[0], search)


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_pages_join_to_the_whole(world: tuple[MemorySnapshot, Model], size: int, is_descending: bool) -> None:
    snapshot, model = world
    search = Search(script=Script(code_hash=CODES[0], hash_type=1, args=b""), script_type=ScriptType.LOCK)

    def cell_page(after: bytes | None) -> list[FoundCell]:
        return list(islice(find_cells(snapshot, search, after=after, is_descending=is_descending), size))

    def transaction_page(after: bytes | None) -> list[Found]:
        return list(islice(find_transactions(snapshot, search, after=after, is_descending=is_descending), size))

    step = -1 if is_descending else 1
    joined_cells = [each.out_point for each in all_pages(cell_page)]
    assert joined_cells == [row.out_point for row in model.cells(search)][::step]
    joined = [each.cell for each in all_pages(transaction_page)]
    assert joined == places(model.transactions(search))[::step]


AnyRow = TypeVar("AnyRow", FoundCell, Found)


def all_pages(page_after: Callable[[bytes | None], list[AnyRow]]) -> list[AnyRow]:
    joined: list[AnyRow] = []
    while page := page_after(joined[-1].cursor if joined else None):
        joined += page
    return joined


def test_a_cursor_of_a_cell_that_was_spent_since_loses_nothing(world: tuple[MemorySnapshot, Model]) -> None:
    snapshot, _ = world
    search = Search(script=Script(code_hash=CODES[0], hash_type=1, args=b""), script_type=ScriptType.LOCK)
    found = list(find_cells(snapshot, search, after=None, is_descending=False))
    between = (
        found[2].cursor[:-1] + bytes([found[2].cursor[-1] - 1]) if found[2].cursor[-1] else found[1].cursor + b"\0"
    )
    assert [each.cursor for each in find_cells(snapshot, search, after=between, is_descending=False)] == [
        each.cursor for each in found[2:]
    ]
    down = [each.cursor for each in find_cells(snapshot, search, after=between, is_descending=True)]
    assert down == [each.cursor for each in found[1::-1]]


@pytest.mark.parametrize("cursor", [b"", b"l", b"\xff" * 60, b"l" + raw_script(SCRIPTS[-1]) + bytes(16)])
def test_a_cursor_of_another_search_finds_nothing(world: tuple[MemorySnapshot, Model], cursor: bytes) -> None:
    search = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK)
    for is_descending in (False, True):
        assert list(find_cells(world[0], search, after=cursor, is_descending=is_descending)) == []


def test_partial_search_is_refused(world: tuple[MemorySnapshot, Model]) -> None:
    search = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK, mode=SearchMode.PARTIAL)
    with pytest.raises(QueryError, match="partial search mode"):
        cells(world[0], search)


NOTHING = CellFilter(capacity=(0, 0), block=None)
ANY = Search(script=Script(code_hash=CODES[0], hash_type=0, args=b""), script_type=ScriptType.LOCK)


def test_a_search_that_finds_nothing_for_too_long_ends(
    world: tuple[MemorySnapshot, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(cells(world[0], ANY))
    monkeypatch.setattr(query, "MAX_ROWS", count - 2)
    with pytest.raises(SearchTimeoutError, match="Indexer request timeout"):
        cells(world[0], replace(ANY, filter=NOTHING))
    assert len(cells(world[0], ANY)) == count, "one that finds something goes on"


def test_a_search_pauses_after_some_rows_whether_it_finds_something_or_not(
    world: tuple[MemorySnapshot, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(cells(world[0], ANY))
    monkeypatch.setattr(query, "STEP_ROWS", 5)
    for search in (ANY, replace(ANY, filter=NOTHING)):
        steps = list(query.find_cells(world[0], Page(search=search)))
        assert len(steps) > count // 5
        assert max(map(len, steps)) <= 5
    monkeypatch.setattr(query, "STEP_BYTES", 1)
    with_data = replace(ANY, filter=CellFilter(data_length=(1, 1 << 32)))
    steps = list(query.find_cells(world[0], Page(search=with_data)))
    assert max(map(len, steps)) == 1, "big cells: each is a step"


def test_a_page_reads_no_more_rows_than_it_needs(world: tuple[MemorySnapshot, Model]) -> None:
    for limit in (1, 3, 70):
        steps = query.find_cells(world[0], Page(search=ANY, limit=limit))
        assert [cell.out_point for step in steps for cell in step] == cells(world[0], ANY)[:limit]
        rows = query.find_transactions(world[0], Page(search=ANY, limit=limit))
        assert len([cell for step in rows for row in step for cell in row.cells]) == limit


def test_an_exact_search_pauses_among_longer_scripts(
    world: tuple[MemorySnapshot, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which begin as the one that is searched, and may be millions."""
    absent = Script(code_hash=CODES[0], hash_type=0, args=b"\x01\x02" + bytes(4))
    longer = Search(script=absent, script_type=ScriptType.LOCK)
    assert len(cells(world[0], longer)) > 1
    monkeypatch.setattr(query, "MAX_ROWS", 1)
    monkeypatch.setattr(query, "STEP_ROWS", 1)
    for find in (query.find_cells, query.find_transactions):
        with pytest.raises(SearchTimeoutError):
            list(find(world[0], Page(search=replace(longer, mode=SearchMode.EXACT))))


def test_arguments_that_look_like_numbers_are_not_mixed_up() -> None:
    """Sixteen bytes more of arguments: the key's head is that of a shorter script with its numbers."""
    header = dev_consensus().genesis_block.header
    numbers = (0).to_bytes(8, "big") + (0).to_bytes(4, "big") + (0).to_bytes(4, "big")
    short = Script(code_hash=CODES[0], hash_type=0, args=b"")
    long = short.replace(args=numbers)
    outputs = [CellOutput(capacity=1, lock=lock, type_=None) for lock in (short, long)]
    cellbase = RawTransaction(
        version=0, cell_deps=[], header_deps=[], inputs=[], outputs=outputs, outputs_data=[b"", b""]
    )
    tx = Transaction(body=cellbase, witnesses=[])
    kept = Index(MemoryStore())
    kept.append(Block(header=header, uncles=[], transactions=[tx], proposals=[]))
    exact = Search(script=short, script_type=ScriptType.LOCK, mode=SearchMode.EXACT)
    assert [each.out_point for each in find_cells(kept.store, exact, after=None, is_descending=False)] == [
        out_point_key(tx.hash, 0)
    ]
    of_long = Search(script=long, script_type=ScriptType.LOCK)
    assert [each.out_point for each in find_cells(kept.store, of_long, after=None, is_descending=False)] == [
        out_point_key(tx.hash, 1)
    ], "not the short one's, whose number is the long one's arguments"
    prefix = Search(script=short, script_type=ScriptType.LOCK)
    assert {each.out_point for each in find_cells(kept.store, prefix, after=None, is_descending=False)} == {
        out_point_key(tx.hash, 0),
        out_point_key(tx.hash, 1),
    }
