"""Calls that are answered at once are answered as by the plain way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ckb_node.rpc.dispatch import Dispatcher
from tests.rpc.kit import RpcChain, commit, rpc_chain, side_block
from tests.rpc.kit_http import post, running
from tests.rpc.kit_http import rpc as request_of
from tests.support.asking import uint_text

UNKNOWN = "0x" + "11" * 32


@pytest.fixture
async def rpc() -> AsyncIterator[RpcChain]:
    async with rpc_chain() as chain:
        yield chain


def body_of(method: str, *params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()


async def same(dispatcher: Dispatcher, method: str, *params: Any) -> Any:
    """What both ways answer; None when the quick one leaves it to the other."""
    body = body_of(method, *params)
    at_once = dispatcher.at_once(body)
    assert at_once in (None, await dispatcher.dispatch(body))
    return None if at_once is None else json.loads(at_once)


async def test_blocks_are_kept_and_answered_at_once(rpc: RpcChain) -> None:
    block = await rpc.node.mine(2)
    number, block_hash = "0x2", uint_text(block.hash)
    for method, key in (("get_block", block_hash), ("get_block_by_number", number)):
        await rpc.dispatcher.dispatch(body_of(method, key))
        assert (await same(rpc.dispatcher, method, key))["result"]["header"]["hash"] == block_hash
        assert (await same(rpc.dispatcher, method, key, "0x2"))["result"]["header"]["hash"] == block_hash
        assert await same(rpc.dispatcher, method, key, "0x0") is None
        assert await same(rpc.dispatcher, method, key, "0x1") is None
        assert await same(rpc.dispatcher, method, key, None, True) is None
        assert (await same(rpc.dispatcher, method, "2"))["error"]["code"] == -32602
    assert await same(rpc.dispatcher, "get_block_by_number", "0x3") is None


async def test_a_kept_block_leaves_the_main_chain(rpc: RpcChain) -> None:
    other = await side_block(rpc)
    body = body_of("get_fork_block", uint_text(other.hash))
    assert json.loads(await rpc.dispatcher.dispatch(body))["result"]["header"]["hash"] == uint_text(other.hash)
    assert await same(rpc.dispatcher, "get_block", uint_text(other.hash)) == {
        "jsonrpc": "2.0", "result": None, "id": 7,
    }  # fmt: skip


async def test_a_kept_fork_block_that_is_deleted_is_gone(rpc: RpcChain) -> None:
    block = await rpc.node.mine(2)
    await rpc.dispatcher.dispatch(body_of("get_block", uint_text(block.hash)))
    await rpc.node.chain.truncate(rpc.node.consensus.genesis_hash)
    assert await same(rpc.dispatcher, "get_block", uint_text(block.hash)) == {
        "jsonrpc": "2.0", "result": None, "id": 7,
    }  # fmt: skip
    await same(rpc.dispatcher, "get_fork_block", uint_text(block.hash))


async def test_committed_transactions_are_kept_by_their_block(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    tx_hash = uint_text(transaction.hash)
    assert await same(rpc.dispatcher, "get_transaction", tx_hash) is None, "the pool may know it"
    block = await commit(rpc, transaction)
    for _ in range(2):
        answer = await same(rpc.dispatcher, "get_transaction", tx_hash)
        assert answer["result"]["tx_status"]["block_hash"] == uint_text(block.hash)
        assert answer["result"]["transaction"]["hash"] == tx_hash
        assert int(answer["result"]["cycles"], 16) > 0
    assert (await same(rpc.dispatcher, "get_transaction", uint_text(block.transactions[0].hash)))["result"][
        "cycles"
    ] is None
    assert await same(rpc.dispatcher, "get_transaction", tx_hash, "0x1") is None
    assert await same(rpc.dispatcher, "get_transaction", tx_hash, "0x3") is None
    await rpc.node.chain.truncate(rpc.node.consensus.genesis_hash)
    assert await same(rpc.dispatcher, "get_transaction", tx_hash) is None


async def test_cells_of_the_chain(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    spent = {"tx_hash": uint_text(rpc.alice_cell().tx_hash), "index": hex(rpc.alice_cell().index)}
    created = {"tx_hash": uint_text(transaction.hash), "index": "0x0"}
    for with_data in (True, False):
        assert (await same(rpc.dispatcher, "get_live_cell", spent, with_data))["result"]["status"] == "live"
        assert (await same(rpc.dispatcher, "get_live_cell", created, with_data))["result"]["status"] == "unknown"
    await commit(rpc, transaction)
    for with_data in (True, False):
        assert (await same(rpc.dispatcher, "get_live_cell", spent, with_data))["result"]["status"] == "unknown"
        answer = (await same(rpc.dispatcher, "get_live_cell", created, with_data))["result"]
        assert answer["status"] == "live"
        assert (answer["cell"]["data"] is None) is not with_data
    assert await same(rpc.dispatcher, "get_live_cell", created, True, True) is None
    assert (await same(rpc.dispatcher, "get_live_cell", created))["error"]["code"] == -32602
    genesis = (await rpc.call("get_block_by_number", "0x0"))["transactions"][0]
    large = max(range(len(genesis["outputs"])), key=lambda index: len(genesis["outputs_data"][index]))
    assert await same(rpc.dispatcher, "get_live_cell", {"tx_hash": genesis["hash"], "index": hex(large)}, True) is None


async def test_cheap_calls_of_all_kinds(rpc: RpcChain) -> None:
    block_hash = uint_text((await rpc.node.mine()).hash)
    for method, params in (
        ("get_tip_block_number", ()),
        ("get_tip_header", ()),
        ("get_header", (block_hash,)),
        ("get_header", (UNKNOWN,)),
        ("get_header_by_number", ("0x1",)),
        ("get_block_hash", ("0x1",)),
        ("get_current_epoch", ()),
        ("get_consensus", ()),
        ("local_node_info", ()),
    ):
        assert "result" in await same(rpc.dispatcher, method, *params)
    assert await same(rpc.dispatcher, "get_block_template") is None, "it waits"
    assert "error" in await same(rpc.dispatcher, "get_header", "0x1")


async def test_requests_by_http_that_are_no_plain_ones() -> None:
    """All of them are answered, one after the other, on one connection."""
    whole = post(request_of("echo", "a"))
    async with running() as node, node.client() as client:
        await client.send(whole * 3)
        assert [(await client.answer()).json()["result"] for _ in range(3)] == ["a"] * 3
        for at in (5, whole.index(b"\r\n\r\n") + 2, len(whole) - 3):
            await client.send(whole[:at])
            await client.send(whole[at:])
            assert (await client.answer()).json()["result"] == "a"
        await client.send(whole + b"POST / HTTP/1.1\r\n")
        assert (await client.answer()).json()["result"] == "a"
        await client.send(whole.partition(b"\r\n")[2])
        assert (await client.answer()).json()["result"] == "a"
        await client.send(post(request_of("fill", hex(300_000))))
        assert len((await client.answer()).json()["result"]) == 300_000
        await client.send(whole)
        assert (await client.answer()).json()["result"] == "a"
        assert not node.server.guard.held_bytes
