"""The whole node, put together in one place: open, serve until told to stop, close in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog

from ckb_node.banner import banner, shown_address
from ckb_node.chain.opening import open_chain
from ckb_node.chain.scripts import ScriptService
from ckb_node.chain.service import ChainService
from ckb_node.clock import SystemClock
from ckb_node.commands.stopping import SIGNALS
from ckb_node.config import Config, ConfigError
from ckb_node.filters.service import FilterService
from ckb_node.indexer.methods import METHODS as INDEXER_METHODS
from ckb_node.indexer.service import IndexerService
from ckb_node.lanes.lane import Lane
from ckb_node.local_net import LocalNet
from ckb_node.logs import set_up_logs
from ckb_node.mining.assembler import BlockAssembler
from ckb_node.mining.dev_miner import DevMiner
from ckb_node.responsive import stay_responsive
from ckb_node.rpc.dispatch import DEFAULT_BATCH_LIMIT, Dispatcher
from ckb_node.rpc.guard import HttpLimits
from ckb_node.rpc.http import serving
from ckb_node.rpc.methods import OWN_MODULES
from ckb_node.rpc.registry import MISSING_MODULES, Module, Registry
from ckb_node.rpc.services import READERS, Services
from ckb_node.txpool.service import PoolService
from ckb_node.version import VERSION
from consensus.params import Consensus, PowFunc
from network.identity import load_or_create_identity
from storage.chain_store import ChainStore
from storage.filters import FILTERS_DIRECTORY, FilterStore
from storage.leveldb import LevelDbStore

log = structlog.get_logger("node")

KEY_FILE = "network/secret_key"


class RpcAddressError(OSError):
    """The RPC address cannot be had."""


@dataclass(frozen=True)
class Node:
    """The parts of an open node. `filters` are None when [block_filters] is off, `assembler` without
    [block_assembler], `indexer` without its module."""

    config: Config
    consensus: Consensus
    store: ChainStore
    scripts: ScriptService
    chain: ChainService
    pool: PoolService
    net: LocalNet
    filters: FilterService | None
    assembler: BlockAssembler | None
    indexer: IndexerService | None
    services: Services


@contextmanager
def open_node(config: Config) -> Iterator[Node]:
    """Everything but listening: usable from Python as it is, inside an event loop."""
    with ExitStack() as stack:
        consensus, store, processor = stack.enter_context(open_chain(config))
        clock = SystemClock()
        chain = ChainService(processor)
        stack.callback(chain.close)
        settings = config.file
        workers = settings.tx_pool.max_tx_verify_workers
        executor = stack.enter_context(ThreadPoolExecutor(workers + 1, thread_name_prefix="scripts"))
        pool = PoolService(chain, settings.tx_pool.limits(), processor.scripts, executor, clock.now_ms, workers)
        net = LocalNet(chain, load_or_create_identity(config.data_dir / KEY_FILE), VERSION, clock.now_ms)
        if (fault := config.block_assembler_fault(consensus)) is not None:
            raise ConfigError(fault)
        miner_config = config.miner_config(VERSION)
        lane = Lane("rpc", READERS)
        assembler = None
        if miner_config is not None:
            assembler = BlockAssembler(chain, pool.pool, miner_config, clock.now_ms, lane)
        filters = None
        if settings.block_filters.enabled:
            filters = FilterService(chain, FilterStore.open(config.data_dir / FILTERS_DIRECTORY))
            stack.callback(filters.close)
        indexer = None
        if Module.INDEXER in settings.rpc.modules:
            indexer = IndexerService(chain, LevelDbStore(config.data_dir / "indexer"))
            stack.callback(indexer.close)
        if Module.INTEGRATION_TEST in settings.rpc.modules and consensus.pow_func is not PowFunc.DUMMY:
            raise ConfigError("rpc.modules: IntegrationTest needs a chain whose proof of work is Dummy")
        services = Services(
            chain=chain,
            pool=pool,
            net=net,
            clock=clock,
            filters=filters,
            miner=assembler,
            testing=chain if Module.INTEGRATION_TEST in settings.rpc.modules else None,
            extra_well_known=config.extra_well_known(),
            extensions={} if indexer is None else {IndexerService: indexer},
            lane=lane,
        )
        stack.callback(lane.close)
        stack.callback(processor.scripts.end_runs)
        yield Node(config, consensus, store, processor.scripts, chain, pool, net, filters, assembler, indexer, services)


def build_dispatcher(node: Node, tasks: asyncio.TaskGroup) -> Dispatcher:
    """The RPC methods that the configuration opens. `tasks` finish what a caller who has left began."""
    settings = node.config.file.rpc
    for module in MISSING_MODULES.intersection(settings.modules):
        log.warning("rpc.modules names a module that this version does not have", module=module.value)
    registry = Registry(node.services, settings.modules, with_deprecated=settings.enable_deprecated_rpc)
    for methods in (*OWN_MODULES, INDEXER_METHODS):
        registry.add(methods)
    return Dispatcher(registry, batch_limit=settings.rpc_batch_limit or DEFAULT_BATCH_LIMIT, tasks=tasks)


@asynccontextmanager
async def running(node: Node, *, mine: bool) -> AsyncIterator[tuple[str, int]]:
    """Serve RPC and run the node's tasks while the context lasts; yields the address that RPC listens on."""
    settings = node.config.file
    pool_file = node.config.data_dir / settings.tx_pool.persisted_data
    host, port = node.config.rpc_address
    limits = HttpLimits(body_bytes=settings.rpc.max_request_body_size)
    async with contextlib.AsyncExitStack() as stack:
        changes = await stack.enter_async_context(asyncio.TaskGroup())
        try:
            dispatcher = build_dispatcher(node, changes)
            policy = node.config.origin_policy()
            server = await stack.enter_async_context(serving(dispatcher, host, port, limits, policy))
        except ExceptionGroup as group:
            raise _address_error(group, host, port) from None
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running_tasks = [tasks.create_task(node.pool.run(), name="pool")]
        running_tasks.append(tasks.create_task(_load_pool(node), name="pool-load"))
        if node.filters is not None:
            running_tasks.append(tasks.create_task(node.filters.run(), name="filters"))
        if node.indexer is not None:
            running_tasks.append(tasks.create_task(node.indexer.run(), name="indexer"))
        if mine:
            running_tasks.append(tasks.create_task(_dev_miner(node).run(), name="miner"))
        try:
            yield server.address
        finally:
            for task in running_tasks:
                task.cancel()
            node.scripts.end_runs()
            count = node.pool.save(pool_file)
            log.info("pool saved", transactions=count)


def _address_error(group: ExceptionGroup[Exception], host: str, port: int) -> Exception:
    """What a person should read when the listener cannot be had."""
    first = first_error(group)
    where = f"cannot listen on {shown_address(host, port)} for RPC"
    match first:
        case socket.gaierror() | OSError(errno=None):
            return RpcAddressError(f"{where}: {first.strerror or first}")
        case OSError(errno=int(number)):
            return RpcAddressError(f"{where}: {os.strerror(number)}")
        case UnicodeError():
            return RpcAddressError(f"{where}: {host[:100]!r} is no host name")
    return first


def first_error(error: Exception) -> Exception:
    """The first real error inside task groups' wrappings."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _load_pool(node: Node) -> None:
    path = node.config.data_dir / node.config.file.tx_pool.persisted_data
    count = await node.pool.load(path)
    if count:
        log.info("pool loaded", transactions=count)


def _dev_miner(node: Node) -> DevMiner:
    if node.consensus.pow_func is not PowFunc.DUMMY:
        raise ConfigError("mining in the node needs a chain whose proof of work is Dummy")
    if node.assembler is None:
        raise ConfigError("block_assembler: the section is missing, so there is nobody to mine for")
    return DevMiner(node.chain, node.assembler, node.config.file.miner.interval_millis / 1000)


async def serve(config: Config, *, mine: bool) -> None:
    """Open, say what a person needs, and run until SIGINT, SIGTERM or SIGHUP."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, stop.set)
    with open_node(config) as node:
        async with running(node, mine=mine) as (host, port):
            stay_responsive()
            sys.stdout.write(banner(node, host, port, mine=mine))
            sys.stdout.flush()
            log.info("RPC is open", address=f"http://{shown_address(host, port)}")
            await stop.wait()
            log.info("stopping")
    log.info("stopped")


def run_node(config: Config, *, mine: bool) -> int:
    """`ckb-node run` and `dev`: 0 when the node was told to stop. Raises the errors of opening."""
    set_up_logs(config, "run")
    try:
        asyncio.run(serve(config, mine=mine))
    except ExceptionGroup as group:
        raise first_error(group) from group
    return 0
