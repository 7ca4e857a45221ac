"""The system scripts of a chain as JavaScript SDKs want to be told them: CCC's `scripts`, Lumos' config."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ckb_node.commands.list_hashes import SpecHashes
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.runtime.errors import CommandError
from consensus.chainspec.genesis_build import OUTPUT_DAO, OUTPUT_MULTISIG_ALL, OUTPUT_SIGHASH_ALL
from consensus.params import TYPE_ID_CODE_HASH

PREFIX_MAINNET, PREFIX_OTHERS = "ckb", "ckt"
MAINNET_NAME = "ckb"
ANYONE_CAN_PAY_CODE_HASH = "0x3419a1c09eb2567f6552ee7a8ecffd64155cffe0f1796e6e61ec088d740c1356"
"""Type hash of the testnet's anyone-can-pay lock (RFC 26). CCC's signers look for cells of that lock and refuse to work
without its hash; genesis does not deploy it, so it goes without cell deps and none are found."""


@dataclass(frozen=True, slots=True)
class SystemScript:
    """A script by the SDKs' names, its code's output in the cellbase, and its dep group in the second transaction."""

    ccc: str
    lumos: str
    output_index: int
    dep_group: int | None


SYSTEM_SCRIPTS = (
    SystemScript("Secp256k1Blake160", "SECP256K1_BLAKE160", OUTPUT_SIGHASH_ALL, 0),
    SystemScript("Secp256k1Multisig", "SECP256K1_BLAKE160_MULTISIG", OUTPUT_MULTISIG_ALL, 1),
    SystemScript("NervosDao", "DAO", OUTPUT_DAO, None),
)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A script on a chain: its type hash, and the cell dep that brings its code."""

    code_hash: str
    tx_hash: str
    index: int
    dep_type: str


def deployed(script: SystemScript, hashes: SpecHashes) -> Deployed:
    """Where a script is. CommandError when the chain's genesis has none at its place."""
    code = {cell.index: cell for cell in hashes.system_cells}.get(script.output_index)
    if code is None or not isinstance(code.type_hash, str):
        raise CommandError(f"{script.ccc} is not output {script.output_index} of this chain's first transaction")
    if script.dep_group is None:
        return Deployed(code.type_hash, code.tx_hash, code.index, "code")
    group = {group.index: group for group in hashes.dep_groups}.get(script.dep_group)
    if group is None:
        raise CommandError(f"this chain's genesis has no dep group for {script.ccc}")
    return Deployed(code.type_hash, group.tx_hash, group.index, "depGroup")


def ccc_scripts(_: str, hashes: SpecHashes) -> dict[str, Any]:
    """`scripts` of a client of CCC."""
    scripts: dict[str, Any] = {}
    for script in SYSTEM_SCRIPTS:
        found = deployed(script, hashes)
        out_point = {"txHash": found.tx_hash, "index": found.index}
        dep = {"cellDep": {"outPoint": out_point, "depType": found.dep_type}}
        scripts[script.ccc] = {"codeHash": found.code_hash, "hashType": "type", "cellDeps": [dep]}
    for name, code_hash in (("TypeId", bytes_text(TYPE_ID_CODE_HASH)), ("AnyoneCanPay", ANYONE_CAN_PAY_CODE_HASH)):
        scripts[name] = {"codeHash": code_hash, "hashType": "type", "cellDeps": []}
    return scripts


def lumos_config(chain: str, hashes: SpecHashes) -> dict[str, Any]:
    """What `config.initializeConfig` of Lumos takes."""
    scripts = {}
    for script in SYSTEM_SCRIPTS:
        found = deployed(script, hashes)
        scripts[script.lumos] = {
            "CODE_HASH": found.code_hash,
            "HASH_TYPE": "type",
            "TX_HASH": found.tx_hash,
            "INDEX": hex(found.index),
            "DEP_TYPE": found.dep_type,
        }
    return {"PREFIX": PREFIX_MAINNET if chain == MAINNET_NAME else PREFIX_OTHERS, "SCRIPTS": scripts}


SDK_FORMATS: dict[str, Callable[[str, SpecHashes], dict[str, Any]]] = {"ccc": ccc_scripts, "lumos": lumos_config}
"""By the name of the format; each takes the chain's name and hashes."""


def as_sdk_json(form: str, chain: str, hashes: SpecHashes) -> str:
    """Indented JSON for one chain. CommandError when its system cells are not where SDKs look."""
    return json.dumps(SDK_FORMATS[form](chain, hashes), indent=2)
