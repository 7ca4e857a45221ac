"""The whole node, put together in one place: open, serve until told to stop, close in order."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ckb_node import node_metrics
from ckb_node.banner import Listening, RpcAddresses, banner, peer_addresses
from ckb_node.chain.block_events import publish_blocks
from ckb_node.chain.initial_download import InitialDownload
from ckb_node.chain.service import ChainService
from ckb_node.ckb_toml import tell_unused
from ckb_node.commands.crash_trace import crash_trace
from ckb_node.config import Config
from ckb_node.filters.service import FilterService
from ckb_node.genesis.from_peers import configured_peers
from ckb_node.genesis.obtain import obtain_consensus
from ckb_node.indexer.service import IndexerService
from ckb_node.mining.assembler import BlockAssembler, MinerConfig
from ckb_node.mining.dev_miner import DevMiner
from ckb_node.mining.feed import TipSignal
from ckb_node.net.assembly import NodeProtocols, alert_keys, enabled_protocols, network_service
from ckb_node.net.figures import measure_network, tell_figures
from ckb_node.net.libp2p import libp2p_service, measure_libp2p, serve_exchange, start_gossip
from ckb_node.net.onion import OnionPublisher
from ckb_node.net.operator_scripts import OperatorScripts
from ckb_node.net.progress import ProgressTeller, progress_teller
from ckb_node.net.sync_metrics import measure_sync
from ckb_node.net.view import NetView
from ckb_node.node_indexers import open_indexer, open_rich_indexer
from ckb_node.node_mining import MiningParts, miner_addresses, miners_share, open_mining, serving_miners
from ckb_node.node_rpc import RpcParts, rpc_url, serving_figures, serving_rpc
from ckb_node.opening import open_chain
from ckb_node.rpc.news import News
from ckb_node.rpc.registry import Module
from ckb_node.rpc.services import READERS, Services
from ckb_node.rpc.subscriptions import Hub, Topic
from ckb_node.runtime.clock import SystemClock
from ckb_node.runtime.events import EventBus
from ckb_node.runtime.interpreter import stay_responsive
from ckb_node.runtime.key_file import load_or_create_identity
from ckb_node.runtime.lane import Lane
from ckb_node.runtime.log_control import LogControl
from ckb_node.runtime.logs import LogEntries, set_up_logs
from ckb_node.runtime.loop_faults import LoopFaults
from ckb_node.runtime.metrics import DELAY_SECONDS, Metrics, watch_loop_delay
from ckb_node.runtime.settings import ConfigError
from ckb_node.runtime.stop_signals import StopSignals
from ckb_node.runtime.system_limits import connections_within, peers_share, raise_descriptor_limit
from ckb_node.runtime.tasks import Fault, Tasks, first_error
from ckb_node.sync.chain_access import ChainAccess
from ckb_node.sync.pool_access import PoolAccess
from ckb_node.sync.relay.blocks import RelayFigures
from ckb_node.sync.service import SyncService
from ckb_node.txpool.fee_estimate import FeeEstimates
from ckb_node.txpool.recent_rejects import RecentRejects, open_rejects
from ckb_node.txpool.refused import RefusedTransactions
from ckb_node.txpool.service import PoolService
from ckb_node.verification.scripts import ScriptService
from ckb_node.version import VERSION
from consensus.params import Consensus, PowFunc
from network.libp2p.service import Libp2pService
from network.service import ListenError, NetworkService
from storage.chain_store import ChainStore
from storage.errors import StorageError, from_os_error
from storage.filters import FILTERS_DIRECTORY, FilterStore

__all__ = ["ListenError", "Node", "open_node", "run_node", "running", "serve"]

if TYPE_CHECKING:
    from ckb_node.rich_indexer.service import RichIndexerService

log = structlog.get_logger("node")

KEY_FILE = "network/secret_key"
REJECTS_DIRECTORY = "tx_pool/rejects"
REFUSED_DIRECTORY = "tx_pool/refused"


@dataclass(frozen=True)
class Node:
    """The parts of an open node. `filters` are None when they are not built, `libp2p` when it is off, `assembler`
    without [block_assembler], `indexer` without its module, `metrics` without an exporter. `events` are of blocks (see
    ckb_node.chain.block_events) and transactions (ckb_node.txpool.events). Its own tasks run in `tasks`."""

    config: Config
    tasks: Tasks
    consensus: Consensus
    store: ChainStore
    scripts: ScriptService
    chain: ChainService
    pool: PoolService
    network: NetworkService
    protocols: NodeProtocols
    progress: ProgressTeller
    relay_figures: RelayFigures
    operator_scripts: OperatorScripts
    onion: OnionPublisher | None
    libp2p: Libp2pService | None
    filters: FilterService | None
    assembler: BlockAssembler | None
    mining: MiningParts | None
    indexer: IndexerService | None
    rich_indexer: RichIndexerService | None
    services: Services
    news: News
    events: EventBus
    metrics: Metrics | None

    @property
    def faults(self) -> Sequence[Fault]:
        """What does not work now: parts of the node that failed, and sync when it stands."""
        return _faults(self.tasks, self.progress)


def _faults(tasks: Tasks, progress: ProgressTeller) -> Sequence[Fault]:
    return [*tasks.faults, *progress.faults]


@contextmanager
def open_node(config: Config, logs: LogControl | None = None) -> Iterator[Node]:
    """Everything but listening: usable from Python as it is, inside an event loop. `logs` are those of the process, if
    they are the node's to command."""
    with ExitStack() as stack:
        consensus, store, writer = stack.enter_context(open_chain(config))
        clock = SystemClock()
        tasks = Tasks(clock.now_ms)
        chain = ChainService(writer)
        stack.callback(chain.close)
        settings = config.file
        events, tip_signal = EventBus(), TipSignal(chain)
        pool, rejects = _open_pool(config, chain, writer.scripts, clock, events, stack)
        network, onion, libp2p = _open_network(config, consensus, clock.now_ms)
        operator_scripts = OperatorScripts(settings.notify)
        keys = alert_keys(settings.alert_signature)
        filters, indexer = _open_filters(config, chain, stack), open_indexer(config, chain, pool, stack)
        rich_indexer = open_rich_indexer(config, chain, pool, stack)
        stored_filters = None if filters is None else filters.store
        access, ibd, figures = ChainAccess(chain, clock.now_ms), InitialDownload(), RelayFigures()
        pool.fee_estimates = _fee_estimates(config, chain, pool, lambda: _is_downloading(chain, ibd, clock))
        protocols = NodeProtocols(
            enabled_protocols(settings.network, with_filters=config.builds_filters),
            VERSION,
            keys,
            operator_scripts.of_alerts,
            lambda scheduler: SyncService(
                access, PoolAccess(pool), scheduler, ibd, figures, settings.network.serving, stored_filters
            ),
        )
        progress = progress_teller(consensus, network, protocols.facts, clock.now_ms)
        faults = partial(_faults, tasks, progress)
        net = NetView(chain, network, VERSION, clock.now_ms, faults, protocols, ibd, protocols.facts, libp2p)
        lane = Lane("rpc", READERS)
        miner_config = _miner_config(config, consensus)
        assembler = None
        if miner_config is not None:
            assembler = BlockAssembler(chain, pool.pool, miner_config, clock.now_ms, lane)
        mining = open_mining(config, chain, pool.pool, assembler, tip_signal, clock.now_ms)
        chain.listen(publish_blocks(events))
        news = _open_news(lane, logs, stack)
        news.listen(events)
        chain.listen(news.on_change)
        chain.listen(operator_scripts.on_change)
        chain.listen_submitted(protocols.announce)
        services = Services(
            chain=chain,
            pool=pool,
            net=net,
            clock=clock,
            filters=filters,
            miner=assembler,
            stratum=None if mining is None else mining.stratum,
            testing=chain if _has_test_methods(config, consensus) else None,
            extra_well_known=config.extra_well_known(),
            indexer=indexer,
            rich_indexer=rich_indexer,
            lane=lane,
            version=VERSION,
            logs=logs,
            rejected_count=rejects.count,
        )
        stack.callback(lane.close)
        stack.callback(writer.scripts.end_runs)
        node = Node(
            config=config,
            tasks=tasks,
            consensus=consensus,
            store=store,
            scripts=writer.scripts,
            chain=chain,
            pool=pool,
            network=network,
            protocols=protocols,
            progress=progress,
            relay_figures=figures,
            operator_scripts=operator_scripts,
            onion=onion,
            libp2p=libp2p,
            filters=filters,
            assembler=assembler,
            mining=mining,
            indexer=indexer,
            rich_indexer=rich_indexer,
            services=services,
            news=news,
            events=events,
            metrics=None if config.metrics_address is None else Metrics(),
        )
        _measure(node)
        yield node


def _open_pool(
    config: Config, chain: ChainService, scripts: ScriptService, clock: SystemClock, events: EventBus, stack: ExitStack
) -> tuple[PoolService, RecentRejects]:
    settings = config.file.tx_pool
    workers = settings.max_tx_verify_workers
    executor = stack.enter_context(ThreadPoolExecutor(workers + 2, thread_name_prefix="scripts"))
    rejects = open_rejects(config.data_dir / REJECTS_DIRECTORY, settings.reject_limits(), clock.now_ms)
    stack.callback(rejects.close)
    pool = PoolService(chain, settings.limits(), scripts, executor, clock.now_ms, workers, rejects, events=events)
    pool.refused = RefusedTransactions(config.data_dir / REFUSED_DIRECTORY, rpc_url(config))
    return pool, rejects


def _is_downloading(chain: ChainService, ibd: InitialDownload, clock: SystemClock) -> bool:
    with chain.view() as view:
        return ibd.is_on(view.tip_header().timestamp, clock.now_ms())


def _fee_estimates(
    config: Config, chain: ChainService, pool: PoolService, is_downloading: Callable[[], bool]
) -> FeeEstimates:
    """What the configured algorithm learns from pool and chain from now on."""
    estimates = FeeEstimates(pool.pool, config.file.fee_estimator.algorithm, is_downloading)
    estimates.listen(pool.events, chain)
    return estimates


def _miner_config(config: Config, consensus: Consensus) -> MinerConfig | None:
    """Raises ConfigError."""
    if (fault := config.block_assembler_fault(consensus)) is not None:
        raise ConfigError(fault)
    return config.miner_config(VERSION)


def _has_test_methods(config: Config, consensus: Consensus) -> bool:
    """Raises ConfigError."""
    if Module.INTEGRATION_TEST not in config.file.rpc.modules:
        return False
    if consensus.pow_func is not PowFunc.DUMMY:
        raise ConfigError("rpc.modules: IntegrationTest needs a chain whose proof of work is Dummy")
    return True


def _open_network(
    config: Config, consensus: Consensus, now_ms: Callable[[], int]
) -> tuple[NetworkService, OnionPublisher | None, Libp2pService | None]:
    """What is configured of it; nothing listens yet. Raises ConfigError, KeyFileError."""
    section = config.file.network
    identity = load_or_create_identity(config.data_dir / KEY_FILE)
    network = network_service(
        section,
        identity,
        consensus.network_name,
        VERSION,
        config.data_dir,
        now_ms,
        with_filters=config.builds_filters,
    )
    onion = OnionPublisher(section, config.root, config.data_dir) if section.onion.listen_on_onion else None
    spoken = enabled_protocols(section, with_filters=config.builds_filters)
    return network, onion, libp2p_service(section, identity, consensus.network_name, VERSION, spoken)


def _open_filters(config: Config, chain: ChainService, stack: ExitStack) -> FilterService | None:
    if not config.builds_filters:
        return None
    filters = FilterService(chain, FilterStore.open(config.data_dir / FILTERS_DIRECTORY))
    stack.callback(filters.close)
    return filters


def _open_news(lane: Lane, logs: LogControl | None, stack: ExitStack) -> News:
    """What clients may subscribe to. Lines of the log come from any thread."""
    loop = asyncio.get_running_loop()

    def tell(text: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(news.on_log, text)

    entries = LogEntries(tell)

    def switch(is_on: bool) -> None:
        if logs is not None:
            (logs.listen if is_on else logs.unlisten)(entries)

    news = News(Hub({Topic.LOG: switch}), lane)
    stack.callback(switch, False)
    return news


def _measure(node: Node) -> None:
    metrics = node.metrics
    if metrics is None:
        return
    node_metrics.measure_process(metrics, lambda: node.faults)
    node_metrics.measure_chain(metrics, node.chain)
    node_metrics.measure_pool(metrics, node.pool, node.events)
    node_metrics.measure_scripts(metrics, node.scripts)
    measure_network(metrics, node.network)
    if node.libp2p is not None:
        measure_libp2p(metrics, node.libp2p)
    measure_sync(metrics, node.progress.progress, lambda: node.protocols.sync)
    node_metrics.measure_relay(metrics, node.relay_figures)
    node_metrics.measure_stratum(metrics, node.services.stratum)
    if node.indexer is not None:
        node_metrics.measure_indexer(metrics, node.indexer)
    elif node.rich_indexer is not None:
        node_metrics.measure_indexer(metrics, node.rich_indexer)


@asynccontextmanager
async def running(node: Node, connections: int, *, mine: bool) -> AsyncIterator[RpcAddresses]:
    """Serve RPC and run the node's tasks while the context lasts; yields where RPC listens.

    The shutdown order loses nothing: listeners close, running calls finish or are refused, tasks stop, and only then
    the pool is saved.
    """
    try:
        async with node.tasks as tasks:
            _start_tasks(node, tasks, mine=mine)
            miners = miners_share(node.mining, connections)
            peers = _peers_share(node.config, connections - miners)
            rpc = RpcParts(
                node.config,
                node.services,
                node.news,
                tasks,
                node.metrics,
                lambda: node.faults,
                lambda: node.chain.is_at_work or (node.assembler is not None and node.assembler.is_building),
            )
            async with (
                _network(node, tasks, peers),
                serving_figures(rpc),
                serving_miners(node.mining, tasks, miners),
                serving_rpc(rpc, connections - miners - peers) as addresses,
            ):
                try:
                    yield addresses
                finally:
                    log.info("stopping")
                    node.scripts.end_runs()
    except BaseException:
        with contextlib.suppress(StorageError):  # the first error says more
            _save_pool(node)
        raise
    _save_pool(node)


def _peers_share(config: Config, connections: int) -> int:
    """Connections to peers, newcomers included."""
    max_peers = config.file.network.max_peers
    share = peers_share(connections, max_peers)
    if share < max_peers:
        log.warning("open files allow fewer peers than network.max_peers; see `ulimit -n`", connections=share)
    return share


def _start_tasks(node: Node, tasks: Tasks, *, mine: bool) -> None:
    """Only the chain is vital; every other task fails alone and is restarted."""
    miner = _dev_miner(node) if mine else None
    tasks.start_vital("chain", node.chain.watch)
    for name, run in node.pool.tasks().items():
        tasks.start_restartable(name, run)
    tasks.start_restartable("saved pool", lambda: _load_pool(node))
    tasks.start_restartable("idle script processes", node.scripts.end_idle)
    if node.filters is not None:
        tasks.start_restartable("block filters", node.filters.run)
    if node.indexer is not None:
        tasks.start_restartable("indexer", node.indexer.run)
    if node.rich_indexer is not None:
        tasks.start_restartable("rich indexer", node.rich_indexer.run)
    if miner is not None:
        tasks.start_restartable("dev miner", miner.run)
    if node.metrics is not None:
        observe = node.metrics.histogram("ckb_event_loop_delay_seconds", "Delay of the event loop", DELAY_SECONDS)
        tasks.start_restartable("event loop's delay", lambda: watch_loop_delay(observe))


@asynccontextmanager
async def _network(node: Node, tasks: Tasks, connections: int) -> AsyncIterator[None]:
    """Listen for peers and dial while the context lasts. Raises ListenError. What fails later fails alone: a handler
    ends the session that it served, and these tasks are started again."""
    network = node.network
    async with contextlib.AsyncExitStack() as stack:
        try:
            layer = await stack.enter_async_context(network.running(node.protocols.handlers, connections))
        except ListenError as error:
            raise ListenError(f"network.listen_addresses: {error}") from None
        stack.callback(node.protocols.stop)
        tasks.start_restartable("addresses of peers", network.save_hourly)
        tasks.start_restartable("figures of the network", lambda: tell_figures(network, layer))
        tasks.start_restartable("progress", node.progress.run)
        for script in node.operator_scripts.configured:
            tasks.start_restartable(script.name, script.run)
        if (onion := node.onion) is not None:
            tasks.start_restartable("onion service", lambda: onion.run(layer))
        if (libp2p := node.libp2p) is not None:
            serve_exchange(libp2p, layer)
            stack.callback(start_gossip(libp2p, node.protocols, PoolAccess(node.pool), node.consensus))
            tasks.start_restartable("libp2p", lambda: libp2p.run(layer))
        yield


def _save_pool(node: Node) -> None:
    """Raises StorageError; the file is as before then."""
    path = _pool_file(node.config)
    try:
        count = node.pool.save(path)
    except OSError as error:
        log.error("the pool cannot be saved", path=str(path), reason=error.strerror)  # noqa: TRY400
        raise from_os_error(path, error) from error
    log.info("pool saved", transactions=count)


def _pool_file(config: Config) -> Path:
    return config.data_dir / config.file.tx_pool.persisted_data


async def _load_pool(node: Node) -> None:
    count = await node.pool.load(_pool_file(node.config))
    if count:
        log.info("pool loaded", transactions=count)


def _dev_miner(node: Node) -> DevMiner:
    if node.consensus.pow_func is not PowFunc.DUMMY:
        raise ConfigError("mining in the node needs a chain whose proof of work is Dummy")
    if node.assembler is None:
        raise ConfigError("block_assembler: the section is missing, so there is no lock to mine for")
    return DevMiner(node.chain, node.assembler, node.config.file.miner.interval_millis / 1000)


async def serve(
    config: Config, signals: StopSignals, connections: int, logs: LogControl | None = None, *, mine: bool
) -> None:
    """Open, print the banner, and run until a signal. Raises the error of a vital task."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopFaults())
    with open_node(config, logs) as node:
        signals.opened(partial(_set_from_thread, loop, stop))
        stay_responsive()  # before anyone may call: it holds the loop for a while
        async with running(node, connections, mine=mine) as addresses:
            with node.chain.view() as view:
                tip = view.tip_header()
            listening = Listening(addresses, peer_addresses(node.network, node.libp2p), miner_addresses(node.mining))
            sys.stdout.write(banner(config, node.consensus, tip, listening, mine=mine))
            sys.stdout.flush()
            with node.progress.on_terminal():
                await node.tasks.until(stop)
    log.info("stopped")


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, so the node has ended
        loop.call_soon_threadsafe(event.set)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run_node(config: Config, *, mine: bool) -> int:
    """`ckb-node run` and `dev`: 0 when the node was told to stop. Raises the errors of opening, and StorageError when
    the chain cannot be written any more."""
    logs = set_up_logs(config.file.logger, config.log_dir, "run")
    tell_unused(config.unused)
    obtain_consensus(config, configured_peers(config, _say), _say)
    connections = connections_within(raise_descriptor_limit())
    try:
        with crash_trace(config), StopSignals() as signals:
            asyncio.run(serve(config, signals, connections, logs, mine=mine))
    except ExceptionGroup as group:
        raise first_error(group) from group
    return 0
