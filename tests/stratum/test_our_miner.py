"""`ckb-node miner` at a node's stratum server, in each dialect that it speaks: real processes, real blocks."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ckb_node.dev_accounts import MINER_ARG
from ckb_node.specs import bundled_text
from tests.support.nodes.directories import OK, invoke
from tests.support.nodes.process import START_S, NodeProcess, RpcClient, free_port

pytestmark = pytest.mark.slow

TARGET = "0x1e100000"
"""A million nonces a block: some tenths of a second."""
SHARES = 2
MINING_S = 100.0


@dataclass(frozen=True)
class Serving:
    """A node that does not mine, and where its miners connect."""

    rpc: RpcClient
    port: int
    miners: Path
    """Their directory, without a configuration."""

    def status(self) -> Any:
        return self.rpc.call("stratum.status")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """On a chain whose proof of work is Eaglesong, and as easy as it stays in the first epoch."""
    root = tmp_path_factory.mktemp("our-miner")
    text = bundled_text("dev")
    for key, value in (("func", '"Eaglesong"'), ("compact_target", TARGET), ("genesis_epoch_length", "1000")):
        text, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert count == 1
    spec = root / "spec.toml"
    spec.write_text(text)
    directory, port = root / "node", free_port()
    options = ("--import-spec", str(spec), "--rpc-port", str(port), "--p2p-port", "0", "--ba-arg", MINER_ARG)
    assert invoke("init", "-C", str(directory), "-c", "dev", *options).exit_code == OK
    running = NodeProcess(directory, "dev", "--stratum", "0", port=port)
    try:
        running.wait_until_ready()
        found = re.search(r"miners   stratum\+tcp://127\.0\.0\.1:(\d+)\n", running.output())
        assert found is not None
        miners = root / "miners"
        miners.mkdir()
        yield Serving(running.rpc, int(found[1]), miners)
        assert running.stop() < START_S
    finally:
        if running.process.poll() is None:
            running.kill()


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Nothing is left to the garbage collector."""
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def pool_of_old(port: int) -> AsyncIterator[int]:
    """In front of a pool: whoever begins with `mining.subscribe` is told that there is no such method. Its port."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    served = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        async with closing(writer):
            line = await reader.readline()
            message = json.loads(line)
            if message["method"] == "mining.subscribe":
                writer.write(json.dumps({"id": message["id"], "error": [20, "unknown method", None]}).encode() + b"\n")
                return
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            async with closing(to_writer):
                to_writer.write(line)
                await asyncio.gather(relay(reader, to_writer), relay(to_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)


async def mine(port: int, agent: str, user: str, directory: Path) -> str:
    """Our miner until so many shares are accepted; what it printed."""
    options = (
        "--stratum",
        f"127.0.0.1:{port}",
        "--user",
        user,
        "--threads",
        "1",
        "--limit",
        str(SHARES),
        "-C",
        str(directory),
    )
    command = ("-m", "ckb_node", "miner", *options, *(("--agent", agent) if agent else ()))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(MINING_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output[-3000:]
    return output.decode()


@pytest.mark.parametrize(
    ("dialect", "agent"),
    [
        ("common", ""),
        ("k7", "GodMiner/2.0.1"),
        ("goldshell", "intminer/1.0"),
        ("nicehash", "NiceHash/1.0.0"),
        ("submit_login", ""),
    ],
)
async def test_each_share_is_a_block_that_the_chain_has_once(node: Serving, dialect: str, agent: str) -> None:
    async with asyncio.timeout(MINING_S):
        if dialect == "submit_login":
            async with pool_of_old(node.port) as port:
                printed = await mine(port, agent, f"{dialect}.rig", node.miners)
        else:
            printed = await mine(node.port, agent, f"{dialect}.rig", node.miners)
        assert f"{SHARES} shares accepted" in printed
        while int((status := node.status())["outcomes"]["under_way"], 16):  # noqa: ASYNC110 - of the node
            await asyncio.sleep(0.05)
    assert [int(status["shares"][each], 16) for each in ("low_difficulty", "duplicate", "unknown_job")] == [0, 0, 0]
    assert status["outcomes"]["refused"] == "0x0"
    assert status["shares"]["block"] == status["found_blocks"]
    assert int(status["outcomes"]["main"], 16) == node.rpc.tip()
    found = node.rpc.call("stratum.blocks")
    assert len({each["hash"] for each in found}) == len(found) == int(status["found_blocks"], 16)
    assert len([each for each in found if each["worker"] == f"{dialect}.rig"]) >= SHARES
    assert all(node.rpc.call("get_block", each["hash"]) for each in found if each["outcome"] == "main")
