"""Fixtures: each test that asks for `store` or `chain_store` runs on every key-value engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.chain_store import ChainStore
from storage.kv import KeyValueStore
from storage.leveldb import LevelDbStore
from storage.memory import MemoryStore
from tests.storage.kit_chain import OPTIONS


@pytest.fixture(params=["leveldb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValueStore]:
    engine: KeyValueStore = LevelDbStore(tmp_path / "db") if request.param == "leveldb" else MemoryStore()
    yield engine
    engine.close()


@pytest.fixture(params=["disk", "memory"])
def chain_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChainStore]:
    opened = ChainStore.open(tmp_path / "data", OPTIONS) if request.param == "disk" else ChainStore.in_memory()
    yield opened
    opened.close()
