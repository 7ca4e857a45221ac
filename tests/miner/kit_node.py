"""A node that says what the test wants: templates, and what becomes of blocks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from ckb_node.rpc.examples import EXAMPLES

HASH = "0x" + "ab" * 32


def template(work_id: int = 1, parent: int = 1, number: int = 0x401) -> dict[str, Any]:
    """That of the documentation, with other work and another parent."""
    base: dict[str, Any] = dict(EXAMPLES["get_block_template"].result)
    return base | {"work_id": hex(work_id), "parent_hash": "0x" + f"{parent:02x}" * 32, "number": hex(number)}


class FakeNode:
    """`answer` makes the whole HTTP response of a call; by default there is a template, and blocks are taken."""

    def __init__(self) -> None:
        self.template = template()
        self.submitted: list[Any] = []
        self.calls: list[str] = []
        self.authorization: list[str | None] = []
        self.refusal: dict[str, Any] | None = None
        self.answer: Callable[[str], web.Response | None] = lambda _: None
        self.changed = asyncio.Event()
        self.url = ""

    async def on_request(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.calls.append(body["method"])
        self.authorization.append(request.headers.get("Authorization"))
        self.changed.set()
        special = self.answer(body["method"])
        if special is not None:
            return special
        if body["method"] == "get_block_template":
            return web.json_response({"jsonrpc": "2.0", "id": 1, "result": self.template})
        self.submitted.append(body["params"])
        if self.refusal is not None:
            return web.json_response({"jsonrpc": "2.0", "id": 1, "error": self.refusal})
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": HASH})

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for calls until it holds."""
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def fake_node() -> AsyncIterator[FakeNode]:
    node = FakeNode()
    app = web.Application()
    app.router.add_post("/", node.on_request)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        node.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield node
    finally:
        await runner.cleanup()
