"""The reference's ckb-miner.toml, said in the words of a node's file: `ckb-node miner` uses it as it is."""

from __future__ import annotations

from typing import Any, Final

from ckb_node.runtime.settings import ConfigError

CKB_MINER_TOML: Final = "ckb-miner.toml"
_SECTIONS: Final = ("data_dir", "chain", "logger", "sentry", "memory_tracker", "metrics", "miner")
_CLIENT: Final = {"rpc_url": "rpc_url", "poll_interval": "poll_interval_millis", "listen": "listen"}
_CLIENT_WITHOUT_EFFECT: Final = "block_on_submit"
"""What is found is submitted at once, and new work is asked for when the node has answered, in any case."""


def as_node_document(document: dict[str, Any]) -> None:
    """In place. Raises ConfigError with the key."""
    for key in document:
        if key not in _SECTIONS:
            raise ConfigError(f"{key}: unknown key")
    miner = document.get("miner")
    if not isinstance(miner, dict):
        raise ConfigError("miner: expected a section")
    client, workers = miner.get("client"), miner.get("workers")
    if not isinstance(client, dict):
        raise ConfigError("miner.client: expected a section")
    if not isinstance(workers, list) or not workers:
        raise ConfigError("miner.workers: expected a list of sections")
    for key in miner:
        if key not in ("client", "workers"):
            raise ConfigError(f"miner.{key}: unknown key")
    for key in client:
        if key not in (*_CLIENT, _CLIENT_WITHOUT_EFFECT):
            raise ConfigError(f"miner.client.{key}: unknown key")
    ours = {ours: client[theirs] for theirs, ours in _CLIENT.items() if theirs in client}
    document["miner"] = {**ours, "workers": workers}
