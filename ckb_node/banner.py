"""What a node says of itself when it is open: everything that a person needs next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

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


EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Hosts that stand for all addresses of a machine, and cannot be dialled: the one of each that it has for itself."""
_FROM_OTHERS: Final = "  (other machines: by an address of this one)"

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class RpcAddresses:
    """Host and port of each transport of RPC, None where it is not open."""

    http: Address
    websocket: Address | None = None
    tcp: Address | None = None


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a node can be reached: peers as multiaddresses, miners as URLs."""

    rpc: RpcAddresses
    peers: Sequence[str]
    miners: Sequence[str] = ()


def peer_addresses(network: NetworkService, libp2p: Libp2pService | None) -> list[str]:
    """Where peers may connect by TCP and by libp2p, with this node's ids."""
    layer = network.layer
    found = () if layer is None else layer.own.listening
    own = [str(address) for address in found if address.transport is AddressTransport.TCP]
    return own if libp2p is None else [*own, *(each for each in libp2p.configured if "/tcp/0/" not in each)]


def banner(config: Config, consensus: Consensus, tip: Header, listening: Listening, *, mine: bool) -> str:
    """Lines for the terminal."""
    lines = [
        f"ckb-node {VERSION}",
        *_rpc_lines(listening.rpc),
        *(f"  peers    {_dialable(each)}" for each in listening.peers or ["the node takes no connections"]),
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


def _rpc_lines(rpc: RpcAddresses) -> Iterator[str]:
    yield f"  RPC      {_url('http', rpc.http)}"
    if rpc.websocket is not None:
        yield f"  events   {_url('ws', rpc.websocket)}"
    if rpc.tcp is not None:
        yield f"  events   {_url('tcp', rpc.tcp)}"


def _url(scheme: str, address: Address) -> str:
    return f"{scheme}://{local_address(*address)}{_FROM_OTHERS if address[0] in EVERYWHERE else ''}"


def _dialable(peer_address: str) -> str:
    """A multiaddress that can be dialled from here, in the place of one that stands for all of this machine's."""
    for host, own in EVERYWHERE.items():
        protocol = "/ip6/" if ":" in host else "/ip4/"
        if peer_address.startswith(f"{protocol}{host}/"):
            return peer_address.replace(host, own, 1) + _FROM_OTHERS
    return peer_address


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


def local_address(host: str, port: int) -> str:
    """`host:port` by which this machine reaches what listens there."""
    return shown_address(EVERYWHERE.get(host, host), port)


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
