"""The whole node, put together in one place: open, serve until told to stop, close in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import metadata

import structlog

from ckb_node.chain.processor import BlockProcessor
from ckb_node.chain.scripts import ScriptService
from ckb_node.chain.service import ChainService
from ckb_node.clock import SystemClock
from ckb_node.config import Config, ConfigError
from ckb_node.indexer.methods import METHODS as INDEXER_METHODS
from ckb_node.indexer.service import IndexerService
from ckb_node.local_net import LocalNet
from ckb_node.mining.assembler import BlockAssembler
from ckb_node.mining.dev_miner import DevMiner
from ckb_node.rpc.dispatch import DEFAULT_BATCH_LIMIT, Dispatcher
from ckb_node.rpc.http import HttpLimits, serving
from ckb_node.rpc.methods import OWN_MODULES
from ckb_node.rpc.registry import Module, Registry
from ckb_node.rpc.services import Services
from ckb_node.txpool.service import PoolService
from consensus.params import Consensus, PowFunc
from consensus.spec import build_consensus
from network.identity import load_or_create_identity
from storage.chain_store import ChainStore
from storage.leveldb import LevelDbStore

log = structlog.get_logger("node")

VERSION = metadata.version("ckb-node")
KEY_FILE = "network/secret_key"


class AddressInUseError(Exception):
    """The RPC address cannot be had."""


@dataclass(frozen=True)
class Node:
    """The parts of an open node. `assembler` is None without [block_assembler], `indexer` without its module."""

    config: Config
    consensus: Consensus
    store: ChainStore
    chain: ChainService
    pool: PoolService
    net: LocalNet
    assembler: BlockAssembler | None
    indexer: IndexerService | None
    services: Services


@contextmanager
def open_chain(config: Config) -> Iterator[tuple[Consensus, ChainStore, BlockProcessor]]:
    """Chain spec, database and the processor that writes it. Raises ConfigError, SpecError, StorageError."""
    spec, load_cell_file = config.load_spec()
    consensus = build_consensus(spec, load_cell_file)
    store = ChainStore.open(config.data_dir / "chain")
    try:
        store.check_identity(consensus.genesis_hash, spec.content_hash)
        processor = BlockProcessor(consensus, store, ScriptService(consensus), SystemClock().now_ms)
        processor.start(spec.content_hash)
        yield consensus, store, processor
    finally:
        store.close()


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
        executor = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="scripts"))
        pool = PoolService(chain, settings.tx_pool.limits(), processor.scripts, executor, clock.now_ms, workers)
        net = LocalNet(chain, load_or_create_identity(config.data_dir / KEY_FILE), VERSION, clock.now_ms)
        miner_config = config.miner_config(VERSION)
        assembler = None if miner_config is None else BlockAssembler(chain, pool.pool, miner_config, clock.now_ms)
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
            miner=assembler,
            testing=chain if Module.INTEGRATION_TEST in settings.rpc.modules else None,
            extensions={} if indexer is None else {IndexerService: indexer},
        )
        yield Node(config, consensus, store, chain, pool, net, assembler, indexer, services)


def build_dispatcher(node: Node) -> Dispatcher:
    """The RPC methods that the configuration opens."""
    settings = node.config.file.rpc
    registry = Registry(node.services, settings.modules, with_deprecated=settings.enable_deprecated_rpc)
    for methods in (*OWN_MODULES, INDEXER_METHODS):
        registry.add(methods)
    return Dispatcher(registry, batch_limit=settings.rpc_batch_limit or DEFAULT_BATCH_LIMIT)


@asynccontextmanager
async def running(node: Node, *, mine: bool) -> AsyncIterator[tuple[str, int]]:
    """Serve RPC and run the node's tasks while the context lasts; yields the address that RPC listens on."""
    settings = node.config.file
    pool_file = node.config.data_dir / settings.tx_pool.persisted_data
    host, port = node.config.rpc_address
    limits = HttpLimits(body_bytes=settings.rpc.max_request_body_size)
    async with contextlib.AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(serving(build_dispatcher(node), host, port, limits))
        except OSError as error:
            raise AddressInUseError(
                f"cannot listen on {host}:{port} for RPC: {os.strerror(error.errno or 0)}"
            ) from error
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running_tasks = [tasks.create_task(node.pool.run(), name="pool")]
        running_tasks.append(tasks.create_task(_load_pool(node), name="pool-load"))
        if node.indexer is not None:
            running_tasks.append(tasks.create_task(node.indexer.run(), name="indexer"))
        if mine:
            running_tasks.append(tasks.create_task(_dev_miner(node).run(), name="miner"))
        try:
            yield server.address
        finally:
            for task in running_tasks:
                task.cancel()
            count = node.pool.save(pool_file)
            log.info("pool saved", transactions=count)


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


async def serve(node: Node, *, mine: bool) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with running(node, mine=mine) as (host, port):
        log.info("RPC is open", address=f"http://{host}:{port}")
        await stop.wait()
        log.info("stopping")
