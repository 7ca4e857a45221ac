"""The reference's ckb.toml, read as this node's configuration: an operator's file is used as it is.

Most of its keys are ours too. Two tables here have the others: what has no effect is told at the start, where the file
asks for something else than the reference's own default; what an operator would miss is refused. Both hold for
config.toml too, so that sections can be copied. `as_ours` is for ckb.toml alone: the same key with another meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from ckb_node.runtime.settings import LOG_LEVELS, ConfigError

CKB_TOML: Final = "ckb.toml"
LEAST_ANCESTORS: Final = 1000
"""The reference takes no smaller `tx_pool.max_ancestors_count`, though the files that it writes say 25."""

log = structlog.get_logger("node")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unused:
    """A key that has no effect, and what there is in its place."""

    key: str
    instead: str


_DATABASE: Final = "the database, LevelDB and files of blocks, needs no tuning"
_CACHES: Final = "caches of the store are bounded by the node itself"
_SENTRY: Final = "faults are told in the log, at GET /health and to Prometheus, and to nobody else"
_INDEX: Final = "indexes lie in data_dir and follow each block"
_POOL: Final = "the reference takes no notice of it either"
_HEADERS: Final = "headers that wait for their blocks are on the disk, not in memory"

WITHOUT_EFFECT: Final[dict[str, tuple[str, Sequence[object]]]] = {
    "ancient": ("all blocks lie in data_dir", ()),
    "tmp_dir": ("temporary files lie in data_dir", ()),
    "indexer": ("the section is indexer_v2 now", ()),
    "sentry.dsn": (_SENTRY, ()),
    "sentry.org_ident": (_SENTRY, ()),
    "sentry.org_contact": (_SENTRY, ()),
    "memory_tracker.interval": ("metrics.exporter.prometheus has the process' memory", ()),
    "logger.emit_sentry_breadcrumbs": (_SENTRY, ()),
    "db.path": ("the chain lies in data_dir", ()),
    "db.cache_size": (_DATABASE, (256 << 20, 128 << 20)),
    "db.options": (_DATABASE, ()),
    "db.options_file": (_DATABASE, ("default.db-options",)),
    "network.path": ("the network's files lie in data_dir/network", ()),
    "network.dns_seeds": ("bootnodes and whitelist_peers may name hosts: /dns4/host/tcp/8115/p2p/Qm…", ()),
    "network.discovery_announce_check_interval_secs": ("addresses of peers are announced once a minute", ()),
    "network.upnp": ("forward the port in the router; nodes behind routers are also reached by hole punching", ()),
    "network.channel_size": ("queues are bounded by bytes, see max_send_buffer", ()),
    "network.sync.header_map.primary_limit": (_HEADERS, ()),
    "network.sync.header_map.backend_close_threshold": (_HEADERS, ()),
    "network.sync.header_map.memory_limit": (_HEADERS, ("256MB",)),
    "rpc.threads": ("one event loop answers, and lanes of threads that the node sizes itself", ()),
    "rpc.reject_ill_transactions": (_POOL, (True,)),
    "tx_pool.max_mem_size": (_POOL, ()),
    "tx_pool.max_cycles": (_POOL, ()),
    "tx_pool.max_verify_cache_size": (_POOL, ()),
    "tx_pool.max_conflict_cache_size": (_POOL, ()),
    "tx_pool.max_committed_txs_hash_cache_size": (_POOL, ()),
    "tx_pool.recent_reject": ("reasons of refused transactions lie in data_dir/tx_pool", ()),
    "store.header_cache_size": (_CACHES, (4096,)),
    "store.cell_data_cache_size": (_CACHES, (128,)),
    "store.block_proposals_cache_size": (_CACHES, (30,)),
    "store.block_tx_hashes_cache_size": (_CACHES, (30,)),
    "store.block_uncles_cache_size": (_CACHES, (30,)),
    "store.block_extensions_cache_size": (_CACHES, (30,)),
    "store.cellbase_cache_size": (_CACHES, ()),
    "store.freezer_enable": ("old blocks lie in files of their own always", ()),
    "notify.notify_tx_timeout": ("nothing waits for who is told of transactions", ()),
    "notify.notify_alert_timeout": ("nothing waits for who is told of alerts", ()),
    "indexer_v2.store": (_INDEX, ()),
    "indexer_v2.secondary_path": (_INDEX, ()),
    "indexer_v2.poll_interval": (_INDEX, (2,)),
    "indexer_v2.db_background_jobs": (_INDEX, ()),
    "indexer_v2.db_keep_log_file_num": (_INDEX, ()),
}
"""By key: what there is instead, and the values besides empty ones that ask for nothing."""

_SECTIONS: Final = ("sentry", "memory_tracker", "db", "store", "network.sync.header_map")
"""Sections all of whose keys are without effect."""


def take_unused(document: Document) -> Sequence[Unused]:
    """Take the keys without effect out of a document; those of them that ask for something. ConfigError."""
    found = []
    for key, (instead, defaults) in WITHOUT_EFFECT.items():
        value = _take(document, key)
        if value and value not in defaults:
            found.append(Unused(key, instead))
    for section in _SECTIONS:
        left = _take(document, section)
        if isinstance(left, dict) and left:
            raise ConfigError(f"{section}.{next(iter(left))}: unknown key")
        if left and not isinstance(left, dict):
            raise ConfigError(f"{section}: expected a section")
    return found


def tell_unused(unused: Sequence[Unused]) -> None:
    """One line of the log for each."""
    for each in unused:
        log.warning("a key of the configuration has no effect", key=each.key, instead=each.instead)


def as_ours(document: Document, root: Path) -> None:
    """Say a ckb.toml of the directory `root` in this node's words, in place. Raises ConfigError."""
    logger = document.setdefault("logger", {})
    if isinstance(logger, dict):
        logger.setdefault("filter", "error")
        logger.setdefault("log_to_file", False)
        for section in (logger, *_tables(logger.get("extra"))):
            _change(section, "filter", str, log_filter)
    pool = document.get("tx_pool")
    _change(pool, "max_ancestors_count", int, lambda count: max(LEAST_ANCESTORS, count) if count > 0 else count)
    _change(pool, "persisted_data", str, lambda text: str((root / text).absolute().with_suffix(".v1")))
    indexer = document.get("indexer_v2")
    if isinstance(indexer, dict):
        _change(indexer.get("rich_indexer"), "store", str, lambda text: str((root / text).absolute()))
    _name_exporter(document)


def _name_exporter(document: Document) -> None:
    """There an exporter may have any name; what it is its target says."""
    metrics = document.get("metrics")
    exporters = metrics.get("exporter") if isinstance(metrics, dict) else None
    if not isinstance(metrics, dict) or not isinstance(exporters, dict) or "prometheus" in exporters:
        return
    if len(exporters) == 1:
        metrics["exporter"] = {"prometheus": next(iter(exporters.values()))}


def log_filter(text: str) -> str:
    """A filter of the reference's logs as one of ours: `ckb_rpc=DEBUG,ckb-sync::relayer` is
    `ckb-rpc=debug,ckb-sync=trace`. Raises ConfigError."""
    parts, slash, _ = text.partition("/")
    if slash:
        raise ConfigError("logger.filter: a pattern for texts, behind `/`, is not known here")
    return ",".join(_log_part(part.strip()) for part in parts.split(",") if part.strip())


def _log_part(part: str) -> str:
    name, equals, level = part.partition("=")
    if not equals and name.lower() in LOG_LEVELS:
        return name.lower()
    crate = name.split("::")[0].replace("_", "-")
    return f"{crate}={level.strip().lower() or LOG_LEVELS[-1]}"


def _tables(value: object) -> Sequence[object]:
    return list(value.values()) if isinstance(value, dict) else ()


def _change(section: object, key: str, kind: type, change: Callable[[Any], object]) -> None:
    """What is not there, empty, or of another type stays as it is: that is told later."""
    if isinstance(section, dict) and section.get(key) and type(section[key]) is kind:
        section[key] = change(section[key])


def _take(document: Document, key: str) -> object:
    """Remove a key; its value, or None."""
    *sections, last = key.split(".")
    where: object = document
    for section in sections:
        where = where.get(section) if isinstance(where, dict) else None
    return where.pop(last, None) if isinstance(where, dict) else None
