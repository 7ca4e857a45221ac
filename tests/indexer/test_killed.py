"""An indexer that is killed in the midst of building and rolling back has what a fresh one has of its blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.index import Index
from ckb_node.indexer.service import open_index
from ckb_node.rich_indexer import load
from ckb_node.rich_indexer.database import Database
from ckb_node.rich_indexer.schema import migrate
from storage.memory import MemoryStore
from tests.indexer.kit_killed import chain_of
from tests.indexer.kit_tables import all_rows

KILLS = (3, 11, 40, 90)
"""After so many steps; the process goes on until the signal comes."""


def kill_after(steps: int, kind: str, target: str, seed: int) -> None:
    command = [sys.executable, "-m", "tests.indexer.kit_killed", kind, target, str(seed)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(steps)]
        process.kill()
        assert process.stderr is not None
        assert all(lines), process.stderr.read().decode()


@pytest.mark.parametrize("steps", KILLS)
def test_the_key_value_index(tmp_path: Path, steps: int) -> None:
    kill_after(steps, "key_value", str(tmp_path / "index"), steps)
    store = open_index(tmp_path / "index")
    kept, fresh = Index(store), Index(MemoryStore())
    assert kept.is_sound(100)
    tip = kept.tip()
    if tip is not None:
        fresh.append_run(chain_of(steps)[: tip[0] + 1], tip[0])
    assert dict(kept.store.iterator()) == dict(fresh.store.iterator())
    store.close()


@pytest.mark.parametrize("steps", KILLS)
def test_the_tables(url: URL, tmp_path: Path, steps: int) -> None:
    kill_after(steps, "rich", url.render_as_string(hide_password=False), steps)
    kept = Database(url)
    fresh = Database(URL.create("sqlite", database=str(tmp_path / "fresh.db")))
    with kept.reading(60) as connection:
        tip = load.tip_of(connection)
    with fresh.writing() as connection:
        migrate(connection)
        if tip is not None:
            load.Loader(CustomFilters()).append(connection, chain_of(steps)[: tip[0] + 1])
    assert all_rows(kept) == all_rows(fresh)
    kept.close()
    fresh.close()
