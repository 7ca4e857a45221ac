"""Tables of the rich indexer, described for SQL users in docs/RICH-INDEXER.md, and how a database comes to have them.

Ids are made of the chain's own numbers, so whoever indexes a chain gets the same rows, and to roll blocks back is to
delete ranges of ids: a transaction is `number << 24 | index`, an output `number << 24 | its place among the block's
outputs`, and a script twice the id of the first output that has it as its lock, one more as its type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, MetaData, SmallInteger, Table
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

BLOCKS: Final = Table(
    "block",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)
TRANSACTIONS: Final = Table(
    "ckb_transaction",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
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
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("code_hash", LargeBinary, nullable=False),
    Column("hash_type", SmallInteger, nullable=False),
    Column("args_head", LargeBinary, nullable=False),
    Column("args", LargeBinary, nullable=False),
    Index("script_by_hash", "hash", unique=True),
    Index("script_by_code", "code_hash", "hash_type", "args_head"),
)
OUTPUTS: Final = Table(
    "output",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("tx_id", BigInteger, nullable=False),
    Column("output_index", Integer, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("lock_id", BigInteger, nullable=False),
    Column("type_id", BigInteger),
    Column("spent_tx_id", BigInteger),
    Column("spent_index", Integer),
    Column("data", LargeBinary, nullable=False),
)
_is_live = OUTPUTS.c.spent_tx_id.is_(None)
_is_spent = OUTPUTS.c.spent_tx_id.is_not(None)
_has_type = OUTPUTS.c.type_id.is_not(None)
_INDEXES: Final = (
    Index("output_by_lock", OUTPUTS.c.lock_id, OUTPUTS.c.id),
    Index("output_by_type", OUTPUTS.c.type_id, OUTPUTS.c.id, sqlite_where=_has_type, postgresql_where=_has_type),
    Index("live_by_lock", OUTPUTS.c.lock_id, OUTPUTS.c.id, sqlite_where=_is_live, postgresql_where=_is_live),
    Index("live_by_type", OUTPUTS.c.type_id, OUTPUTS.c.id, sqlite_where=_is_live, postgresql_where=_is_live),
    Index("output_by_spender", OUTPUTS.c.spent_tx_id, sqlite_where=_is_spent, postgresql_where=_is_spent),
)


class SchemaError(Exception):
    """The database cannot be used by this version."""


def _first(connection: Connection) -> None:
    METADATA.create_all(connection)


MIGRATIONS: Final[Sequence[Callable[[Connection], None]]] = (_first,)
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
