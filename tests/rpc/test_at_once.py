"""Calls that are answered at once are answered as by the plain way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from aiohttp.http import RawRequestMessage

from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.http_connection import Connection
from ckb_node.rpc.known_heads import MAX_HEAD_BYTES, MAX_HEADS, KnownHead, KnownHeads
from ckb_node.rpc.origin import OriginPolicy
from tests.rpc.kit import RpcChain, commit, rpc_chain, side_block
from tests.rpc.kit_http import Client, post, running, until
from tests.rpc.kit_http import rpc as request_of
from tests.support.asking import as_json, uint_text

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
    for with_data in (True, False, True, False):
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
    assert (await same(rpc.dispatcher, "tx_pool_info"))["result"]["tip_hash"] == block_hash
    assert "error" in await same(rpc.dispatcher, "get_header", "0x1")


async def test_answers_follow_the_tip_of_both_branches(rpc: RpcChain) -> None:
    """One state of the chain serves many calls, until there is another."""
    first = await rpc.node.mine()
    for _ in range(2):
        assert (await same(rpc.dispatcher, "get_tip_header"))["result"]["hash"] == uint_text(first.hash)
    await rpc.node.chain.truncate(rpc.node.consensus.genesis_hash)
    assert (await same(rpc.dispatcher, "get_tip_block_number"))["result"] == "0x0"
    assert (await same(rpc.dispatcher, "get_header", uint_text(first.hash)))["result"] is None
    second = await rpc.node.mine()
    assert (await same(rpc.dispatcher, "get_tip_header"))["result"]["hash"] == uint_text(second.hash)


async def test_templates_that_are_made(rpc: RpcChain) -> None:
    body = body_of("get_block_template")
    assert rpc.dispatcher.at_once(body) is None, "it waits"
    made = json.loads(await rpc.dispatcher.dispatch(body))["result"]
    at_hand = json.loads(rpc.dispatcher.at_once(body) or b"")["result"]
    assert int(at_hand["current_time"], 16) > int(made["current_time"], 16)
    assert at_hand | {"current_time": ""} == made | {"current_time": ""}
    assert json.loads(rpc.dispatcher.at_once(body_of("get_block_template", "0x")) or b"")["error"]["code"] == -32602
    await rpc.call("send_transaction", as_json(rpc.alice_pays()))
    assert rpc.dispatcher.at_once(body) is None, "there is a transaction to propose"
    assert (await rpc.call("get_block_template"))["proposals"]
    async with rpc.node.assembler._building:
        assert rpc.dispatcher.at_once(body) is None, "another caller's is being made"


async def test_heads_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind a head that was parsed before is taken as the parser takes it, whatever came in between."""
    whole = post(request_of("echo", "a"))
    options = b"OPTIONS / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(whole)
    parsed: list[bytes] = []
    plainly = Connection.answers_at_once

    def noted(connection: Connection, data: bytes, message: RawRequestMessage) -> bool:
        parsed.append(data)
        return plainly(connection, data, message)

    monkeypatch.setattr(Connection, "answers_at_once", noted)
    async with running() as node, node.client() as client, node.client() as other:

        async def said(data: bytes, by: Client = client) -> Any:
            await by.send(data)
            return (await by.answer()).json()

        for text in ("a", "b", "c"):
            assert (await said(post(request_of("echo", text))))["result"] == text
        assert len(parsed) == 1, "the others have the same head"
        assert (await said(whole, other))["result"] == "a"
        assert (await said(whole, other))["result"] == "a"
        assert len(parsed) == 2, "each connection begins with the parser"
        assert (await said(whole[:-1] + b"["))["error"]["code"] == -32700
        assert (await said(whole[:-1] + b"}" + whole))["result"] == "a"
        assert (await client.answer()).json()["result"] == "a"
        await client.send(whole[:-1])
        assert (await said(whole[-1:]))["result"] == "a"
        assert (await said(post(b"[" + request_of("echo", "a") + b"]")))[0]["result"] == "a"
        assert (await said(whole))["result"] == "a"
        await client.send(options)
        assert (await client.answer()).status == 200
        await client.send(whole)  # the body of that request
        assert await client.is_closed()


async def test_a_head_and_its_body_may_come_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many clients send them: with a head that is known the request is answered at once nevertheless."""
    taken: list[bool] = []
    came: list[int] = []
    plainly, plainly_updated = Connection.answers_at_once, Connection.buffer_updated

    def noted(connection: Connection, data: bytes, message: RawRequestMessage) -> bool:
        taken.append(plainly(connection, data, message))
        return taken[-1]

    def counted(connection: Connection, nbytes: int) -> None:
        plainly_updated(connection, nbytes)
        came.append(nbytes)

    monkeypatch.setattr(Connection, "answers_at_once", noted)
    monkeypatch.setattr(Connection, "buffer_updated", counted)
    head, end, body = post(request_of("echo", "a")).partition(b"\r\n\r\n")
    async with running() as node, node.client() as client:

        async def said(*pieces: bytes) -> Any:
            for piece in pieces:
                await client.send(piece)
                await until(partial(came.__contains__, len(piece)))
                came.clear()
            return (await client.answer()).json()["result"]

        for _ in range(3):
            assert await said(head + end, body) == "a"
        assert taken == [False, True], "the first head was not known, and all the time nothing else was asked"
        assert await said(head + end + body) == "a"
        assert taken == [False, True]
        assert await said(head + end, body[:5], body[5:]) == "a"
        assert await said(head + end, body) == "a"
        await client.send(head + end)
        await client.send(body + (head + end + body) * 2)
        assert [(await client.answer()).json()["result"] for _ in range(3)] == ["a"] * 3
        await client.send(head + b"\r\nExpect: 100-continue" + end)
        assert (await client.answer()).status == 100, "it waits to be asked for the body"
        assert await said(body) == "a"
        await client.send(head + end)
        await client.send(b"x" * len(body))
        assert (await client.answer()).json()["error"]["code"] == -32700


async def test_what_a_page_may_not_ask_it_may_not_with_a_known_head() -> None:
    policy = OriginPolicy(frozenset({"https://dapp.example"}))
    async with running(policy) as node, node.client() as client:
        for headers in ([], [b"Origin: https://dapp.example"]) * 3:
            await client.send(post(request_of("command"), *headers))
            assert ("error" in (await client.answer()).json()) == bool(headers)


async def test_known_heads_are_bounded() -> None:
    heads = KnownHeads()
    for number in range(3 * MAX_HEADS):
        heads.note(b"%d" % number, KnownHead(number, is_foreign=False))
        assert heads.get(b"%d" % number) == KnownHead(number, is_foreign=False)
    assert sum(heads.get(b"%d" % number) is not None for number in range(3 * MAX_HEADS)) <= MAX_HEADS
    heads.note(b"x" * (MAX_HEAD_BYTES + 1), KnownHead(1, is_foreign=False))
    assert heads.get(b"x" * (MAX_HEAD_BYTES + 1)) is None


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
