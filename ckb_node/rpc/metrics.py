"""`GET /` and `GET /metrics` of the listener for Prometheus, see [metrics.exporter.prometheus]."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from ckb_node.rpc.guard import HttpLimits
from ckb_node.rpc.http import serving
from ckb_node.rpc.origin import OriginPolicy
from ckb_node.runtime.metrics import CONTENT_TYPE, Metrics
from ckb_node.runtime.tasks import Tasks

PATHS: Final = ("/", "/metrics")
"""The first is the reference's, the second what Prometheus asks for by itself."""

LIMITS: Final = HttpLimits(body_bytes=1 << 10, connections=64, connections_per_address=32)


@asynccontextmanager
async def serving_metrics(
    tasks: Tasks, metrics: Metrics, host: str, port: int, policy: OriginPolicy
) -> AsyncIterator[tuple[str, int]]:
    """Answer while the context lasts; yields the address that it listens on. Raises OSError or UnicodeError when that
    cannot be had."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=metrics.text(), headers={"content-type": CONTENT_TYPE})

    async with serving(tasks, None, host, port, LIMITS, policy) as server:
        server.routes.update({("GET", path): answer for path in PATHS})
        yield server.address
