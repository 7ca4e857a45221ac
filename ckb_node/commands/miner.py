"""`ckb-node miner`: mines for a node, this one or the reference's, or for a pool."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from ckb_node.config import Config, parse_address
from ckb_node.miner.endpoint import parse_endpoint
from ckb_node.miner.listener import TemplateListener
from ckb_node.miner.miner import Miner
from ckb_node.miner.node_rpc import NodeRpc
from ckb_node.miner.node_source import NodeSource
from ckb_node.miner.plan import WorkPlan, work_plan
from ckb_node.miner.pool_session import Login
from ckb_node.miner.pool_source import PoolSource
from ckb_node.miner.settings import MinerSection
from ckb_node.miner.work import MinerError, Source
from ckb_node.runtime.stop_signals import StopSignals, end_process
from consensus.params import PowFunc

END_S: Final = 3.0
"""The miner has nothing to lose: what does not end is left. A resolver of names may take much longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerOptions:
    """Of the command line; None leaves it to the configuration."""

    limit: int = 0
    function: PowFunc | None = None
    threads: int | None = None
    rpc_url: str | None = None
    listen: str | None = None
    listen_token: str | None = None
    stratum: str | None = None
    user: str = ""
    password: str = "x"  # noqa: S105 - what pools take where none is needed
    agent: str = ""
    is_tls: bool = False
    tls_ca: Path | None = None


def run_miner(config: Config | None, options: MinerOptions) -> int:
    """Mine until the limit or a signal; the exit code. `config` is that of a directory, where there is one. Raises
    MinerError, ConfigError."""
    section = config.file.miner if config is not None else MinerSection()
    function = options.function or (_function_of(config) if config is not None else PowFunc.EAGLESONG)
    workers = section.workers if options.function is None or config is None else []
    plan = work_plan(function, workers, section.interval_millis, options.threads, Random())  # noqa: S311
    if options.stratum is not None:
        make = _pool(options)
        if plan.is_dummy:
            raise MinerError("pools have work for Eaglesong; this chain's proof of work is Dummy")
    else:
        make = _node(section, options, plan)
    _run(make, plan, "blocks" if options.stratum is None else "shares", options.limit)
    return 0


def _function_of(config: Config) -> PowFunc:
    return config.load_spec()[0].pow_func


def _node(section: MinerSection, options: MinerOptions, plan: WorkPlan) -> Callable[[], Source]:
    rpc = NodeRpc(options.rpc_url or section.rpc_url)
    address = options.listen or section.listen
    where = None if address is None else parse_address("miner.listen", address)

    def make() -> Source:
        listener = None if where is None else TemplateListener(*where, options.listen_token)
        return NodeSource(rpc, plan.function, section.poll_interval_millis / 1000, listener)

    return make


def _pool(options: MinerOptions) -> Callable[[], Source]:
    endpoint = parse_endpoint(options.stratum or "", is_tls=options.is_tls)
    login = Login(options.user, options.password, options.agent)
    try:
        tls = ssl.create_default_context(cafile=options.tls_ca) if endpoint.is_tls else None
    except (OSError, ssl.SSLError) as error:
        raise MinerError(f"{options.tls_ca}: no certificates: {error.strerror or error}") from error
    return lambda: PoolSource(endpoint, login, tls)


def _run(make: Callable[[], Source], plan: WorkPlan, unit: str, limit: int) -> None:
    last_moment = threading.Timer(END_S, end_process, (0, "stopped"))
    last_moment.daemon = True

    async def mine(signals: StopSignals) -> None:
        miner = Miner(make(), unit, limit, has_luck=not plan.is_dummy)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            last_moment.start()
            loop.call_soon_threadsafe(miner.stop)

        signals.opened(stop)
        await miner.run(plan.workers(miner.on_found))

    with StopSignals() as signals:
        try:
            asyncio.run(mine(signals))
        finally:
            last_moment.cancel()
