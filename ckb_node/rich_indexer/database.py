"""Connections: SQLite in a file or a PostgreSQL server, one that writes and a few that only read."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, FromClause, create_engine, event, text
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ckb_node.indexer.query import SearchTimeoutError
from ckb_node.indexer.settings import RichIndexerSection

READERS: Final = 4
"""Searches at a time, each with a connection of its own."""
CONNECT_S: Final = 10
CHECK_OPCODES: Final = 10_000
"""Of SQLite's machine, between two looks at the clock."""
CACHE_KIB: Final = 64 << 10
"""Of SQLite's pages, per writing connection."""
_DEADLINE: Final = "ckb_deadline"
"""In `info` of a connection that reads."""


class DatabaseError(Exception):
    """The database cannot be reached or used."""


class _HintingCompiler(SQLiteCompiler):
    """Writes the hints of a query (`INDEXED BY`) behind the tables, where SQLAlchemy leaves them out."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


class Database:
    """Both engines of one database."""

    def __init__(self, url: URL) -> None:
        self.is_sqlite: Final = url.get_backend_name() == "sqlite"
        self.writer: Final = self._engine(url, 1, "PRAGMA synchronous=NORMAL", f"PRAGMA cache_size=-{CACHE_KIB}")
        self._reader: Final = self._engine(url, READERS, "PRAGMA query_only=ON")
        event.listen(self._reader, "before_cursor_execute", _before_statement)

    def _engine(self, url: URL, connections: int, *pragmas: str) -> Engine:
        options: dict[str, Any] = {"pool_size": connections, "max_overflow": 0, "pool_timeout": CONNECT_S}
        if not self.is_sqlite:
            return create_engine(url, **options, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S})
        options["connect_args"] = {"check_same_thread": False, "timeout": CONNECT_S}
        engine = create_engine(url, **options)
        engine.dialect.statement_compiler = _HintingCompiler

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # transactions begin where SQLAlchemy says so
            for pragma in ("PRAGMA journal_mode=WAL", *pragmas):
                connection.execute(pragma)

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        return engine

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction. Raises DatabaseError."""
        try:
            with self.writer.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise DatabaseError(_plain(error)) from error

    @contextmanager
    def reading(self, timeout_s: float) -> Iterator[Connection]:
        """One consistent state, for `timeout_s`: then no statement begins, and what one gives is refused (see
        `check_deadline`). One under way is ended then, by PostgreSQL when it has run for so long. Raises
        SearchTimeoutError, DatabaseError."""
        deadline = time.monotonic() + timeout_s
        try:
            with self._reader.begin() as connection, self._bounded(connection, timeout_s, deadline):
                yield connection
        except SQLAlchemyError as error:
            if time.monotonic() >= deadline or (isinstance(error, DBAPIError) and _is_timeout(error)):
                raise SearchTimeoutError from error
            raise DatabaseError(_plain(error)) from error

    @contextmanager
    def _bounded(self, connection: Connection, timeout_s: float, deadline: float) -> Iterator[None]:
        if not self.is_sqlite:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            connection.execute(text(f"SET LOCAL statement_timeout = {max(1, round(timeout_s * 1000))}"))
        info = connection.info
        info[_DEADLINE] = deadline
        try:
            with self._watched(connection, deadline):
                yield
        finally:
            del info[_DEADLINE]

    @contextmanager
    def _watched(self, connection: Connection, deadline: float) -> Iterator[None]:
        """SQLite looks at the clock itself while a statement runs."""
        if not self.is_sqlite:
            yield
            return
        raw = connection.connection.dbapi_connection
        if raw is None:
            raise DatabaseError("the connection is closed")
        raw.set_progress_handler(lambda: int(time.monotonic() >= deadline), CHECK_OPCODES)
        try:
            yield
        finally:
            raw.set_progress_handler(None, 0)

    def close(self) -> None:
        """Close all connections."""
        self.writer.dispose()
        self._reader.dispose()


def database_url(section: RichIndexerSection, data_dir: Path) -> URL:
    """Where the configured database is."""
    if section.db_type == "sqlite":
        path = data_dir / (section.store or "rich_indexer/sqlite.db")
        path.parent.mkdir(parents=True, exist_ok=True)
        return URL.create("sqlite", database=str(path))
    return URL.create(
        "postgresql+psycopg",
        username=section.db_user,
        password=section.db_password,
        host=section.db_host,
        port=section.db_port,
        database=section.db_name,
    )


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Many rows at once: COPY on PostgreSQL, one prepared INSERT on SQLite."""
    if not rows:
        return
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(rows))  # noqa: S608 - ours
        return
    raw: Any = connection.connection.dbapi_connection
    with raw.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def check_deadline(connection: Connection) -> None:
    """To be called between rows: of a long answer each fetch is a statement with a time of its own. Raises
    SearchTimeoutError."""
    if time.monotonic() >= connection.info.get(_DEADLINE, math.inf):
        raise SearchTimeoutError


def _before_statement(connection: Connection, *_: object) -> None:
    check_deadline(connection)


def _is_timeout(error: DBAPIError) -> bool:
    words = str(error.orig)
    return "interrupted" in words or "statement timeout" in words


def _plain(error: SQLAlchemyError) -> str:
    """The driver's own words, without the statement and its parameters."""
    return str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
