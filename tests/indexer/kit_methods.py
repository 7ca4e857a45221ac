"""A client of either indexer's methods over a node's chain."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import URL

from ckb_node.indexer.service import IndexerOptions, IndexerService
from ckb_node.rich_indexer.service import RichIndexerService
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.methods.indexer import METHODS, RICH_METHODS
from ckb_node.rpc.registry import Methods, Registry
from ckb_node.rpc.services import Services
from consensus.types.blockchain import Script
from storage.memory import MemoryStore
from tests.support.chains.devchain import DevChain
from tests.support.nodes.idle_network import idle_net

Indexer = TypeVar("Indexer", IndexerService, RichIndexerService)


class Client(Generic[Indexer]):
    """Calls by name."""

    def __init__(self, indexer: Indexer, services: Services, methods: Methods) -> None:
        self.indexer: Indexer = indexer
        registry = Registry(services, [methods.module])
        registry.add(methods)
        self._dispatcher = Dispatcher(registry)

    async def answer_text(self, method: str, *params: object) -> bytes:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await self._dispatcher.dispatch(json.dumps(request).encode())

    async def answer(self, method: str, *params: object) -> Any:
        return json.loads(await self.answer_text(method, *params))

    async def text(self, method: str, *params: object) -> bytes:
        """The result as it was written."""
        answer: dict[str, msgspec.Raw] = msgspec.json.decode(
            await self.answer_text(method, *params), type=dict[str, msgspec.Raw]
        )
        return bytes(answer["result"])

    async def call(self, method: str, *params: object) -> Any:
        answer = await self.answer(method, *params)
        assert "result" in answer, answer
        return answer["result"]

    async def error(self, method: str, *params: object) -> tuple[int, str]:
        error = (await self.answer(method, *params))["error"]
        return error["code"], error["message"]

    def catch_up(self) -> None:
        while not self.indexer.follower.step():
            pass


@asynccontextmanager
async def key_value(dev: DevChain, options: IndexerOptions | None = None) -> AsyncIterator[Client[IndexerService]]:
    indexer = IndexerService(dev.chain, MemoryStore(), options=options)
    try:
        yield Client(indexer, _services(dev, indexer=indexer), METHODS)
    finally:
        indexer.close()


@asynccontextmanager
async def rich(
    dev: DevChain, directory: Path, options: IndexerOptions | None = None
) -> AsyncIterator[Client[RichIndexerService]]:
    """On SQLite."""
    indexer = RichIndexerService(dev.chain, URL.create("sqlite", database=str(directory / "rich.db")), options)
    try:
        yield Client(indexer, _services(dev, rich_indexer=indexer), RICH_METHODS)
    finally:
        indexer.close()


def _services(dev: DevChain, **indexers: Any) -> Services:
    net = idle_net(dev.chain, bytes(31) + b"\1", "test", dev.clock.now_ms)
    return Services(chain=dev.chain, pool=dev.pool, net=net, clock=dev.clock, **indexers)


def search_key(script: Script, script_type: str = "lock", **more: object) -> dict[str, object]:
    kinds = {0: "data", 1: "type", 2: "data1", 4: "data2"}
    shown = {
        "code_hash": "0x" + script.code_hash.hex(),
        "hash_type": kinds[script.hash_type],
        "args": "0x" + script.args.hex(),
    }
    return {"script": shown, "script_type": script_type, **more}
