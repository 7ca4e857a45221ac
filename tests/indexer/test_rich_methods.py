"""Module RichIndexer as clients call it, over a node's chain; on SQLite."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from ckb_node.indexer.query import Terms
from ckb_node.indexer.service import IndexerOptions
from ckb_node.rich_indexer.service import RichIndexerService
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.methods.rich_indexer import METHODS
from ckb_node.rpc.registry import Module, Registry
from ckb_node.rpc.services import Services
from consensus.types.blockchain import Script
from tests.support.chains.branches import branch
from tests.support.chains.devchain import DevChain
from tests.support.chains.funded_pool import ALICE, BOB, CELL, funded
from tests.support.nodes.idle_network import idle_net


class Client:
    """Calls by name, after the tables have followed the chain."""

    def __init__(self, dev: DevChain, indexer: RichIndexerService) -> None:
        self.indexer = indexer
        net = idle_net(dev.chain, bytes(31) + b"\1", "test", dev.clock.now_ms)
        services = Services(chain=dev.chain, pool=dev.pool, net=net, clock=dev.clock, rich_indexer=indexer)
        registry = Registry(services, [Module.RICH_INDEXER])
        registry.add(METHODS)
        self._dispatcher = Dispatcher(registry)

    async def answer(self, method: str, *params: object) -> Any:
        while not self.indexer.follower.step():
            pass
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return json.loads(await self._dispatcher.dispatch(json.dumps(request).encode()))

    async def call(self, method: str, *params: object) -> Any:
        answer = await self.answer(method, *params)
        assert "result" in answer, answer
        return answer["result"]

    async def refusal(self, method: str, *params: object) -> str:
        error = (await self.answer(method, *params))["error"]
        assert error["code"] == -1200
        return str(error["message"])


@asynccontextmanager
async def indexed(dev: DevChain, directory: Path, options: IndexerOptions | None = None) -> AsyncIterator[Client]:
    indexer = RichIndexerService(dev.chain, URL.create("sqlite", database=str(directory / "rich.db")), options)
    try:
        yield Client(dev, indexer)
    finally:
        indexer.close()


def key(script: Script, args: bytes | None = None, **more: object) -> dict[str, object]:
    shown = {
        "code_hash": "0x" + script.code_hash.hex(),
        "hash_type": "type",
        "args": "0x" + (script.args if args is None else args).hex(),
    }
    return {"script": shown, "script_type": "lock", **more}


async def test_cells_and_capacity_follow_the_chain(tmp_path: Path) -> None:
    async with funded(4) as funds, indexed(funds.dev, tmp_path) as client:
        tip = funds.dev.chain.view().tip_header()
        assert await client.call("get_indexer_tip") == {
            "block_hash": "0x" + tip.hash.hex(),
            "block_number": hex(tip.number),
        }
        page = await client.call("get_cells", key(ALICE.lock), "asc", "0x64")
        assert len(page["objects"]) == 5
        before = await client.call("get_cells_capacity", key(ALICE.lock))
        tx = funds.spend(to=BOB.lock)
        await funds.submit(tx)
        await funds.dev.mine(4)
        after = await client.call("get_cells_capacity", key(ALICE.lock))
        assert int(after["capacity"], 16) == int(before["capacity"], 16) - CELL
        found = await client.call("get_transactions", key(BOB.lock), "desc", "0x1")
        assert found["objects"][0]["tx_hash"] == "0x" + tx.hash.hex()
        part = key(BOB.lock, BOB.lock.args[5:9], script_search_mode="partial")
        assert (await client.call("get_cells", part, "desc", "0x1"))["objects"][0]["output"]["lock"]["args"] == (
            "0x" + BOB.lock.args.hex()
        )
        assert await client.call("get_cells_capacity", key(BOB.lock, bytes(20))) is None
        empty = await client.call("get_cells", key(BOB.lock, bytes(20)), "asc", "0x1")
        assert empty == {"objects": [], "last_cursor": "0x"}
        none = await client.call("get_transactions", key(BOB.lock, bytes(20)), "asc", "0x1")
        assert none == {"objects": [], "last_cursor": "0x" + "00" * 12}


async def test_pages_give_everything_once(tmp_path: Path) -> None:
    async with funded(7) as funds, indexed(funds.dev, tmp_path) as client:
        cases: tuple[tuple[str, dict[str, Any]], ...] = (
            ("get_cells", {}),
            ("get_transactions", {}),
            ("get_transactions", {"group_by_transaction": True}),
        )
        for method, more in cases:
            for order in ("asc", "desc"):
                whole = (await client.call(method, key(ALICE.lock, **more), order, "0x64"))["objects"]
                joined: list[Any] = []
                cursor = None
                while page := (answer := await client.call(method, key(ALICE.lock, **more), order, "0x2", cursor))[
                    "objects"
                ]:
                    joined += page
                    cursor = answer["last_cursor"]
                assert joined == whole
                assert len(whole) >= 2


async def test_a_reorganisation(tmp_path: Path) -> None:
    longer = await branch(b"longer", 9)
    async with funded(2) as funds, indexed(funds.dev, tmp_path) as client:
        split = "0x" + funds.splitting.hash.hex()
        found = await client.call("get_transactions", key(ALICE.lock), "desc", "0x64")
        assert split in {each["tx_hash"] for each in found["objects"]}
        for block in longer:
            await funds.dev.chain.submit_block(block)
        tip = funds.dev.chain.view().tip_header()
        assert tip == longer[-1].header
        assert (await client.call("get_indexer_tip"))["block_hash"] == "0x" + tip.hash.hex()
        found = await client.call("get_transactions", key(ALICE.lock), "desc", "0x64")
        assert split not in {each["tx_hash"] for each in found["objects"]}


async def test_limits(tmp_path: Path) -> None:
    options = IndexerOptions(request_limit=3, terms=Terms(timeout_s=1e-9))
    async with funded(1) as funds, indexed(funds.dev, tmp_path, options) as client:
        for method in ("get_cells", "get_transactions"):
            assert "limit must be less than 3" in await client.refusal(method, key(ALICE.lock), "asc", "0x4")
            assert "limit should be greater than 0" in await client.refusal(method, key(ALICE.lock), "asc", "0x0")
        assert "'after' parameter" in await client.refusal("get_transactions", key(ALICE.lock), "asc", "0x1", "0x00")
