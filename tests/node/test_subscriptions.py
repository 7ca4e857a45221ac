"""A node and subscribers by TCP and WebSocket: what they hear of chain, pool and log."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from ckb_node.config import Config, parse_config
from ckb_node.node import Node, open_node, running
from ckb_node.rpc.subscriptions import Topic
from ckb_node.runtime.log_control import LogControl
from ckb_node.runtime.settings import LoggerSection
from tests.support.asking import as_json
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.nodes.process import free_port
from tests.support.nodes.speakers import LineSpeaker, SocketSpeaker, Speaker

ALICE, BOB = Wallet(ALICE_KEY), Wallet(BOB_KEY)
_ids = itertools.count(1)


def config_of(path: Path, tcp: int, ws: int) -> Config:
    return Config(
        path,
        parse_config(
            f"""
            [chain]
            spec = {{ bundled = "dev" }}
            [rpc]
            listen_address = "127.0.0.1:{free_port()}"
            tcp_listen_address = "127.0.0.1:{tcp}"
            ws_listen_address = "127.0.0.1:{ws}"
            modules = ["Chain", "Pool", "Miner", "IntegrationTest", "Subscription"]
            [block_assembler]
            code_hash = "0x{BOB.lock.code_hash.hex()}"
            args = "0x{BOB.lock.args.hex()}"
            hash_type = "type"
            """
        ),
    )


def _no_handler(_: object) -> logging.Handler:
    return logging.NullHandler()


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[tuple[Node, list[Speaker]]]:
    """A node, and a client of each kind."""
    tcp, ws = free_port(), free_port()
    logs = LogControl(LoggerSection(log_to_file=False, log_to_stdout=False), path, "run", _no_handler, _no_handler)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        node = stack.enter_context(open_node(config_of(path, tcp, ws), logs))
        await stack.enter_async_context(running(node, 2000, mine=False))
        reader, writer = await asyncio.open_connection("127.0.0.1", tcp, limit=1 << 24)
        stack.callback(writer.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        socket = await stack.enter_async_context(session.ws_connect(f"http://127.0.0.1:{ws}/", max_msg_size=0))
        yield node, [LineSpeaker(reader, writer), SocketSpeaker(socket)]


async def test_the_log_says_where_rpc_listens_in_the_words_that_tools_wait_for(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with served(tmp_path):
            pass
    said = [line["event"] for line in logs if "RPCServer" in line["event"]]
    assert [re.sub(r":\d+$", ":", each) for each in said] == [
        f"Listen {transport} RPCServer on address: 127.0.0.1:" for transport in ("HTTP", "WebSocket", "TCP")
    ]


async def call(speaker: Speaker, method: str, *params: Any, heard: list[Any]) -> Any:
    """The result; events that come before it are noted."""
    identity = next(_ids)
    await speaker.send(json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode())
    while (message := await speaker.hear()).get("id") != identity:
        heard.append(message)
    return message["result"]


async def events(speaker: Speaker, names: dict[str, str], count: int, heard: list[Any]) -> list[tuple[str, Any]]:
    """So many events as (topic, what was told)."""
    while len(heard) < count:
        heard.append(await speaker.hear())
    told = [(names[each["params"]["subscription"]], json.loads(each["params"]["result"])) for each in heard]
    heard.clear()
    return told


async def test_subscribers_hear_of_blocks_and_transactions(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, speakers):
        for speaker in speakers:
            heard: list[Any] = []
            topics = [topic.value for topic in Topic if topic is not Topic.LOG]
            names = {await call(speaker, "subscribe", topic, heard=heard): topic for topic in topics}
            cell = issued_cell(node.consensus, ALICE) if speaker is speakers[0] else issued_cell(node.consensus, BOB)
            owner = ALICE if speaker is speakers[0] else BOB
            transaction = owner.transfer(node.consensus, [cell], [(BOB.lock, CKB * 100)])
            sent = await call(speaker, "send_transaction", as_json(transaction), heard=heard)
            ((topic, entry),) = await events(speaker, names, 1, heard)
            assert topic == "new_transaction"
            assert entry["transaction"]["hash"] == sent
            assert entry.keys() == {"transaction", "cycles", "size", "fee", "timestamp"}
            hashes = [await call(speaker, "generate_block", heard=heard) for _ in range(2)]
            told = await events(speaker, names, 5, heard)
            assert [each["hash"] for topic, each in told if topic == "new_tip_header"] == hashes
            assert [each["header"]["hash"] for topic, each in told if topic == "new_tip_block"] == hashes
            assert [topic for topic, _ in told if not topic.startswith("new_tip")] == ["proposed_transaction"]
            block = await call(speaker, "get_block", hashes[-1], heard=heard)
            assert dict(told)["new_tip_block"] == block, "as the method tells it"
            assert dict(told)["new_tip_header"] == block["header"]
            await call(speaker, "generate_block", heard=heard)
            await events(speaker, names, 2, heard)
            for identity in names:
                assert await call(speaker, "unsubscribe", identity, heard=heard) is True


async def test_of_a_reorganisation_the_new_tip_is_told_and_of_a_cut_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, (speaker, _)):
        heard: list[Any] = []
        genesis = await call(speaker, "get_block_hash", "0x0", heard=heard)
        first = [await call(speaker, "generate_block", heard=heard) for _ in range(2)]
        blocks = [await call(speaker, "get_block", each, heard=heard) for each in first]
        await call(speaker, "truncate", genesis, heard=heard)
        names = {await call(speaker, "subscribe", "new_tip_header", heard=heard): "header"}
        other = await call(speaker, "generate_block", heard=heard)
        assert [each["hash"] for _, each in await events(speaker, names, 1, heard)] == [other]
        for view in blocks:
            header = {key: value for key, value in view["header"].items() if key != "hash"}
            transactions = [{k: v for k, v in tx.items() if k != "hash"} for tx in view["transactions"]]
            body = view | {"header": header, "transactions": transactions}
            await call(speaker, "submit_block", "0x0", body, heard=heard)
        assert await call(speaker, "get_tip_header", heard=heard) == blocks[-1]["header"]
        assert [each["hash"] for _, each in await events(speaker, names, 1, heard)] == [first[-1]]
        await call(speaker, "truncate", genesis, heard=heard)
        last = await call(speaker, "generate_block", heard=heard)
        assert [each["hash"] for _, each in await events(speaker, names, 1, heard)] == [last]


async def test_refused_transactions_that_were_in_the_pool_are_told_with_the_reason(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, (_, speaker)):
        heard: list[Any] = []
        names = {await call(speaker, "subscribe", "rejected_transaction", heard=heard): "rejected"}
        cell = issued_cell(node.consensus, ALICE)
        cheap = ALICE.transfer(node.consensus, [cell], [(BOB.lock, cell[1] - 10_000)])
        dear = ALICE.transfer(node.consensus, [cell], [(BOB.lock, cell[1] - 1_000_000)])
        replaced = await call(speaker, "send_transaction", as_json(cheap), heard=heard)
        await call(speaker, "send_transaction", as_json(dear), heard=heard)
        ((_, (entry, reason)),) = await events(speaker, names, 1, heard)
        assert entry["transaction"]["hash"] == replaced
        assert reason["type"] == "RBFRejected"
        assert reason["description"]


async def test_lines_of_the_log_are_told(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, (speaker, _)):
        heard: list[Any] = []
        before = logging.getLogger().handlers[:]
        names = {await call(speaker, "subscribe", "log", heard=heard): "log"}
        logging.getLogger("chain").warning("a line with %s", "a value")
        ((_, entry),) = await events(speaker, names, 1, heard)
        assert entry["message"] == "a line with a value"
        assert entry["target"] == "chain"
        assert entry["level"] == "warn"
        assert entry["date"]
        await call(speaker, "unsubscribe", *names, heard=heard)
        assert logging.getLogger().handlers == before
