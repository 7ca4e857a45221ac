"""Real nodes that are killed while they build an index and while it follows a reorganisation: afterwards it is that of
the chain. What a table may be in when its writer dies is tried more often in test_killed.py."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.index import Index
from ckb_node.indexer.service import INDEXER_DIRECTORY, open_index
from ckb_node.rich_indexer import load
from ckb_node.rich_indexer.database import Database
from ckb_node.rich_indexer.schema import migrate
from consensus.lookup import require
from consensus.types.blockchain import Block
from storage.chain_store import ChainStore
from storage.memory import MemoryStore
from tests.indexer.kit_tables import all_rows
from tests.support.chains.two_branches import Branches, make_branches
from tests.support.fuzz import FACTOR
from tests.support.nodes.process import NodeProcess, RpcClient
from tests.support.nodes.quiet import feed, import_trusted, init_directory, submit

pytestmark = [pytest.mark.slow, pytest.mark.fuzz, pytest.mark.timeout(600)]

DEPTH, PER_BLOCK = 300, 8
KILL_AFTER_S = (0.0, 0.05, 0.15, 0.3) if FACTOR > 1 else (0.05, 0.3)
"""After the node has begun to build, or has the new branch. Each takes a start of the node: `make fuzz` tries more."""
INDEXED_S = 60.0


@pytest.fixture(scope="module")
def branches() -> Branches:
    return make_branches(DEPTH, PER_BLOCK)


@pytest.fixture(scope="module")
def imported(branches: Branches, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    home = tmp_path_factory.mktemp("imported") / "node"
    port = init_directory(home)
    import_trusted(home, [*branches.base, *branches.shorter])
    return home, port


class Node:
    """A directory, and the nodes that run in it one after the other."""

    def __init__(self, home: Path, port: int, option: str) -> None:
        self.home, self._port, self._option = home, port, option

    @contextmanager
    def killed(self) -> Iterator[RpcClient]:
        """A node that is killed at the end."""
        node = NodeProcess(self.home, "run", self._option, port=self._port)
        try:
            node.wait_until_ready()
            yield node.rpc
        finally:
            node.kill()

    def finish(self) -> None:
        """Let a node index to the tip, and end in order."""
        node = NodeProcess(self.home, "run", self._option, port=self._port)
        try:
            node.wait_until_ready()
            wait_until_indexed(node.rpc)
            node.stop()
        finally:
            if node.process.poll() is None:
                node.kill()

    def main_chain(self) -> list[Block]:
        with ChainStore.open(self.home / "data/chain") as store, store.view() as view:
            return [require(view.block(block_hash), "block", block_hash) for _, block_hash in view.main_hashes(0)]


def wait_until_indexed(rpc: RpcClient) -> None:
    deadline = time.monotonic() + INDEXED_S
    while not is_indexed(rpc):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_indexed(rpc: RpcClient) -> bool:
    tip = rpc.call("get_tip_header")["hash"]
    return bool((rpc.call("get_indexer_tip") or {}).get("block_hash") == tip)


def kill_again_and_again(node: Node, branches: Branches) -> None:
    """While it builds, while it goes to another branch, while it goes back."""
    for after_s in KILL_AFTER_S:
        with node.killed():
            time.sleep(after_s)
    node.finish()
    for branch in (branches.longer, branches.end):
        with node.killed() as rpc:
            wait_until_indexed(rpc)
            feed(rpc, branch[:-1])
            submit(rpc, Block.parse(branch[-1]))
            assert rpc.call("get_tip_header")["hash"] == "0x" + Block.parse(branch[-1]).hash.hex()
        for after_s in KILL_AFTER_S:
            with node.killed():
                time.sleep(after_s)
    node.finish()


def test_the_key_value_index(imported: tuple[Path, int], branches: Branches, tmp_path: Path) -> None:
    source, port = imported
    home = tmp_path / "node"
    shutil.copytree(source, home)
    node = Node(home, port, "--indexer")
    kill_again_and_again(node, branches)
    chain, fresh = node.main_chain(), Index(MemoryStore())
    assert chain[-1].hash == Block.parse(branches.end[-1]).hash
    fresh.append_run(chain, chain[-1].number)
    store = open_index(home / "data" / INDEXER_DIRECTORY)
    assert dict(store.iterator()) == dict(fresh.store.iterator())
    store.close()


def test_the_tables(url: URL, imported: tuple[Path, int], branches: Branches, tmp_path: Path) -> None:
    source, port = imported
    home = tmp_path / "node"
    shutil.copytree(source, home)
    if url.get_backend_name() != "sqlite":
        with (home / "config.toml").open("a", encoding="utf-8") as config:
            config.write(
                f'\n[indexer_v2.rich_indexer]\ndb_type = "postgres"\ndb_name = "{url.database}"\n'
                f'db_host = "{url.host}"\ndb_port = {url.port}\ndb_user = "{url.username}"\n'
            )
    else:
        url = URL.create("sqlite", database=str(home / "data/rich_indexer/sqlite.db"))
    node = Node(home, port, "--rich-indexer")
    kill_again_and_again(node, branches)
    chain = node.main_chain()
    kept, fresh = Database(url), Database(URL.create("sqlite", database=str(tmp_path / "fresh.db")))
    with fresh.writing() as connection:
        migrate(connection)
        load.Loader(CustomFilters()).append(connection, chain)
    assert all_rows(kept) == all_rows(fresh)
    kept.close()
    fresh.close()
