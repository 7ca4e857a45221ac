"""A node's directory, and what the node makes of it, each time in a process of its own.

Children are forked from a process that has everything imported and no threads: a point takes a fraction of a second.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from click.testing import CliRunner

from ckb_node.chain.writer import ChainWriter
from ckb_node.cli.main import main
from ckb_node.config import load_config
from ckb_node.filters.builder import FilterMaker, RecentCells
from ckb_node.indexer.index import Index
from ckb_node.node import Node, open_node
from ckb_node.runtime.clock import SystemClock
from ckb_node.verification.scripts import ScriptService
from consensus.crypto.golomb import golomb_coded_set
from consensus.crypto.hashing import ZERO_HASH
from consensus.lookup import ChainDataError
from consensus.rules.block_filter import filter_hash
from consensus.types.blockchain import Block
from storage.chain_store import ChainStore
from storage.compare import state_differences
from storage.errors import StorageError
from storage.filters import BlockFilter
from storage.memory import MemoryStore
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.directories import make_node, mined

ACKNOWLEDGED: Final = 16
"""Blocks that the node has taken when the damage happens; the others of the chain come afterwards."""
OLDER: Final = 9
"""Blocks that it had when the older copy was made."""
REFUSED: Final = 66
FAULTY: Final = 70
"""A child's exit code after an exception that is no StorageError."""
LIMIT_S: Final = 300


def make_blocks(directory: Path) -> list[Block]:
    """The blocks of the chain. They are mined in a child, too: WebAssembly's threads would not survive a fork."""

    def mine() -> int:
        for block in mined():
            (directory / f"{block.number:03}.block").write_bytes(block.raw)
        return 0

    _must_go_well(in_child(mine, directory / "report"))
    return [Block.parse(path.read_bytes()) for path in sorted(directory.glob("*.block"))]


def build(root: Path, blocks: Sequence[Block]) -> None:
    """Make `root/node`, and `root/older`, a copy some blocks earlier; each start makes a table of the log."""
    make_node(root / "node")
    for first, last in ((0, 4), (4, OLDER), (OLDER, 12), (12, ACKNOWLEDGED)):
        _must_go_well(in_child(partial(take, root / "node", blocks[first:last]), root / "report"))
        if last == OLDER:
            shutil.copytree(root / "node", root / "older")


def take(directory: Path, blocks: Sequence[Block], look: Callable[[Node], None] = lambda _: None) -> int:
    """Open the node, let it take blocks, let index and filters follow, and look at it."""

    async def run() -> None:
        with open_node(load_config(directory)) as node:
            for block in blocks:
                await node.chain.process(block)
            _follow(node)
            look(node)

    asyncio.run(run())
    return 0


def _follow(node: Node) -> None:
    """As their tasks do: whose database fails stays behind alone."""
    for service in (node.indexer, node.filters):
        with suppress(StorageError, ChainDataError):
            while service is not None and not service.follower.step():
                pass


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code, negative for a signal, and what it said."""

    code: int
    said: str


def _must_go_well(outcome: Outcome) -> None:
    if outcome.code:
        raise RuntimeError(outcome.said)


def in_child(work: Callable[[], int], report: Path) -> Outcome:
    """Fork, work, and tell."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        with report.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            signal.alarm(LIMIT_S)
            code = FAULTY
            try:
                code = work()
            except (StorageError, ChainDataError) as error:
                print(f"ckb-node: {error}")
                code = REFUSED
            except BaseException:  # noqa: BLE001 - told to the parent
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    return Outcome(os.waitstatus_to_exitcode(status), report.read_text(errors="replace"))


def command(*arguments: str) -> int:
    """A command of the program, in this process."""
    result = CliRunner().invoke(main, arguments)
    print(result.output)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code


# ---------------------------------------------------------------- what is right


class Truth:
    """What a node must say: made of the blocks alone, without any file."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """The node's chain is a part of these, which follow genesis."""
        self._blocks: Final = [dev_consensus().genesis_block, *blocks]

    def faults_of(self, node: Node) -> list[str]:
        """What the node says that is not so. What it refuses to say is not wrong."""
        with node.chain.view() as view:
            tip = view.tip_header()
            if tip.number < ACKNOWLEDGED:
                return [f"the tip is block {tip.number}, {ACKNOWLEDGED} were acknowledged"]
            chain = self._blocks[: tip.number + 1]
            faults = [] if tip == chain[-1].header else ["the tip is another block"]
            for block in chain:
                with suppress(StorageError, ChainDataError):
                    found = view.block(block.hash)
                    if found is None or found.raw != block.raw:
                        faults.append(f"block {block.number} is missing or another")
            store = _stored(chain[1:])
            with suppress(StorageError, ChainDataError), store.view() as wanted:
                faults += state_differences(view, wanted)
        return faults + _filter_faults(node, chain, store) + _index_faults(node, chain)


def _stored(blocks: Sequence[Block]) -> ChainStore:
    """The chain in memory, its blocks taken without any rule."""
    store, consensus = ChainStore.in_memory(), dev_consensus()
    writer = ChainWriter(consensus, store, ScriptService(consensus), SystemClock().now_ms)
    writer.start(bytes(32))
    for block in blocks:
        writer.process_unverified(block)
    return store


def _filter_faults(node: Node, chain: Sequence[Block], store: ChainStore) -> list[str]:
    faults = []
    with store.view() as view:
        maker, parent = FilterMaker(view, RecentCells(), golomb_coded_set), ZERO_HASH
        for block in chain:
            data = maker.filter_data(block.hash)
            parent = filter_hash(parent, data)
            with suppress(StorageError):
                found = node.filters and node.filters.block_filter(block.number, block.hash)
                if found is not None and found != BlockFilter(data, parent):
                    faults.append(f"the filter of block {block.number} is another")
    return faults


def _index_faults(node: Node, chain: Sequence[Block]) -> list[str]:
    fresh = MemoryStore()
    index = Index(fresh)
    for block in chain:
        index.append(block)
    if node.indexer is None or node.indexer.tip() != index.tip():
        return []  # it says itself that it is behind
    with suppress(StorageError):
        if dict(node.indexer._store.iterator()) != dict(fresh.iterator()):
            return ["the index has other rows"]
    return []
