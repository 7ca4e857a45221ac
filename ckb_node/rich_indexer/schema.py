"""Tables of the rich indexer, described for SQL users in docs/RICH-INDEXER.md, and how a database comes to have them.

Ids are made of the chain's own numbers, so whoever indexes a chain gets the same rows, and to roll blocks back is to
delete ranges of ids: a transaction is `number << 24 | index`, an output `number << 24 | its place among the block's
outputs`, and a script twice the id of the first output that has it as its lock, one more as its type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    and_,
    text,
)
from sqlalchemy import inspect as inspect_database

BLOCK_BITS: Final = 24
"""A block has fewer transactions and fewer outputs than 2 ** BLOCK_BITS."""

HEAD: Final = 64
"""Bytes of a script's arguments that are in an index: entries of PostgreSQL's have a limit, arguments have none."""

METADATA: Final = MetaData()

VERSION_TABLE: Final = Table(
    "schema_version", METADATA, Column("version", Integer, primary_key=True, autoincrement=False)
)
SETTINGS: Final = Table(
    "indexer_settings", METADATA, Column("name", LargeBinary(64), primary_key=True), Column("value", LargeBinary)
)


def _number(name: str) -> Column[int]:
    """A primary key that follows from the chain. SQLite finds a row of such by one search, of another type by two;
    databases that were made before 2026-12 have that."""
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


BLOCKS: Final = Table(
    "block",
    METADATA,
    _number("number"),
    _bytes("hash"),
    Column("timestamp", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)
TRANSACTIONS: Final = Table(
    "ckb_transaction",
    METADATA,
    _number("id"),
    _bytes("hash"),
    Column("block_number", BigInteger, nullable=False),
    Column("tx_index", Integer, nullable=False),
    Column("input_count", Integer, nullable=False),
    Column("output_count", Integer, nullable=False),
    Column("first_output", BigInteger, nullable=False),
    Index("transaction_by_hash", "hash"),
)
SCRIPTS: Final = Table(
    "script",
    METADATA,
    _number("id"),
    _bytes("hash"),
    _bytes("code_hash"),
    Column("hash_type", SmallInteger, nullable=False),
    _bytes("args_head"),
    _bytes("args"),
    Index("script_by_hash", "hash", unique=True),
    Index("script_by_code", "code_hash", "hash_type", "args_head"),
)
OUTPUTS: Final = Table(
    "output",
    METADATA,
    _number("id"),
    Column("tx_id", BigInteger, nullable=False),
    Column("output_index", Integer, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("lock_id", BigInteger, nullable=False),
    Column("type_id", BigInteger),
    Column("spent_tx_id", BigInteger),
    Column("spent_index", Integer),
    _bytes("data"),
)
_is_live = OUTPUTS.c.spent_tx_id.is_(None)
_is_spent = OUTPUTS.c.spent_tx_id.is_not(None)
_has_type = OUTPUTS.c.type_id.is_not(None)


def _index(name: str, where: ColumnElement[bool], *columns: ColumnElement[Any]) -> Index:
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


_LOCK, _TYPE, _ID, _CAPACITY = OUTPUTS.c.lock_id, OUTPUTS.c.type_id, OUTPUTS.c.id, OUTPUTS.c.capacity
_SPENDER = OUTPUTS.c.spent_tx_id, OUTPUTS.c.spent_index
_INDEXES: Final = (
    Index("output_by_lock", _LOCK, _ID),
    _index("output_by_type", _has_type, _TYPE, _ID),
    _index("output_by_spender", _is_spent, OUTPUTS.c.spent_tx_id),
)
_SECOND_INDEXES: Final = (
    # With the capacity sums of it need nothing else; with the spender a page of inputs needs no sorting.
    _index("live_cell_by_lock", _is_live, _LOCK, _ID, _CAPACITY),
    _index("live_cell_by_type", and_(_is_live, _has_type), _TYPE, _ID, _CAPACITY),
    _index("spent_cell_by_lock", _is_spent, _LOCK, *_SPENDER),
    _index("spent_cell_by_type", and_(_is_spent, _has_type), _TYPE, *_SPENDER),
)


LIVE_BY: Final = {"lock_id": "live_cell_by_lock", "type_id": "live_cell_by_type"}
"""The index of live cells by each column of scripts."""


class SchemaError(Exception):
    """The database cannot be used by this version."""


def _first(connection: Connection) -> None:
    METADATA.create_all(connection)


def _second(connection: Connection) -> None:
    for name in ("live_by_lock", "live_by_type"):
        connection.execute(text(f"DROP INDEX IF EXISTS {name}"))
    for index in _SECOND_INDEXES:
        index.create(connection, checkfirst=True)


MIGRATIONS: Final[Sequence[Callable[[Connection], None]]] = (_first, _second)
"""Migration i makes version i + 1 of version i, in the transaction that notes the version."""


def migrate(connection: Connection) -> None:
    """Bring the database to the newest version. Raises SchemaError for one of a later program."""
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise SchemaError(f"the database has version {version}; this program knows versions up to {len(MIGRATIONS)}")
    for number in range(version, len(MIGRATIONS)):
        MIGRATIONS[number](connection)
        connection.execute(VERSION_TABLE.insert(), {"version": number + 1})


def _version(connection: Connection) -> int:
    inspector = inspect_database(connection)
    if not inspector.has_table(VERSION_TABLE.name):
        if inspector.has_table(BLOCKS.name):
            raise SchemaError("the database has tables of another program; give the rich indexer one of its own")
        return 0
    versions = [row[0] for row in connection.execute(VERSION_TABLE.select())]
    return max(versions, default=0)
