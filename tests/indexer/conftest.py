"""Both databases; the tests of PostgreSQL are skipped, aloud, where it is not installed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine

from ckb_node.rich_indexer.database import Database
from ckb_node.rich_indexer.schema import migrate
from tests.support.nodes.postgres import postgres_programs, postgres_server

KINDS = ("sqlite", "postgres")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is NOT TESTED: it is not installed (Debian: apt-get install postgresql)")
    with postgres_server(programs, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Of an empty database."""
    if request.param == "sqlite":
        return URL.create("sqlite", database=str(tmp_path / "rich.db"))
    whole: URL = request.getfixturevalue("server")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(whole, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return whole.set(database=name)


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    opened = Database(url)
    with opened.writing() as connection:
        migrate(connection)
    yield opened
    opened.close()
