"""Fixtures: each test that asks for `store` runs on every key-value engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.kv import KeyValueStore
from storage.leveldb import LevelDbStore
from storage.memory import MemoryStore


@pytest.fixture(params=["leveldb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValueStore]:
    engine: KeyValueStore = LevelDbStore(tmp_path / "db") if request.param == "leveldb" else MemoryStore()
    yield engine
    engine.close()
