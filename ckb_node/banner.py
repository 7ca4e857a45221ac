"""What a node says of itself when it is open: everything that a person needs next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckb_node.version import VERSION
from consensus.address import AddressNetwork, encode_address
from consensus.params import Consensus
from consensus.types.blockchain import Script

if TYPE_CHECKING:
    from ckb_node.node import Node

SHANNONS = 100_000_000
DEV_KEYS = {
    bytes.fromhex("c8328aabcd9b9e8e64fbc566c4385c3bdeb219d7"): (
        "d00c06bfd800d27397002dca6fb0993d5ba6399b4238b2f29ee9deb97593d2bc"
    ),
    bytes.fromhex("470dcdc5e44064909650113a274b3b36aecb6dc7"): (
        "63d86723e08f0f813a36ce6aa123bb2289d90680ae1e99d4de8cdb334553f24d"
    ),
}
"""Private keys of the dev chain's accounts, by the arguments of their locks: published, worth nothing elsewhere."""


def banner(node: Node, host: str, port: int, *, mine: bool) -> str:
    """Lines for the terminal."""
    consensus = node.consensus
    with node.chain.view() as view:
        tip = view.tip_header()
    shown_host = f"[{host}]" if ":" in host else host
    lines = [
        f"ckb-node {VERSION}",
        f"  RPC      http://{shown_host}:{port}",
        f"  chain    {consensus.id}, genesis 0x{consensus.genesis_hash.hex()}",
        f"  tip      {tip.number} 0x{tip.hash.hex()}",
        f"  data     {node.config.data_dir}",
        f"  mining   {_mining(node, mine=mine)}",
    ]
    accounts = list(funded_accounts(consensus))
    if accounts:
        lines.append("  funded accounts (well known keys, for this dev chain only)")
    for lock, capacity in accounts:
        lines.append(f"    {encode_address(lock, AddressNetwork.TESTNET)}")
        lines.append(f"      {capacity // SHANNONS:,} CKB, private key 0x{DEV_KEYS[lock.args]}")
    return "\n".join([*lines, "  Ctrl-C stops the node.", ""])


def funded_accounts(consensus: Consensus) -> list[tuple[Script, int]]:
    """Locks of the genesis' issued cells whose keys everybody knows, with their capacity in shannons."""
    cellbase = consensus.genesis_block.transactions[0]
    sighash = consensus.secp256k1_blake160_sighash_all_type_hash
    return [
        (output.lock, output.capacity)
        for output in cellbase.body.outputs
        if output.lock.code_hash == sighash and output.lock.args in DEV_KEYS
    ]


def _mining(node: Node, *, mine: bool) -> str:
    if node.assembler is None:
        return "off: config.toml has no [block_assembler]"
    if not mine:
        return "templates for miners by RPC"
    return f"one block every {node.config.file.miner.interval_millis / 1000:g} s"
