"""Versions of the schema, and the steps between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.chain_store import ChainStore
from storage.errors import (
    SchemaTooNew,
    StorageCorrupt,
    StorageError,
)
from storage.kv import KeyValueStore
from storage.leveldb import LevelDbStore
from storage.memory import MemoryStore
from storage.migrations import bring_to_version, schema_version
from storage.schema import META_SCHEMA, SCHEMA_VERSION
from tests.storage.kit_chain import engine


def test_schema_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    store = ChainStore.open(tmp_path)
    engine(store).put(META_SCHEMA, (SCHEMA_VERSION + 1).to_bytes(4, "little"))
    store.close()
    with pytest.raises(SchemaTooNew, match="upgrade the program") as caught:
        ChainStore.open(tmp_path)
    assert (caught.value.found, caught.value.supported) == (SCHEMA_VERSION + 1, SCHEMA_VERSION)


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    foreign = LevelDbStore(tmp_path / "db")
    foreign.put(b"something", b"else")
    foreign.close()
    with pytest.raises(StorageCorrupt, match="not a chain database"):
        ChainStore.open(tmp_path)


def test_migrations_run_step_by_step() -> None:
    store = MemoryStore()
    store.put(META_SCHEMA, (1).to_bytes(4, "little"))
    seen: list[int | None] = []

    def step(db: KeyValueStore) -> None:
        seen.append(schema_version(db))

    def broken(_db: KeyValueStore) -> None:
        raise StorageError("db", "disk on fire")

    with pytest.raises(StorageError, match="fire"):
        bring_to_version(store, Path("db"), target=3, migrations={1: step, 2: broken})
    assert schema_version(store) == 2
    bring_to_version(store, Path("db"), target=4, migrations={1: step, 2: step, 3: step})
    assert seen == [1, 2, 3]
    assert schema_version(store) == 4
    with pytest.raises(StorageCorrupt, match="no migration"):
        bring_to_version(store, Path("db"), target=5, migrations={})
