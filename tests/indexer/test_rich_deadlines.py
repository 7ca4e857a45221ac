"""How long a search of the rich indexer may hold a connection, whatever it is made of, on SQLite and PostgreSQL."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import literal, select, text, union_all

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.query import Page, ScriptType, Search, SearchTimeoutError, Terms
from ckb_node.rich_indexer import load, search
from ckb_node.rich_indexer.database import Database
from tests.indexer.kit_index import SCRIPTS, a_chain

TIMEOUT_S = 0.3
WAITS_S = 0.1
WANTED = Search(script=SCRIPTS[0].replace(args=b""), script_type=ScriptType.LOCK)


@pytest.fixture
def filled(database: Database) -> Database:
    with database.writing() as connection:
        load.Loader(CustomFilters()).append(connection, a_chain(random.Random(6), 60))
    return database


class Slow:
    """A pool that is asked of each cell, and takes its time."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, out_point: bytes) -> bool:
        self.asked += 1
        time.sleep(WAITS_S)
        return False


def statements(database: Database) -> Iterator[None]:
    """Many, short ones."""
    with database.reading(TIMEOUT_S) as connection:
        for _ in range(100):
            connection.execute(text("SELECT 1")).one()
            yield


def rows(database: Database) -> Iterator[None]:
    """Of one statement, each fetch of which is one of its own."""
    numbers = union_all(*(select(literal(each)) for each in range(100)))
    with database.reading(TIMEOUT_S) as connection:
        for _ in search._rows(connection, select(numbers.subquery()), search.FETCHED + 1):
            yield


@pytest.mark.parametrize("work", [statements, rows])
def test_what_is_made_of_many_parts_ends_as_a_whole(
    database: Database, work: Callable[[Database], Iterator[None]]
) -> None:
    """PostgreSQL's own limit is that of each statement: four searches held all readers for as long as they liked."""
    parts = 0
    try:
        for _ in work(database):
            time.sleep(WAITS_S)
            parts += 1
    except SearchTimeoutError:
        assert parts < 10
    else:
        pytest.fail("it went on to its end")


def test_a_sum_of_what_the_pool_leaves_ends(filled: Database) -> None:
    slow = Slow()
    with filled.reading(60) as connection:
        assert len(list(search.find_cells(connection, Page(search=WANTED), Terms(), with_data=False))) >= 5
    with pytest.raises(SearchTimeoutError), filled.reading(TIMEOUT_S) as connection:
        search.find_capacity(connection, WANTED, Terms(is_spent=slow))
    assert slow.asked < 5


def wait_and_ask(database: Database, timeout_s: float) -> int:
    with database.reading(timeout_s) as connection:
        time.sleep(0.02)
        return int(connection.execute(text("SELECT 1")).scalar_one())


def test_the_next_search_of_a_connection_has_its_own_time(database: Database) -> None:
    for _ in range(3):
        with pytest.raises(SearchTimeoutError):
            wait_and_ask(database, 0.01)
    assert wait_and_ask(database, 60) == 1
    with database.writing() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
