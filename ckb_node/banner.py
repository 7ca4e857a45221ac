"""What a node says of itself when it is open: everything that a person needs next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckb_node.config import Config
from ckb_node.dev_accounts import FUNDED_KEYS, MINER_ARG, MINER_KEY
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.version import VERSION
from consensus.address import AddressNetwork, encode_address
from consensus.params import Consensus
from consensus.types.blockchain import Header, Script
from network.libp2p.service import Libp2pService
from network.multiaddr import AddressTransport
from network.service import NetworkService

SHANNONS = 100_000_000


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a node can be reached: RPC as host:port, peers as multiaddresses, miners as URLs."""

    rpc: str
    peers: Sequence[str]
    miners: Sequence[str] = ()


def peer_addresses(network: NetworkService, libp2p: Libp2pService | None) -> list[str]:
    """Where peers may connect by TCP and by libp2p, with this node's ids."""
    layer = network.layer
    found = () if layer is None else layer.own.listening
    own = [str(address) for address in found if address.transport is AddressTransport.TCP]
    return own if libp2p is None else [*own, *libp2p.configured]


def banner(config: Config, consensus: Consensus, tip: Header, listening: Listening, *, mine: bool) -> str:
    """Lines for the terminal."""
    lines = [
        f"ckb-node {VERSION}",
        f"  RPC      http://{listening.rpc}",
        *(f"  peers    {each}" for each in listening.peers or ["the node takes no connections"]),
        f"  chain    {consensus.id}, genesis 0x{consensus.genesis_hash.hex()}",
        f"  tip      {tip.number} 0x{tip.hash.hex()}",
        f"  data     {config.data_dir}",
        f"  mining   {_mining(config, mine=mine)}",
        *(f"  miners   {each}" for each in listening.miners),
    ]
    accounts = list(funded_accounts(consensus))
    if accounts:
        lines.append("  funded accounts (well known keys, for this dev chain only)")
    for lock, capacity in accounts:
        lines.append(f"    {encode_address(lock, AddressNetwork.TESTNET)}")
        lines.append(f"      {capacity // SHANNONS:,} CKB, private key 0x{FUNDED_KEYS[lock.args]}")
    lines += _miner_account(config) if accounts else []
    return "\n".join([*lines, "  Ctrl-C stops the node.", ""])


def funded_accounts(consensus: Consensus) -> list[tuple[Script, int]]:
    """Locks of the genesis' issued cells whose keys are published, with their capacity in shannons."""
    cellbase = consensus.genesis_block.transactions[0]
    sighash = consensus.secp256k1_blake160_sighash_all_type_hash
    return [
        (output.lock, output.capacity)
        for output in cellbase.body.outputs
        if output.lock.code_hash == sighash and output.lock.args in FUNDED_KEYS
    ]


def shown_address(host: str, port: int) -> str:
    """`host:port` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _miner_account(config: Config) -> list[str]:
    """The account that is paid for blocks, when it is that of dev chains."""
    miner = config.miner_config(VERSION)
    if miner is None or bytes_text(miner.lock.args) != MINER_ARG:
        return []
    return [
        "  mined rewards go to (a well known key too)",
        f"    {encode_address(miner.lock, AddressNetwork.TESTNET)}",
        f"      private key 0x{MINER_KEY}",
    ]


def _mining(config: Config, *, mine: bool) -> str:
    if config.file.block_assembler is None:
        return "off: no [block_assembler] is configured"
    if not mine:
        return "templates for miners by RPC"
    return f"one block every {config.file.miner.interval_millis / 1000:g} s"
