"""Where a node listens for RPC and for Prometheus, according to its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import structlog

from ckb_node.banner import Address, RpcAddresses, local_address, shown_address
from ckb_node.config import Config, parse_address
from ckb_node.rpc.dispatch import DEFAULT_BATCH_LIMIT, Dispatcher
from ckb_node.rpc.guard import Guard, HttpLimits
from ckb_node.rpc.health import health_route
from ckb_node.rpc.http import serving
from ckb_node.rpc.lines import serving_lines
from ckb_node.rpc.methods import OWN_MODULES, indexer
from ckb_node.rpc.metrics import serving_metrics
from ckb_node.rpc.news import News
from ckb_node.rpc.openrpc import discovery
from ckb_node.rpc.registry import Module, Registry
from ckb_node.rpc.services import Services
from ckb_node.rpc.stream import CONNECTIONS, CONNECTIONS_PER_ADDRESS
from ckb_node.runtime.metrics import CallMetrics, Metrics
from ckb_node.runtime.tasks import Fault, Tasks
from network.service import ListenError, in_use_hint

log = structlog.get_logger("rpc")

STREAMS_SHARE: Final = 4
"""Each listener for streams gets this part of the connections that the system allows, HTTP the rest."""


@dataclass(frozen=True)
class RpcParts:
    """What RPC needs of a node."""

    config: Config
    services: Services
    news: News
    tasks: Tasks
    metrics: Metrics | None
    faults: Callable[[], Sequence[Fault]]
    is_busy: Callable[[], bool]
    """Blocks are being verified."""


def rpc_url(config: Config) -> str:
    """The RPC address as seen from this machine, according to the configuration."""
    return f"http://{local_address(*config.rpc_address)}"


def build_dispatcher(parts: RpcParts, tasks: asyncio.TaskGroup) -> Dispatcher:
    """The RPC methods that the configuration opens. Changes run in `tasks`: they end though their caller leaves."""
    settings = parts.config.file.rpc
    registry = Registry(parts.services, settings.modules, with_deprecated=settings.enable_deprecated_rpc)
    cells = indexer.RICH_METHODS if Module.RICH_INDEXER in settings.modules else indexer.METHODS
    for methods in (*OWN_MODULES, cells, discovery(lambda: registry)):
        registry.add(methods)
    calls = None if parts.metrics is None else CallMetrics(parts.metrics, [method.name for method in registry])
    limit = settings.rpc_batch_limit or DEFAULT_BATCH_LIMIT
    return Dispatcher(registry, batch_limit=limit, tasks=tasks, metrics=calls)


@asynccontextmanager
async def serving_rpc(parts: RpcParts, connections: int) -> AsyncIterator[RpcAddresses]:
    """Listen by HTTP, and by TCP and WebSocket if configured, while the context lasts; yields where.

    Raises ListenError, ConfigError.
    """
    settings, hub = parts.config.file.rpc, parts.news.hub
    policy = parts.config.origin_policy()
    tcp = _address("rpc.tcp_listen_address", settings.tcp_listen_address)
    ws = _address("rpc.ws_listen_address", settings.ws_listen_address)
    streams = min(CONNECTIONS, connections // STREAMS_SHARE)
    rest = connections - streams * sum(each is not None for each in (tcp, ws))
    limits = HttpLimits(body_bytes=settings.max_request_body_size, connections=min(rest, HttpLimits().connections))
    wide = replace(limits, connections=streams, connections_per_address=min(CONNECTIONS_PER_ADDRESS, streams // 2 or 1))
    async with AsyncExitStack() as stack:
        changes = await stack.enter_async_context(asyncio.TaskGroup())
        dispatcher = build_dispatcher(parts, changes)
        parts.tasks.start_restartable("events of subscriptions", parts.news.run)
        with told_address(parts.config.rpc_address, "RPC"):
            listening = serving(
                parts.tasks, dispatcher, *parts.config.rpc_address, limits, policy, is_busy=parts.is_busy
            )
            server = await stack.enter_async_context(listening)
        found = RpcAddresses(server.address)
        _log_listening("HTTP", server.address)
        server.routes["GET", "/health"] = health_route(parts.faults)
        guards = {"http": server.guard}
        if ws is not None:
            with told_address(ws, "RPC by WebSocket"):
                upgrading = serving(parts.tasks, dispatcher, *ws, wide, policy, hub, parts.is_busy)
                sockets = await stack.enter_async_context(upgrading)
            guards["ws"], found = sockets.guard, replace(found, websocket=sockets.address)
            _log_listening("WebSocket", sockets.address)
        if tcp is not None:
            with told_address(tcp, "RPC by TCP"):
                lines = await stack.enter_async_context(serving_lines(parts.tasks, dispatcher, hub, *tcp, wide))
            guards["tcp"], found = lines.guard, replace(found, tcp=lines.address)
            _log_listening("TCP", lines.address)
        _measure(parts, guards)
        yield found


def _log_listening(transport: str, address: Address) -> None:
    """In the reference's words, which tools that start a node wait for."""
    log.info(f"Listen {transport} RPCServer on address: {shown_address(*address)}")


def _measure(parts: RpcParts, guards: dict[str, Guard]) -> None:
    if (metrics := parts.metrics) is None:
        return
    hub = parts.news.hub
    metrics.gauge(
        "ckb_rpc_connections",
        "Open connections to RPC",
        lambda: sum(len(guard.connections) for guard in guards.values()),
    )
    metrics.gauge("ckb_rpc_subscriptions", "Subscriptions of RPC's clients", lambda: hub.count)
    metrics.gauge("ckb_rpc_lost_events", "Events that slow subscribers have lost, since the start", lambda: hub.lost)


def _address(key: str, text: str | None) -> Address | None:
    return None if text is None else parse_address(key, text)


@asynccontextmanager
async def serving_figures(parts: RpcParts) -> AsyncIterator[None]:
    """Listen for Prometheus while the context lasts, if that is configured. Raises ListenError."""
    address = parts.config.metrics_address
    if parts.metrics is None or address is None:
        yield
        return
    async with contextlib.AsyncExitStack() as stack:
        with told_address(address, "Prometheus"):
            listening = serving_metrics(parts.tasks, parts.metrics, *address, parts.config.origin_policy())
            host, port = await stack.enter_async_context(listening)
        log.info("figures for Prometheus are open", address=f"http://{shown_address(host, port)}/metrics")
        yield


@contextmanager
def told_address(address: Address, purpose: str) -> Iterator[None]:
    """What a person should read when an address cannot be had. Raises ListenError."""
    host, port = address
    where = f"cannot listen on {shown_address(host, port)} for {purpose}"
    try:
        yield
    except socket.gaierror as error:
        raise ListenError(f"{where}: {error.strerror or error}") from None
    except UnicodeError:
        raise ListenError(f"{where}: {host[:100]!r} is no host name") from None
    except OSError as error:
        reason = error.strerror or str(error) if error.errno is None else os.strerror(error.errno)
        raise ListenError(f"{where}: {reason}{in_use_hint(error)}") from None
