"""The commented configuration that `ckb-node init` writes; `config.toml` at the top of the repository is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import get_args

from ckb_node.net.settings import DEFAULT_LIBP2P_PORT, DEFAULT_P2P_PORT, ProtocolName
from ckb_node.specs.bootnodes import BOOTNODES

CHAINS = ("mainnet", "testnet", "preview", "staging", "dev")

_DEV_MODULES = (
    "Net",
    "Pool",
    "Miner",
    "Chain",
    "Stats",
    "Subscription",
    "Experiment",
    "Terminal",
    "Debug",
    "IntegrationTest",
    "Indexer",
)
_MODULES = ("Net", "Pool", "Miner", "Chain", "Stats", "Subscription", "Experiment", "Terminal")

_TEXT = Template("""\
# Configuration of ckb-node for the chain "$chain", made by `ckb-node init --chain $chain`.
# Keys that are commented out show their defaults. Paths are relative to the directory of this file.

data_dir = "data"

[chain]
# { bundled = "specs/mainnet.toml" }, testnet, preview, staging or dev, or a file: { file = "specs/dev.toml" }
spec = $spec

[logger]
# off, error, warn, info, debug or trace; parts of the node may differ: "info,rpc=debug". ckb-script=debug shows what
# scripts print and why they fail, txpool=debug which transactions come in.
filter = "$filter"
color = true
# to data/logs/<command>.log
log_to_file = $log_to_file
log_to_stdout = $log_to_stdout
# A log file of so many bytes is renamed to .1, .1 to .2 and so on; so many files are kept in all.
# max_file_size = 16777216
# max_files = 8
# A second log, data/logs/<name>.log: [logger.extra.<name>] with a filter of its own.

[rpc]
# Whoever reaches this address commands the node: keep it to this machine, or to machines that you trust.
listen_address = "127.0.0.1:$rpc_port"
# The same by TCP, one request or batch a line, and by WebSocket; here clients can subscribe to news.
# `ckb-node dev` opens WebSocket by itself.
# tcp_listen_address = "127.0.0.1:18114"
# ws_listen_address = "127.0.0.1:28114"
# Web pages that may call, besides those of this machine (http://localhost:*, http://127.0.0.1:*, http://[::1]:*), as
# ["https://dapp.example"]; ["*"] lets all pages in, for public nodes. Pages of other machines never get the modules
# Net, Miner, Terminal, Debug, Alert and IntegrationTest, nor what removes transactions from the pool. Programs, which
# send no Origin, may all.
# cors_origins = []
# Names of this node that requests may show in Host, besides IP addresses, localhost and names without a dot; without
# ports. A proxy that passes Host on needs its name here.
# allowed_hosts = []
# Larger requests are refused; bytes.
# max_request_body_size = 10485760
# Most calls in one batch.
# rpc_batch_limit = 2000
# Net, Pool, Miner, Chain, Stats, Subscription, Experiment, Terminal, Indexer, RichIndexer, Debug, Alert;
# IntegrationTest on chains with Dummy proof of work.
modules = [$modules]
# Opens methods that a release has switched off as deprecated; today there are none.
# enable_deprecated_rpc = false
# `threads` and `reject_ill_transactions` of the reference may stand here, and change nothing.
# Scripts that `well_known_scripts_only` of send_transaction lets pass besides the system's.
# extra_well_known_lock_scripts = [{ code_hash = "0x…", hash_type = "type", args = "0x" }]
# extra_well_known_type_scripts = []

[tx_pool]
# Bytes.
# max_tx_pool_size = 180000000
# Shannons per 1000 bytes. Transactions can be replaced by ones that pay more while the second is above the first.
# min_fee_rate = 1000
# min_rbf_rate = 1500
# max_tx_verify_cycles = 70000000
# Scripts of so many transactions run at a time.
# max_tx_verify_workers = 2
# max_ancestors_count = 1000
# expiry_hours = 12
# Where transactions are kept between runs, relative to data_dir.
# persisted_data = "tx_pool/persisted_data.v1"
# Why transactions were refused: get_transaction tells it for so many days, and of so many, 300 bytes of disk each.
# keep_rejected_tx_hashes_days = 7
# keep_rejected_tx_hashes_count = 1000000

[fee_estimator]
# What estimate_fee_rate learns from the chain: ConfirmationFraction or WeightUnitsFlow. Without one, and until it has
# learnt enough, it tells what the pool holds now.
# algorithm = "WeightUnitsFlow"

[block_filters]
# Filters of all blocks (RFC 45), which light clients ask for and RPC get_block_filter shows, are built behind the tip,
# where network.support_protocols has Filter; `enabled`, true or false, decides otherwise.

[indexer_v2]
# Of the modules Indexer and RichIndexer. Cells that waiting transactions spend are left out:
# index_tx_pool = false
# Only these blocks and cells are indexed; docs/INDEXER.md has the language. A change builds the index anew.
# block_filter = 'block.header.number.to_uint() >= "0x0".to_uint()'
# cell_filter = 'let script = output.type; script != () && script.args == "0x"'
# Indexing begins behind this block.
# init_tip_hash = "0x…"
# Most objects of one answer; by default any number. Seconds that one search may work.
# request_limit = 400  # or another number
# timeout_limit = 10

# Where the module RichIndexer keeps its tables, see docs/RICH-INDEXER.md; without this section in SQLite.
# [indexer_v2.rich_indexer]
# db_type = "postgres"
# db_name = "ckb-rich-indexer"
# db_host = "127.0.0.1"
# db_port = 5432
# db_user = "postgres"
# db_password = ""

# Figures of the node for Prometheus at http://<listen_address>/metrics; without this section nothing is measured.
# [metrics.exporter.prometheus]
# target = { type = "prometheus", listen_address = "127.0.0.1:8100" }

[network]
# Where peers may connect: /ip4/<address>/tcp/<port>, /ip6/…; [] or no such key: none. 0 as port is any that is free.
listen_addresses = [$listen_address]
# Addresses of this node that it cannot know itself, as those of a forwarded port: ["/ip4/203.0.113.7/tcp/8115"].
# public_addresses = []
# Nodes that are asked for peers while none are known, as "/ip4/…/tcp/…/p2p/<peer id>"; /dns4/<name> names a host.
# At the first start on a public chain they, or peers that they name, give its genesis block (`run --genesis-peer`).
bootnodes = [$bootnodes]
# Peers that are always connected, never evicted and never banned, and whether there are to be no others.
# whitelist_peers = []
# whitelist_only = false
# Peers in all, and those of them that this node dials.
# max_peers = 125
# max_outbound_peers = 8
# Seconds: between pings, until a silent peer is disconnected, between attempts to find peers (0: none).
# ping_interval_secs = 120
# ping_timeout_secs = 1200
# connect_outbound_interval_secs = 15
# Private addresses are told to peers too, as networks on one machine or in one house need it.
$discovery_local_address
# Room is made for newcomers, so that the node can serve as a bootnode.
# bootnode_mode = false
# Sync and Identify are always on.
# support_protocols = [$support_protocols]
# A peer for which more bytes than this wait to be sent is disconnected.
# max_send_buffer = 25165824
# The node dials from the port that it listens on, so that peers learn it (not through a proxy).
# reuse_port_on_linux = true
# WebSocket on the same port.
# reuse_tcp_with_ws = true
# What stands before the node may tell whom it brings: HAProxy's header, X-Forwarded-For. By default programs of this
# machine may, unless Tor is one of them (listen_on_onion).
# trusted_proxies = ["127.0.0.1", "::1"]

# Connections go through a SOCKS5 server, as Tor's; with random users each on a way of its own.
# [network.proxy]
# proxy_url = "socks5://127.0.0.1:9050"
# proxy_random_auth = true

# An onion service for this node, made by the Tor that listens for commands at tor_controller.
# [network.onion]
# listen_on_onion = true
# Tor's SOCKS5 server, by which onion addresses are dialled; by default the proxy.
# onion_server = "127.0.0.1:9050"
# Where Tor brings connections to; by default to the first port of listen_addresses.
# p2p_listen_address = "127.0.0.1:8115"
# tor_controller = "127.0.0.1:9051"
# tor_password = "…"
# onion_external_port = 8115
# Where the service's key is, and so its address; by default data/network/onion_private_key.
# onion_private_key_path = "…"

# Peers over libp2p besides those of CKB's own wire, in a process of its own: pip install 'ckb-node[libp2p]'. The node
# has one key for both; addresses of others end in /p2p/<their peer id of libp2p>. docs/LIBP2P.md says what is spoken.
$libp2p
# bootnodes = ["/ip4/…/tcp/8117/p2p/16Uiu2HA…"]
# max_outbound_peers = 4
# max_peers_per_ip = 16
# memory_mib = 768

# Programs that are called, with the hash of each new tip and with the text of each network alert, and ended after so
# many milliseconds. Of blocks that come faster than the program ends some are left out.
# [notify]
# new_block_notify_script = "…"
# network_alert_notify_script = "…"
# script_timeout = 30000

[network.sync]
# Blocks, lowest first, whose ancestors' scripts are taken as passed; [] runs all scripts. By default those that came
# with this version of the node. `ckb-node run --assume-valid-target` says otherwise for one run.
# assume_valid_targets = ["0x…"]
# Total difficulty that headers must have before their blocks are fetched; by default what the chain demands.
# min_chain_work = "0x0"

# [network.serving]
# Bytes a second, before compression, of headers, blocks, transactions, filters and proofs that peers ask for; 0 for no
# limit.
# max_upload_rate = 0
# Of those to light clients: of all of them, and of each; and how many per cent of one processor core they may use.
# light_client_rate = 4194304
# light_client_peer_rate = 524288
# light_client_time = 25

# Mined rewards go to this lock; without it module Miner is off. The usual lock takes one argument, the first 20 bytes
# of the blake2b hash of a compressed secp256k1 public key. The node's version stands before the message in the blocks
# that it makes, unless use_binary_version_as_message_prefix = false.
$block_assembler
# Who gets each new template: URLs that it is posted to as JSON, with the token as `Authorization: Bearer …` if there is
# one, and programs that are called with it. Each has so many milliseconds, and then gets the newest one.
# notify = ["http://127.0.0.1:8888"]
# notify_auth_token = "…"
# notify_scripts = ["…"]
# notify_timeout_millis = 800
# On one tip templates for these and for [stratum] are made anew this often at most, when they have become better.
# update_interval_millis = 800

# Miners connect here by stratum; without an address nobody does. Needs [block_assembler].
# [stratum]
# listen_address = "0.0.0.0:3333"
# By TLS, with a certificate and its key as PEM.
# tls_listen_address = "0.0.0.0:3334"
# tls_cert_path = "…"
# tls_key_path = "…"
# Who is paid for a block: the lock of [block_assembler], or with "user" the address that miners give as their user,
# ckb1…[.worker].
# solo_payout = "assembler"
# Difficulty of the first shares (1 is 2^32 hashes), its bounds, and how often each miner is to find one, in seconds.
# start_difficulty = 65536
# min_difficulty = 0.0001
# max_difficulty = 1000000000000
# share_interval_secs = 10
# Shares for the last tip's jobs count for so many milliseconds more.
# grace_millis = 3000
# max_connections = 4096
# max_connections_per_address = 2500
# Seconds: until a miner that says nothing is disconnected, and how long an address is kept away that sends nonsense.
# idle_secs = 900
# ban_secs = 600

[miner]
# On a chain with Dummy proof of work, mining a block is a pause of so many milliseconds.
# interval_millis = 3000
# The node that `ckb-node miner` works for, and how often it asks that node for work, in milliseconds.
rpc_url = "http://127.0.0.1:$rpc_port/"
# poll_interval_millis = 1000
# Where that node may post its templates instead.
# listen = "127.0.0.1:8888"
# Threads that search, by default one for each processor. On a chain with Dummy proof of work how long a block takes, in
# milliseconds: delay_type = "Constant" with value, "Uniform" with low and high, "Normal" with mean and std_dev, or
# "Poisson" with lambda: workers = [{ worker_type = "Dummy", delay_type = "Constant", value = 5000 }].
# workers = [{ worker_type = "EaglesongSimple", threads = 2 }]
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblerOptions:
    """The values of `[block_assembler]`, as texts."""

    code_hash: str
    args: str
    hash_type: str = "type"
    message: str = "0x"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions:
    """What differs between the configurations that `init` writes."""

    chain: str
    is_spec_file: bool
    """The spec lies beside the configuration, not in the program."""
    is_mined: bool = False
    """A dev chain whose proof of work is not Dummy: it has no module IntegrationTest."""
    rpc_port: int = 8114
    p2p_port: int = DEFAULT_P2P_PORT
    log_to_file: bool = True
    log_to_stdout: bool = True
    block_assembler: AssemblerOptions | None = None


def config_text(options: ConfigOptions) -> str:
    """The text of config.toml."""
    kind = "file" if options.is_spec_file else "bundled"
    is_dev = options.chain == "dev"
    modules: Sequence[str] = _DEV_MODULES if is_dev else _MODULES
    if options.is_mined:
        modules = [each for each in modules if each != "IntegrationTest"]
    return _TEXT.substitute(
        chain=options.chain,
        spec=f'{{ {kind} = "specs/{options.chain}.toml" }}',
        filter="info,ckb-script=debug" if is_dev else "info",
        log_to_file=_toml_bool(value=options.log_to_file),
        log_to_stdout=_toml_bool(value=options.log_to_stdout),
        rpc_port=options.rpc_port,
        listen_address=f'"/ip4/{"127.0.0.1" if is_dev else "0.0.0.0"}/tcp/{options.p2p_port}"',  # noqa: S104
        bootnodes=_bootnodes_text(BOOTNODES.get(options.chain, ())),
        support_protocols=", ".join(f'"{name}"' for name in get_args(ProtocolName)),
        libp2p=_libp2p_text(is_on=is_dev and options.p2p_port == DEFAULT_P2P_PORT, is_local=is_dev),
        discovery_local_address=f"{'' if is_dev else '# '}discovery_local_address = {_toml_bool(value=is_dev)}",
        modules=", ".join(f'"{module}"' for module in modules),
        block_assembler=_assembler_text(options.block_assembler),
    )


def _bootnodes_text(addresses: Sequence[str]) -> str:
    return "".join(f'\n  "{address}",' for address in addresses) + ("\n" if addresses else "")


def _libp2p_text(*, is_on: bool, is_local: bool) -> str:
    """On for a dev chain that has the usual ports: several on one machine must not be in each other's way, and a public
    chain has no peers on libp2p yet, for whom a port were to be open."""
    host = "127.0.0.1" if is_local else "0.0.0.0"  # noqa: S104
    lines = "[network.libp2p]", "enabled = true", f'listen_addresses = ["/ip4/{host}/tcp/{DEFAULT_LIBP2P_PORT}"]'
    return "\n".join(lines if is_on else [f"# {line}" for line in lines])


def _toml_bool(*, value: bool) -> str:
    return "true" if value else "false"


def _assembler_text(assembler: AssemblerOptions | None) -> str:
    if assembler is None:
        return (
            "# [block_assembler]\n"
            '# code_hash = "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"\n'
            '# args = "0x…"\n'
            '# hash_type = "type"\n'
            '# message = "0x"'
        )
    return (
        "[block_assembler]\n"
        f'code_hash = "{assembler.code_hash}"\n'
        f'args = "{assembler.args}"\n'
        f'hash_type = "{assembler.hash_type}"\n'
        f'message = "{assembler.message}"'
    )
