"""A reorganisation of 1,000 blocks there and back with transactions, pool and indexer; a crash in the middle of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from ckb_node.chain.events import ChainChanged
from ckb_node.indexer.service import IndexerService
from consensus.types.blockchain import Block
from storage.memory import MemoryStore
from tests.support.chains.devchain import DevChain, assert_equals_replay, committed, dev_chain, pool_hashes
from tests.support.chains.two_branches import Branches, make_branches
from tests.support.nodes.directories import invoke
from tests.support.nodes.process import NodeProcess, RpcClient
from tests.support.nodes.quiet import feed, import_trusted, init_directory, quiet_node, submit

DEPTH = 1000
KILL_AFTER_S = (0.03, 0.3)


def parsed(raw_blocks: Sequence[bytes]) -> list[Block]:
    return [Block.parse(raw) for raw in raw_blocks]


async def take(dev: DevChain, blocks: Sequence[Block]) -> None:
    for block in blocks:
        await dev.chain.process(block)


@pytest.mark.slow
async def test_a_thousand_blocks_there_and_back() -> None:
    branches = make_branches(DEPTH, per_block=1, transfers=50)
    ours, theirs, end = parsed(branches.shorter), parsed(branches.longer), parsed(branches.end)
    async with dev_chain() as dev:
        indexer = IndexerService(dev.chain, MemoryStore())
        changes: list[ChainChanged] = []
        await take(dev, [*parsed(branches.base), *ours])
        dev.chain.listen(changes.append)
        for blocks, gone, come in ((theirs, ours, theirs), (end, theirs, [*ours, *end])):
            before = dev.chain.view()
            await take(dev, blocks)
            await dev.settle_pool()
            change = changes.pop(0)
            assert [block.hash for block in change.detached] == [block.hash for block in reversed(gone)]
            assert [block.hash for block in change.attached] == [block.hash for block in come]
            assert dev.chain.view().tip_header() == blocks[-1].header
            assert before.tip_header() == gone[-1].header, "who reads does not see half a reorganisation"
            assert await pool_hashes(dev) == committed(gone) - committed(come)
            while not indexer.follower.step():
                pass
            assert indexer.tip() == (blocks[-1].number, blocks[-1].hash)
            changes.clear()
        assert_equals_replay(dev)
        indexer.close()


def submit_or_not(rpc: RpcClient, block: Block) -> None:
    with suppress(OSError, HTTPException):
        submit(rpc, block)


@pytest.fixture(scope="module")
def small_branches() -> Branches:
    return make_branches(60, per_block=2)


@pytest.mark.slow
@pytest.mark.parametrize("after_s", KILL_AFTER_S)
def test_a_crash_leaves_the_old_chain_or_the_new(tmp_path: Path, small_branches: Branches, after_s: float) -> None:
    directory = tmp_path / "node"
    port = init_directory(directory)
    import_trusted(directory, [*small_branches.base, *small_branches.shorter])
    old, new = Block.parse(small_branches.shorter[-1]), Block.parse(small_branches.longer[-1])
    node = NodeProcess(directory, "run", port=port)
    try:
        node.wait_until_ready()
        feed(node.rpc, small_branches.longer[:-1])
        submitter = threading.Thread(target=submit_or_not, args=(node.rpc, new))
        submitter.start()
        time.sleep(after_s)
    finally:
        node.kill()
    submitter.join()
    checked = invoke("check", "-C", str(directory))
    assert checked.exit_code == 0, checked.stderr
    with quiet_node(directory, port) as node:
        tip = node.rpc.call("get_tip_header")["hash"]
        assert tip in {"0x" + old.hash.hex(), "0x" + new.hash.hex()}
        submit(node.rpc, new)
        assert node.rpc.call("get_tip_header")["hash"] == "0x" + new.hash.hex()
