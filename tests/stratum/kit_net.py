"""A stratum server on loopback over a dev chain in this process, and miners that connect to it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckb_node.mining.feed import TemplateFeed, TipSignal
from ckb_node.stratum.service import StratumService
from ckb_node.stratum.settings import StratumSection
from ckb_node.stratum.shares import Judge
from consensus.params import PowFunc
from tests.support.chains.devchain import DevChain

SECONDS = 30.0
"""Far more than anything here takes."""
EASY = StratumSection(start_difficulty=1e-9, min_difficulty=1e-9)


@dataclass
class Serving:
    """The server, and where it listens."""

    service: StratumService
    feed: TemplateFeed
    host: str
    port: int


@asynccontextmanager
async def serving(dev: DevChain, section: StratumSection = EASY, root: Path | None = None) -> AsyncIterator[Serving]:
    """By TLS when a directory with cert.pem and key.pem is given."""
    feed = TemplateFeed(dev.chain, dev.pool.pool, dev.assembler, TipSignal(dev.chain), dev.clock.now_ms, 0.05)
    service = StratumService(dev.chain, section, dev.clock.now_ms)
    feed.listen(service)
    service.listen(("127.0.0.1", 0), root or Path(), is_tls=root is not None)
    ((host, port), _) = service.addresses[0]
    try:
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            tasks = [group.create_task(service.run()), group.create_task(feed.run())]
            yield Serving(service, feed, host, port)
            for task in tasks:
                task.cancel()
    finally:
        service.close()


class NetMiner:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.nonce1 = b""
        self.job: list[Any] = []

    async def read(self) -> dict[str, Any]:
        """The next line. ConnectionError at the end."""
        line = await self.reader.readline()
        if not line:
            raise ConnectionResetError
        message: dict[str, Any] = json.loads(line)
        if message.get("method") == "mining.notify":
            self.job = message["params"]
        return message

    async def answer(self, message_id: int) -> dict[str, Any]:
        """What came before it is passed over."""
        while (message := await self.read()).get("id") != message_id:
            pass
        return message

    async def until_job(self, height: int) -> None:
        while not self.job or self.job[2] < height:
            await self.read()

    def send(self, method: str, params: Any, message_id: int = 1) -> None:
        self.writer.write(json.dumps({"id": message_id, "method": method, "params": params}).encode() + b"\n")

    async def join(self, user: str = "worker") -> None:
        self.send("mining.subscribe", ["a miner"], 1)
        self.nonce1 = bytes.fromhex((await self.answer(1))["result"][1])
        self.send("mining.authorize", [user, "x"], 2)
        assert (await self.answer(2))["result"] is True

    def find(self, target: int, first: int = 0) -> str:
        """A nonce2 whose hash does not exceed the target, for the job at hand."""
        judge, pow_hash = Judge(PowFunc.EAGLESONG), bytes.fromhex(self.job[1])
        number = first
        while judge.hash_number(pow_hash, self.nonce1 + number.to_bytes(12, "big")) > target:
            number += 1
        return f"{number:024x}"

    async def closed(self) -> None:
        """Until the server has ended the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


@asynccontextmanager
async def miner(server: Serving, tls: ssl.SSLContext | None = None) -> AsyncIterator[NetMiner]:
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=tls)
    try:
        yield NetMiner(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
