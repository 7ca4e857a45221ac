"""RPC by TCP and WebSocket over loopback, with a hub whose events the test makes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession

from ckb_node.rpc.guard import Guard, HttpLimits
from ckb_node.rpc.http import serving
from ckb_node.rpc.lines import serving_lines
from ckb_node.rpc.methods.subscription import METHODS as SUBSCRIPTION
from ckb_node.rpc.origin import OriginPolicy
from ckb_node.rpc.registry import Module
from ckb_node.rpc.subscriptions import Hub, Topic
from ckb_node.runtime.tasks import Tasks
from tests.rpc.kit_http import METHODS, OWNERS, Services
from tests.support.asking import dispatcher_of
from tests.support.nodes.speakers import LineSpeaker, SocketSpeaker, Speaker

TRANSPORTS = ("tcp", "ws")


@dataclass
class Streams:
    """Both listeners over the same methods."""

    services: Services
    hub: Hub
    guards: dict[str, Guard]
    addresses: dict[str, tuple[str, int]]

    @asynccontextmanager
    async def speaker(self, transport: str, **options: Any) -> AsyncIterator[Speaker]:
        """A connected client; `options` are those of the library's."""
        host, port = self.addresses[transport]
        if transport == "tcp":
            reader, writer = await asyncio.open_connection(host, port, limit=1 << 28, **options)
            try:
                yield LineSpeaker(reader, writer)
            finally:
                writer.close()
            return
        async with (
            ClientSession() as session,
            session.ws_connect(f"http://{host}:{port}/", max_msg_size=0, **options) as socket,
        ):
            yield SocketSpeaker(socket)

    def tell(self, topic: Topic, value: Any) -> None:
        """Publish an event."""
        self.hub.publish(topic, json.dumps(json.dumps(value)).encode())


@asynccontextmanager
async def streams(policy: OriginPolicy | None = None, **limits: Any) -> AsyncIterator[Streams]:
    """Listeners for TCP and WebSocket."""
    services, hub = Services(), Hub()
    modules = [Module.CHAIN, Module.NET, Module.SUBSCRIPTION]
    dispatcher = dispatcher_of(services, modules, [METHODS, OWNERS, SUBSCRIPTION])
    bounds = HttpLimits(**limits)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(30))
        tasks = await stack.enter_async_context(Tasks(lambda: 0))
        sockets = await stack.enter_async_context(serving(tasks, dispatcher, "127.0.0.1", 0, bounds, policy, hub))
        lines = await stack.enter_async_context(serving_lines(tasks, dispatcher, hub, "127.0.0.1", 0, bounds))
        guards = {"tcp": lines.guard, "ws": sockets.guard}
        yield Streams(services, hub, guards, {"tcp": lines.address, "ws": sockets.address})
        services.lane.close()
