"""Sections of the configuration that this package reads."""

from __future__ import annotations

from typing import Final

import msgspec

from ckb_node.jsonrpc_types.chain import ScriptJson
from ckb_node.rpc.dispatch import DEFAULT_BATCH_LIMIT
from ckb_node.rpc.registry import Module
from ckb_node.runtime.settings import Positive, Section

DEFAULT_RPC_PORT: Final = 8114
DEFAULT_WS_PORT: Final = 28114


class RpcSection(Section, frozen=True):
    """[rpc]: sizes in bytes. `modules` names what is open, `cors_origins` the web pages that may call besides those of
    this machine, `allowed_hosts` the node's own names besides addresses and `localhost`."""

    listen_address: str = f"127.0.0.1:{DEFAULT_RPC_PORT}"
    tcp_listen_address: str | None = None
    ws_listen_address: str | None = None
    max_request_body_size: Positive = 10 << 20
    rpc_batch_limit: Positive = DEFAULT_BATCH_LIMIT
    modules: list[Module] = msgspec.field(
        default_factory=lambda: [
            Module.NET,
            Module.POOL,
            Module.MINER,
            Module.CHAIN,
            Module.STATS,
            Module.SUBSCRIPTION,
            Module.EXPERIMENT,
            Module.INDEXER,
            Module.TERMINAL,
        ]
    )
    cors_origins: list[str] = msgspec.field(default_factory=list)
    allowed_hosts: list[str] = msgspec.field(default_factory=list)
    enable_deprecated_rpc: bool = False
    extra_well_known_lock_scripts: list[ScriptJson] = msgspec.field(default_factory=list)
    extra_well_known_type_scripts: list[ScriptJson] = msgspec.field(default_factory=list)
