"""What a node does for miners besides RPC: the feed of templates, who is told of them, and the stratum server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from ckb_node.banner import shown_address
from ckb_node.chain.service import ChainService
from ckb_node.config import Config
from ckb_node.mining.assembler import BlockAssembler
from ckb_node.mining.feed import TemplateFeed, TipSignal
from ckb_node.mining.notify import TemplateNotifier
from ckb_node.mining.template import BlockTemplate
from ckb_node.node_rpc import told_address
from ckb_node.rpc.template_text import template_text
from ckb_node.runtime.settings import ConfigError
from ckb_node.runtime.tasks import Tasks
from ckb_node.stratum.limits import PAYOUT_LOCK_BYTES
from ckb_node.stratum.service import StratumService
from ckb_node.txpool.pool import TxPool

log = structlog.get_logger("stratum")

LEAST_INTERVAL_S: Final = 0.05
"""Between two templates on the same tip, whatever is configured."""
MINERS_SHARE: Final = 2
"""Miners get at most this part of the connections that the system allows."""


@dataclass(frozen=True)
class MiningParts:
    """Of an open node with a block assembler. `stratum` is None when it is not configured."""

    config: Config
    feed: TemplateFeed
    notifier: TemplateNotifier
    stratum: StratumService | None


def open_mining(
    config: Config,
    chain: ChainService,
    pool: TxPool,
    assembler: BlockAssembler | None,
    signal: TipSignal,
    now_ms: Callable[[], int],
) -> MiningParts | None:
    """None without a block assembler. Raises ConfigError."""
    section, stratum_section = config.file.block_assembler, config.file.stratum
    if assembler is None or section is None:
        if stratum_section.is_on:
            raise ConfigError("stratum: needs the section [block_assembler], whose lock blocks are mined for")
        return None
    interval_s = max(section.update_interval_millis / 1000, LEAST_INTERVAL_S)
    feed = TemplateFeed(chain, pool, assembler, signal, now_ms, interval_s)

    async def write(template: BlockTemplate) -> bytes:
        return (await chain.run_in_reader(template_text, template)).text

    notifier = TemplateNotifier(section, write)
    if notifier.is_wanted:
        feed.listen(notifier)
    stratum = None
    if stratum_section.is_on:
        stratum = StratumService(chain, stratum_section, now_ms)
        feed.listen(stratum)
        if stratum_section.solo_payout == "user":
            assembler.reserved_bytes = PAYOUT_LOCK_BYTES
    return MiningParts(config, feed, notifier, stratum)


def miner_addresses(parts: MiningParts | None) -> list[str]:
    """Where miners connect, as they are configured with it."""
    if parts is None or parts.stratum is None:
        return []
    return [
        f"stratum+{'ssl' if is_tls else 'tcp'}://{shown_address(host, port)}"
        for (host, port), is_tls in parts.stratum.addresses
    ]


def miners_share(parts: MiningParts | None, connections: int) -> int:
    """How many of all connections are miners'."""
    if parts is None or parts.stratum is None:
        return 0
    wanted = parts.stratum.section.max_connections
    share = min(wanted, connections // MINERS_SHARE)
    if share < wanted:
        log.warning("open files allow fewer miners than stratum.max_connections; see `ulimit -n`", connections=share)
    return share


@asynccontextmanager
async def serving_miners(parts: MiningParts | None, tasks: Tasks, connections: int) -> AsyncIterator[None]:
    """Listen for miners while the context lasts. Raises ListenError, ConfigError. What fails later fails alone."""
    if parts is None or not parts.feed.is_wanted:
        yield
        return
    stratum = parts.stratum
    try:
        if stratum is not None:
            _listen(parts.config, stratum, connections)
            tasks.start_restartable("stratum", stratum.run)
        tasks.start_restartable("templates", parts.feed.run)
        if parts.notifier.is_wanted:
            for name, run in parts.notifier.tasks():
                tasks.start_restartable(name, run)
        yield
    finally:
        if stratum is not None:
            stratum.close()


def _listen(config: Config, stratum: StratumService, connections: int) -> None:
    tcp, tls = config.stratum_addresses
    stratum.gate.most = connections
    for address, kind in ((tcp, "stratum"), (tls, "stratum by TLS")):
        if address is not None:
            with told_address(address, kind):
                stratum.listen(address, config.root, is_tls=address is tls)
    for (host, port), is_tls in stratum.addresses:
        log.info("miners may connect", address=shown_address(host, port), tls=is_tls)
