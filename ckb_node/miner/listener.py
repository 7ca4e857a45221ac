"""Templates that a node posts (`[block_assembler] notify`), as the reference's miner takes them with `listen`."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from ckb_node.miner.node_rpc import MAX_TEMPLATE_BYTES, read_bounded
from ckb_node.miner.work import MinerError

log = structlog.get_logger("miner")

MAX_POSTS: Final = 4
"""That are read at a time; others are sent away."""
POST_S: Final = 10.0
"""For the whole of a post, however it drips."""


class TemplateListener:
    """Listens at `host`:`port`. With a `token`, posts must show it (`Authorization: Bearer …`)."""

    def __init__(self, host: str, port: int, token: str | None = None) -> None:
        self._host: Final = host
        self.port = port
        """0 becomes the port that was free."""
        self._token: Final = token
        self._posts = 0
        self._newest: bytes | None = None
        self._has_new: Final = asyncio.Event()
        self.is_open: Final = asyncio.Event()

    async def run(self, take: Callable[[bytes], Awaitable[None]]) -> None:
        """Give each template to `take`, one at a time, of those that came meanwhile the newest. Raises MinerError."""
        app = web.Application(client_max_size=MAX_TEMPLATE_BYTES)
        app.router.add_route("*", "/{path:.*}", self._on_request)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await self._listen(runner)
            while True:
                await self._has_new.wait()
                self._has_new.clear()
                if self._newest is not None:
                    text, self._newest = self._newest, None
                    await take(text)
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        site = web.TCPSite(runner, self._host, self.port)
        try:
            await site.start()
        except OSError as error:
            raise MinerError(f"miner.listen: {self._host}:{self.port}: {error.strerror or error}") from error
        self.port = runner.addresses[0][1]
        self.is_open.set()
        log.info("a node can post its templates here", notify=f"http://{self._host}:{self.port}")

    async def _on_request(self, request: web.Request) -> web.Response:
        if not self._is_allowed(request):
            return web.Response(status=401)
        if request.method != "POST":
            return web.Response(status=405)
        if self._posts >= MAX_POSTS:
            return web.Response(status=503)
        self._posts += 1
        try:
            async with asyncio.timeout(POST_S):
                self._newest = await read_bounded(request.content)
        except (TimeoutError, ValueError, aiohttp.ClientError):
            return web.Response(status=400)
        finally:
            self._posts -= 1
        self._has_new.set()
        return web.Response()

    def _is_allowed(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        shown = request.headers.get("Authorization", "")
        return hmac.compare_digest(shown.encode(errors="replace"), f"Bearer {self._token}".encode())
