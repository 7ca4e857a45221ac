"""A chain spec's canonical text, whose hash is the `spec_hash` of `list-hashes`: TOML with the keys in a fixed order.

Order and layout are those of the reference, whose hashes of the public chains' specs are known (tests/consensus).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Table = dict[str, Any]
Absolute = Callable[[str], str]
"""From the name of a file in a spec to its absolute path."""

_SCRIPT = ("code_hash", "hash_type", "args")
_FILE = ("bundled", "file", "raw")
_KEYS: dict[str, tuple[str, ...]] = {
    "": ("name", "genesis", "params", "pow"),
    "genesis": (
        "version", "parent_hash", "timestamp", "compact_target", "uncles_hash", "hash", "nonce", "issued_cells",
        "genesis_cell", "system_cells", "system_cells_lock", "bootstrap_lock", "dep_groups", "satoshi_gift",
    ),
    "genesis.issued_cells": ("capacity", "data", "type", "lock"),
    "genesis.issued_cells.type": _SCRIPT,
    "genesis.issued_cells.lock": _SCRIPT,
    "genesis.genesis_cell": ("message", "lock"),
    "genesis.genesis_cell.lock": _SCRIPT,
    "genesis.system_cells": ("create_type_id", "capacity", "file"),
    "genesis.system_cells.file": _FILE,
    "genesis.system_cells_lock": _SCRIPT,
    "genesis.bootstrap_lock": _SCRIPT,
    "genesis.dep_groups": ("name", "files"),
    "genesis.dep_groups.files": _FILE,
    "genesis.satoshi_gift": ("satoshi_pubkey_hash", "satoshi_cell_occupied_ratio"),
    "genesis.satoshi_gift.satoshi_cell_occupied_ratio": ("numer", "denom"),
    "params": (
        "initial_primary_epoch_reward", "secondary_epoch_reward", "max_block_cycles", "max_block_bytes",
        "cellbase_maturity", "primary_epoch_reward_halving_interval", "epoch_duration_target", "genesis_epoch_length",
        "permanent_difficulty_in_dummy", "max_block_proposals_limit", "orphan_rate_target",
        "starting_block_limiting_dao_withdrawing_lock", "hardfork",
    ),
    "params.hardfork": ("ckb2023",),
    "pow": ("func", "params"),
}  # fmt: skip
"""Keys of each table, in order."""

_GIFT: Table = {
    "satoshi_pubkey_hash": "0x62e907b15cbf27d5425399ebf6f0fb50ebb88f18",
    "satoshi_cell_occupied_ratio": {"numer": 6, "denom": 10},
}
_HEX = re.compile(r"0x[0-9a-fA-F]*")


def canonical_text(document: Table, absolute: Absolute) -> str:
    """The text of a parsed spec that `consensus.chainspec.spec.read_spec` takes."""
    genesis = {"satoshi_gift": _GIFT, **document["genesis"]}
    whole = {"params": {}, **document, "genesis": genesis}
    return "".join(_lines(whole, "", absolute))


def _lines(table: Table, path: str, absolute: Absolute) -> Iterator[str]:
    """The entries of a table. A header begins with an empty line, unless nothing stands before it in its table."""
    is_empty = True
    for key in _KEYS[path]:
        if key not in table:
            continue
        value, inner = table[key], f"{path}.{key}".removeprefix(".")
        gap = "" if is_empty else "\n"
        if isinstance(value, dict):
            yield f"{gap}[{inner}]\n"
            yield from _lines(value, inner, absolute)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, item in enumerate(value):
                yield f"{gap if index == 0 else chr(10)}[[{inner}]]\n"
                yield from _lines(item, inner, absolute)
        else:
            is_file = key == "file" and _KEYS[path] is _FILE
            yield f"{key} = {_value(absolute(value) if is_file else value, key)}\n"
        is_empty = False


def _value(value: Any, key: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(each, key) for each in value) + "]"
    is_hex = key not in ("message", "name") and _HEX.fullmatch(value) is not None
    return json.dumps(value.lower() if is_hex else value, ensure_ascii=False)
