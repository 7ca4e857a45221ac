"""Work of a node: what is taken, submitted, left alone, and what happens when the node is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

import ckb_node.miner.node_source as module
from ckb_node.miner.listener import TemplateListener
from ckb_node.miner.node_rpc import NodeRpc
from ckb_node.miner.node_source import NodeSource
from consensus.params import PowFunc
from tests.miner.kit_desk import NotedDesk
from tests.miner.kit_node import HASH, FakeNode, fake_node, template

POLL_S = 0.01
NONCE = bytes(range(16))


@asynccontextmanager
async def source(
    node: FakeNode, listener: TemplateListener | None = None
) -> AsyncIterator[tuple[NodeSource, NotedDesk]]:
    desk = NotedDesk()
    made = NodeSource(NodeRpc(node.url), PowFunc.DUMMY, POLL_S, listener)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run(desk))
        yield made, desk
        running.cancel()


async def polled(node: FakeNode, times: int = 2) -> None:
    """The node was asked for work so often from now on, and what it said has arrived."""
    wanted = node.calls.count("get_block_template") + times + 1
    await node.until(lambda: node.calls.count("get_block_template") >= wanted)


async def test_a_template_is_given_out_once() -> None:
    async with fake_node() as node, source(node) as (_, desk):
        await desk.until(lambda: desk.works)
        await polled(node)
        assert [work.number for work in desk.works if work] == [0x401]
        node.template = template(work_id=2)
        await desk.until(lambda: len(desk.works) == 2)
        assert desk.work.job == "0x2"
        assert desk.states[-1].startswith("working for 127.0.0.1:")


async def test_a_found_block_is_submitted_and_nothing_more_is_mined_on_its_parent() -> None:
    async with fake_node() as node, source(node) as (made, desk):
        await desk.until(lambda: desk.works)
        work = desk.work
        made.found(work, NONCE)
        made.found(work, NONCE)
        assert desk.works[-1] is None
        await desk.until(lambda: desk.taken)
        assert desk.taken == [f"block 1025 {HASH}"]
        ((work_id, block),) = node.submitted
        assert work_id == "0x1"
        assert int(block["header"]["nonce"], 16).to_bytes(16, "little") == NONCE
        node.template = template(work_id=2, parent=1)
        await polled(node)
        assert desk.works[-1] is None
        node.template = template(work_id=3, parent=2, number=0x402)
        await desk.until(lambda: desk.works[-1])
        assert desk.work.number == 0x402
        assert len(node.submitted) == 1


async def test_a_nonce_for_the_template_before_is_good_too() -> None:
    async with fake_node() as node, source(node) as (made, desk):
        await desk.until(lambda: desk.works)
        first = desk.work
        node.template = template(work_id=2, parent=2, number=0x402)
        await desk.until(lambda: len(desk.works) == 2)
        made.found(first, NONCE)
        await desk.until(lambda: desk.taken)
        assert node.submitted[0][0] == "0x1"
        assert desk.work.number == 0x402


async def test_after_a_refusal_the_parent_is_mined_on_again() -> None:
    async with fake_node() as node, source(node) as (made, desk):
        node.refusal = {"code": -1104, "message": "InvalidBlock"}
        await desk.until(lambda: desk.works)
        made.found(desk.work, NONCE)
        await desk.until(lambda: desk.refused)
        assert "block 1025: -1104: InvalidBlock" in desk.refused[0]
        await desk.until(lambda: desk.works[-1])
        assert desk.taken == []


async def test_a_node_that_stays_on_the_parent_is_mined_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain was cut back, say."""
    async with fake_node() as node, source(node) as (made, desk):
        await desk.until(lambda: desk.works)
        made.found(desk.work, NONCE)
        await desk.until(lambda: desk.taken)
        await polled(node)
        assert desk.works[-1] is None
        monkeypatch.setattr(made._solved, "_now", lambda: 1e12)
        await desk.until(lambda: desk.works[-1])


async def test_a_block_waits_for_a_node_that_is_away() -> None:
    async with fake_node() as node, source(node) as (made, desk):
        await desk.until(lambda: desk.works)
        node.answer = lambda _: web.Response(status=503)
        with capture_logs() as logs:
            made.found(desk.work, NONCE)
            await node.until(lambda: node.calls.count("submit_block") == 2)
            node.answer = lambda _: None
            await desk.until(lambda: desk.taken)
        assert len(node.submitted) == 1
        assert "a block waits for the node" in [each["event"] for each in logs]


async def test_a_block_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SUBMIT_FOR_S", -1.0)
    async with fake_node() as node, source(node) as (made, desk):
        await desk.until(lambda: desk.works)
        node.answer = lambda method: web.Response(status=503) if method == "submit_block" else None
        made.found(desk.work, NONCE)
        await desk.until(lambda: desk.refused)
        assert "was not taken" in desk.refused[0]
        await desk.until(lambda: desk.works[-1])


async def test_a_dead_node_is_told_once_and_tried_again() -> None:
    async with fake_node() as node:
        node.answer = lambda _: web.Response(status=500)
        with capture_logs() as logs:
            async with source(node) as (_, desk):
                await polled(node, 5)
                told = [each for each in logs if each["event"] == "the node gives no work"]
                assert len(told) == 1
                assert "HTTP status 500" in told[0]["reason"]
                assert desk.works == []
                node.answer = lambda _: None
                await desk.until(lambda: desk.works)


async def test_a_node_without_the_method_is_explained() -> None:
    async with fake_node() as node:
        node.answer = lambda _: web.json_response({"error": {"code": -32601, "message": "Method not found"}})
        with capture_logs() as logs:
            async with source(node):
                await polled(node)
        assert "block_assembler" in next(each["reason"] for each in logs if "reason" in each)


async def test_nonsense_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_node() as node, source(node) as (_, desk):
        node.template = {"version": "0x0"}
        await polled(node)
        before = len(desk.works)
        await polled(node)
        assert len(desk.works) == before


async def test_templates_that_a_node_posts_come_at_once() -> None:
    listener = TemplateListener("127.0.0.1", 0)
    async with fake_node() as node, source(node, listener) as (_, desk), aiohttp.ClientSession() as client:
        await desk.until(lambda: desk.works)
        await listener.is_open.wait()
        polls = node.calls.count("get_block_template")
        url = f"http://127.0.0.1:{listener.port}/any/path"
        for sent in ("nonsense", "{}"):
            async with client.post(url, data=sent) as answer:
                assert answer.status == 200
        async with client.post(url, json=template(work_id=9, number=0x409)) as answer:
            assert answer.status == 200
            assert await answer.read() == b""
        await desk.until(lambda: desk.works[-1] and desk.work.number == 0x409)
        assert node.calls.count("get_block_template") == polls == 1
