"""Answers of a node that is wrong, large or gone."""

from __future__ import annotations

import pytest
from aiohttp import web

import ckb_node.miner.node_rpc as module
from ckb_node.miner.node_rpc import NodeRefused, NodeRpc, NodeUnreachable
from ckb_node.miner.work import MinerError
from tests.miner.kit_node import FakeNode, fake_node
from tests.support.nodes.process import free_port


async def call(node: FakeNode) -> bytes:
    async with NodeRpc(node.url) as rpc:
        return await rpc.call("get_tip")


@pytest.mark.parametrize("url", ["", "ftp://host/", "http://", "http://a b/", "http://host:99999/"])
def test_a_bad_address_is_told(url: str) -> None:
    with pytest.raises(MinerError, match=r"miner\.rpc_url"):
        NodeRpc(url)


async def test_a_result_comes_as_json() -> None:
    async with fake_node() as node:
        node.answer = lambda _: web.json_response({"id": 1, "result": {"x": [1]}})
        assert await call(node) == b'{"x": [1]}'


async def test_an_error_has_code_and_message() -> None:
    async with fake_node() as node:
        node.answer = lambda _: web.json_response({"id": 1, "error": {"code": -302, "message": "no\x1b[1m such"}})
        with pytest.raises(NodeRefused) as caught:
            await call(node)
        assert caught.value.code == -302
        assert str(caught.value) == "-302: no\\x1b[1m such"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (lambda: web.Response(status=500), "HTTP status 500"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "HTTP status 302"),
        (lambda: web.Response(text="not json"), "no JSON-RPC answer"),
        (lambda: web.Response(text="[" * 100_000), "no JSON-RPC answer"),
        (lambda: web.Response(body=b'{"error": {"message": "\xff"}}'), "no JSON-RPC answer"),
        (lambda: web.Response(body=bytes(100_001)), "larger than"),
    ],
)
async def test_other_answers_are_no_answers(response: object, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEMPLATE_BYTES", 100_000)
    async with fake_node() as node:
        node.answer = lambda _: response()  # type: ignore[operator]
        with pytest.raises(NodeUnreachable, match=reason):
            await call(node)


async def test_nobody_there() -> None:
    port = free_port()
    async with NodeRpc(f"http://user:secret@127.0.0.1:{port}/") as rpc:
        with pytest.raises(NodeUnreachable) as caught:
            await rpc.call("x")
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_password_of_the_address_is_shown_to_the_node() -> None:
    async with fake_node() as node, NodeRpc(node.url.replace("//", "//user:secret@")) as rpc:
        await rpc.call("get_block_template")
        assert node.authorization == ["Basic dXNlcjpzZWNyZXQ="]
