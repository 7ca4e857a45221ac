"""The tables against a model that looks at every block, on SQLite and PostgreSQL."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import URL, event, text

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.keys import AnyScript
from ckb_node.indexer.query import (
    CellFilter,
    Io,
    Page,
    QueryError,
    ScriptType,
    Search,
    SearchMode,
    SearchTimeoutError,
    Terms,
)
from ckb_node.rich_indexer import load, schema, search
from ckb_node.rich_indexer.database import Database, DatabaseError
from ckb_node.rich_indexer.reader import TablesReader
from ckb_node.rich_indexer.schema import SchemaError, migrate
from consensus.types.blockchain import Block, CellOutput, Script
from tests.indexer.kit_index import CKB, CODES, SCRIPTS, Model, Row, a_chain, raw_script
from tests.indexer.kit_tables import all_rows
from tests.support.fuzz import examples


def appended(database: Database, blocks: Sequence[Block], filters: CustomFilters | None = None) -> None:
    with database.writing() as connection:
        load.Loader(filters or CustomFilters()).append(connection, blocks)


def cells(database: Database, wanted: Search, terms: Terms | None = None, **more: Any) -> list[search.RichCell]:
    with database.reading(60) as connection:
        page = Page(search=wanted, **more)
        return list(search.find_cells(connection, page, terms or Terms(), with_data=True))


class Found(NamedTuple):
    """An input or output."""

    tx_id: int
    io_index: int
    is_output: bool


def each_cell(found: Iterable[search.RichTx]) -> list[Found]:
    return [Found(each.id, index, bool(is_output)) for each in found for index, is_output in each.cells]


def transactions(database: Database, wanted: Search, **more: Any) -> list[Found]:
    with database.reading(60) as connection:
        return each_cell(search.find_transactions(connection, Page(search=wanted, **more)))


def grouped(database: Database, wanted: Search, **more: Any) -> list[search.RichTx]:
    with database.reading(60) as connection:
        return list(search.find_grouped(connection, Page(search=wanted, **more)))


def in_chain_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.number, row.tx_index, not row.is_output, row.io_index))


def partly(model: Model, wanted: Search) -> Model:
    """The model without scripts of which a partial search finds no part."""
    part = Model([])
    for row in model.rows:
        script = row.output.lock if wanted.script_type is ScriptType.LOCK else row.output.type_
        if (
            script is not None
            and script.code_hash == wanted.script.code_hash
            and script.hash_type == wanted.script.hash_type
            and wanted.script.args in script.args
        ):
            part.rows.append(row)
    part.live = [row for row in model.live if row in part.rows]
    return part


def searches(seed: int) -> Iterator[Search]:
    """All modes for each script, each with one of the filters; other ones for another seed."""
    rng = random.Random(seed)
    filters = [
        CellFilter(),
        CellFilter(script=SCRIPTS[1]),
        CellFilter(script_length=(0, 34)),
        CellFilter(script_length=(1, 1 << 64)),
        CellFilter(data=b"a"),
        CellFilter(data=b"ab", data_mode=SearchMode.EXACT),
        CellFilter(data=b"b", data_mode=SearchMode.PARTIAL),
        *(CellFilter(data=b"", data_mode=mode) for mode in SearchMode),
        CellFilter(data_length=(1, 3)),
        CellFilter(capacity=(200 * CKB, 400 * CKB)),
        CellFilter(block=(5, 15)),
    ]
    for script in [*SCRIPTS, Script(code_hash=CODES[0], hash_type=0, args=bytes(1))]:
        for kind in ScriptType:
            for mode in SearchMode:
                for conditions in rng.sample(filters, min(examples(1), len(filters))):
                    yield Search(script=script, script_type=kind, mode=mode, filter=conditions)


def expected_cells(model: Model, wanted: Search) -> list[Row]:
    if wanted.mode is SearchMode.PARTIAL:
        every = replace(wanted, mode=SearchMode.PREFIX, script=replace_args(wanted.script))
        return in_chain_order(partly(model, wanted).cells(every))
    return in_chain_order(model.cells(wanted))


def replace_args(script: AnyScript) -> Script:
    return Script(code_hash=script.code_hash, hash_type=script.hash_type, args=b"")


@pytest.fixture(params=[(0, search.FEW, search.MANY), (1, 1, search.MANY), (2, 1, 1)], ids=["few", "many", "very many"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Each way to find the rows of several scripts; its number."""
    number, few, many = request.param
    monkeypatch.setattr(search, "FEW", few)
    monkeypatch.setattr(search, "MANY", many)
    monkeypatch.setattr(search, "CHUNK", 3)
    monkeypatch.setattr(search, "MOST_CHUNK", 5)
    monkeypatch.setattr(search, "FETCHED", 2)
    return int(number)


@pytest.mark.fuzz
def test_cells_and_sums(database: Database, url: URL, way: int) -> None:
    chain = a_chain(random.Random(1), 30)
    appended(database, chain[:10])
    appended(database, chain[10:])
    model = Model(chain)
    found_any = 0
    for wanted in searches(2 * way + (url.get_backend_name() == "sqlite")):
        rows = expected_cells(model, wanted)
        found = cells(database, wanted)
        assert [(c.out_point, c.number, c.tx_index) for c in found] == [
            (row.out_point, row.number, row.tx_index) for row in rows
        ]
        for cell, row in zip(found, rows, strict=True):
            assert cell.data == row.data
            assert cell.capacity == row.output.capacity
            assert cell.lock == raw_script(row.output.lock)
            assert (cell.type_ or b"") == raw_script(row.output.type_)
        assert cells(database, wanted, is_descending=True) == found[::-1]
        with database.reading(60) as connection:
            total = search.find_capacity(connection, wanted, Terms())
        assert total == ((sum(row.output.capacity for row in rows), 29, chain[-1].hash) if rows else None)
        found_any += len(found)
    assert found_any > 50


@pytest.mark.usefixtures("way")
def test_transactions(database: Database) -> None:
    chain = a_chain(random.Random(2), 30)
    appended(database, chain)
    model = Model(chain)
    for script in SCRIPTS:
        for kind in ScriptType:
            wanted = Search(script=script, script_type=kind, filter=CellFilter(block=(3, 25)))
            rows = in_chain_order(model.transactions(wanted))
            found = transactions(database, wanted)
            assert found == [Found(row.number << 24 | row.tx_index, row.io_index, row.is_output) for row in rows]
            assert transactions(database, wanted, is_descending=True) == found[::-1]
            groups = grouped(database, wanted)
            assert each_cell(groups) == found
            assert len({each.id for each in groups}) == len(groups)
            with database.reading(60) as connection:
                hashes = search.hashes_of(connection, [each.id for each in groups])
            assert hashes == {row.number << 24 | row.tx_index: row.tx_hash for row in rows}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_descending", [False, True])
def test_cursors(database: Database, is_descending: bool) -> None:
    appended(database, a_chain(random.Random(3), 30))
    wanted = Search(script=replace_args(SCRIPTS[0]), script_type=ScriptType.LOCK)
    whole = cells(database, wanted, is_descending=is_descending)
    rest = cells(database, wanted, is_descending=is_descending, after=search.cell_cursor(whole[4].id))
    assert rest == whole[5:]
    rows = transactions(database, wanted, is_descending=is_descending)
    at = next(i for i in range(1, len(rows)) if rows[i].tx_id == rows[i - 1].tx_id)
    given = sum(row.tx_id == rows[at - 1].tx_id for row in rows[:at])
    cursor = search.tx_cursor(rows[at - 1].tx_id, given)
    assert transactions(database, wanted, is_descending=is_descending, after=cursor) == rows[at:]
    groups = grouped(database, wanted, is_descending=is_descending, after=search.cell_cursor(rows[at].tx_id))
    assert each_cell(groups) == [row for row in rows[at:] if row.tx_id != rows[at].tx_id]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_descending", [False, True])
def test_pages_join_to_the_whole(database: Database, is_descending: bool) -> None:
    """Of transactions and of groups, whatever a page ends within."""
    appended(database, a_chain(random.Random(8), 20))
    wanted = Search(script=replace_args(SCRIPTS[0]), script_type=ScriptType.LOCK)
    whole = transactions(database, wanted, is_descending=is_descending)
    hashes = dict[bytes, int]()
    for limit in (1, 2, 7, 1000):
        for is_grouped in (False, True):
            joined, after = list[tuple[bytes, Io]](), None
            while True:
                page = Page(search=wanted, after=after, is_descending=is_descending, limit=limit)
                with database.reading(60) as connection:
                    reader = TablesReader(connection, Terms())
                    found, after = reader.grouped(page) if is_grouped else reader.transactions(page)
                if not found:
                    break
                assert (len(found) if is_grouped else sum(len(each.cells) for each in found)) <= limit
                joined += [(each.tx_hash, cell) for each in found for cell in each.cells]
                hashes |= {each.tx_hash: each.number << 24 | each.tx_index for each in found}
            assert [Found(hashes[tx_hash], index, bool(kind)) for tx_hash, (index, kind) in joined] == whole


def test_bad_cursors(database: Database) -> None:
    wanted = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK)
    for after in (b"", bytes(7), bytes(12)):
        with pytest.raises(QueryError, match="unable to convert from bytes to i64"):
            cells(database, wanted, after=after)
    for after in (b"", bytes(8), bytes(13), bytes(11) + b"\x80"):
        with pytest.raises(QueryError, match="'after' parameter"):
            search.check_tx_cursor(after)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_came_and_went_the_tables_are_those_of_the_chain(
    database: Database, url: URL, seed: int, tmp_path: Any
) -> None:
    rng = random.Random(seed)
    chain = a_chain(rng, 5)
    appended(database, chain)
    for _ in range(4):
        depth = rng.randint(1, len(chain))
        chain = chain[:-depth]
        with database.writing() as connection:
            load.roll_back(connection, len(chain))
            assert load.tip_of(connection) == (None if not chain else (chain[-1].number, chain[-1].hash))
        longer = a_chain(rng, rng.randint(1, 6), chain)
        for at in range(len(chain), len(longer), 2):
            appended(database, longer[at : at + 2])
        chain = longer
    fresh = Database(URL.create("sqlite", database=str(tmp_path / "fresh.db")))
    with fresh.writing() as connection:
        migrate(connection)
    appended(fresh, chain)
    assert all_rows(database) == all_rows(fresh)
    fresh.close()


@pytest.mark.parametrize("script_type", ScriptType)
def test_sqlite_reads_live_cells_alone(tmp_path: Path, script_type: ScriptType) -> None:
    """Of a script that had thousands of cells and has a few."""
    database = Database(URL.create("sqlite", database=str(tmp_path / "some.db")))
    with database.writing() as connection:
        migrate(connection)
    asked = list[tuple[str, Any]]()
    event.listen(database._reader, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    wanted = Search(script=SCRIPTS[0], script_type=script_type, mode=SearchMode.EXACT)
    appended(database, a_chain(random.Random(9), 20))
    cells(database, wanted)
    cells(database, replace(wanted, filter=CellFilter(script=SCRIPTS[1])))
    with database.reading(60) as connection:
        search.find_capacity(connection, wanted, Terms())
        of_outputs = [(sql, given) for sql, given in asked if "spent_tx_id IS NULL" in sql]
        assert len(of_outputs) == 3
        for sql, given in of_outputs:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)]
            assert any(f"INDEX live_cell_by_{script_type.value} (" in step for step in plan), plan
            assert not any("INDEX output_by" in step for step in plan), plan
    database.close()


def test_what_is_not_committed_is_not_there(database: Database) -> None:
    chain = a_chain(random.Random(4), 10)
    appended(database, chain[:5])
    before = all_rows(database)

    def killed() -> None:
        with database.writing() as connection:
            load.Loader(CustomFilters()).append(connection, chain[5:])
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        killed()
    assert all_rows(database) == before


def test_filters(database: Database) -> None:
    chain = a_chain(random.Random(5), 15)
    wanted = f'output.lock.code_hash == "0x{CODES[0].hex()}"'
    appended(database, chain, CustomFilters('block.header.number != "0x3"', wanted))
    live = {(row[1], row[2]) for row in all_rows(database)["output"] if row[6] is None}
    expected = [row for row in Model(chain).live if row.output.lock.code_hash == CODES[0] and row.number != 3]
    skipped = {point.previous_output.raw for tx in chain[3].transactions for point in tx.body.inputs}
    assert len(live) >= len(expected)
    assert len(live) - len(expected) <= len(skipped)


def test_cells_that_the_pool_spends_are_left_out(database: Database) -> None:
    chain = a_chain(random.Random(6), 15)
    appended(database, chain)
    model = Model(chain)
    spent = {row.out_point for row in model.live[::2]}
    terms = Terms(is_spent=spent.__contains__)
    wanted = Search(script=replace_args(SCRIPTS[0]), script_type=ScriptType.LOCK)
    rows = [row for row in in_chain_order(model.cells(wanted)) if row.out_point not in spent]
    assert [c.out_point for c in cells(database, wanted, terms)] == [row.out_point for row in rows]
    assert [c.out_point for c in cells(database, wanted, terms, limit=3)] == [row.out_point for row in rows[:3]]
    with database.reading(60) as connection:
        total = search.find_capacity(connection, wanted, terms)
    assert total is not None
    assert total[0] == sum(row.output.capacity for row in rows)


def test_sums_are_larger_than_numbers_of_the_database(database: Database) -> None:
    chain = a_chain(random.Random(7), 2)
    tx = chain[1].transactions[0]
    outputs = [CellOutput(capacity=(1 << 62) + index, lock=SCRIPTS[0], type_=None) for index in range(5)]
    changed = tx.replace(body=tx.body.replace(outputs=outputs, outputs_data=[b""] * 5))
    appended(database, [chain[0], chain[1].replace(transactions=[changed])])
    wanted = Search(
        script=SCRIPTS[0], script_type=ScriptType.LOCK, mode=SearchMode.EXACT, filter=CellFilter(block=(1, 2))
    )
    with database.reading(60) as connection:
        total = search.find_capacity(connection, wanted, Terms())
    assert total == ((5 << 62) + 10, 1, chain[1].hash)


def test_long_arguments_and_data_of_all_bytes(database: Database) -> None:
    """PostgreSQL's indexes take no long entries, and its text no NUL."""
    chain = a_chain(random.Random(7), 2)
    args = bytes(range(256)) * 200
    long = Script(code_hash=CODES[0], hash_type=0, args=args)
    tx = chain[1].transactions[0]
    body = tx.body
    outputs = [CellOutput(capacity=CKB, lock=long, type_=long)]
    changed = tx.replace(body=body.replace(outputs=outputs, outputs_data=[bytes(range(256))]))
    appended(database, [chain[0], chain[1].replace(transactions=[changed])])
    for mode, part in ((SearchMode.EXACT, args), (SearchMode.PREFIX, args[:100]), (SearchMode.PARTIAL, b"\\%_\0\1")):
        wanted = Search(
            script=Script(code_hash=CODES[0], hash_type=0, args=part), script_type=ScriptType.TYPE, mode=mode
        )
        expected = 0 if mode is SearchMode.PARTIAL else 1
        assert len(cells(database, wanted)) == expected
    partial = Script(code_hash=CODES[0], hash_type=0, args=b"\x00\x01")
    wanted = Search(script=partial, script_type=ScriptType.LOCK, mode=SearchMode.PARTIAL)
    data = CellFilter(data=b"%&", data_mode=SearchMode.PARTIAL)
    assert len(cells(database, replace(wanted, filter=data))) == 1


def test_a_search_has_its_time(database: Database) -> None:
    slow = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "postgresql": "SELECT pg_sleep(60)",
    }
    started = time.monotonic()
    with pytest.raises(SearchTimeoutError), database.reading(0.2) as connection:
        connection.execute(text(slow[connection.dialect.name]))
    assert time.monotonic() - started < 30


def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError), database.reading(10) as connection:
        connection.execute(text("DELETE FROM block"))


def test_migrations_run_once_and_refuse_what_they_do_not_know(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ran.append))
    for _ in range(2):
        with database.writing() as connection:
            migrate(connection)
    assert len(ran) == 1
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:-1])
    with pytest.raises(SchemaError, match="version 3"), database.writing() as connection:
        migrate(connection)


def test_tables_of_another_program_are_left_alone(url: URL) -> None:
    opened = Database(url)
    with opened.writing() as connection:
        connection.execute(text("CREATE TABLE block (id int)"))
    with pytest.raises(SchemaError, match="another program"), opened.writing() as connection:
        migrate(connection)
    opened.close()
