"""Sections of the configuration that this package reads."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, field

from ckb_node.chain.settings import SyncSection
from ckb_node.runtime.settings import Positive, Section
from ckb_node.sync.serving.settings import ServingSection

DEFAULT_P2P_PORT = 8115
DEFAULT_LIBP2P_PORT = 8117

PeerCount = Annotated[int, Meta(ge=0, le=1 << 16)]
Seconds = Annotated[int, Meta(ge=1, le=1 << 31)]
Port = Annotated[int, Meta(ge=1, le=65535)]

ProtocolName = Literal[
    "Ping",
    "Discovery",
    "Identify",
    "Feeler",
    "DisconnectMessage",
    "Sync",
    "Relay",
    "Time",
    "Alert",
    "LightClient",
    "Filter",
    "HolePunching",
]


class ProxySection(Section, frozen=True):
    """[network.proxy]: `proxy_url` is a SOCKS5 server, `socks5://[user:password@]host:port`, through which the node
    dials. With `proxy_random_auth` each connection has a user name of its own, so that Tor does not join them."""

    proxy_url: str | None = None
    proxy_random_auth: bool = True


class OnionSection(Section, frozen=True):
    """[network.onion]: an onion service of this node, made by the Tor that listens for commands at `tor_controller`.
    `onion_server` is Tor's SOCKS5 server for /onion3 addresses, by default the proxy."""

    listen_on_onion: bool = False
    onion_server: str | None = None
    p2p_listen_address: str | None = None
    onion_private_key_path: str | None = None
    tor_controller: str = "127.0.0.1:9051"
    tor_password: str | None = None
    onion_external_port: Port = DEFAULT_P2P_PORT


class Libp2pSection(Section, frozen=True):
    """[network.libp2p]: peers over libp2p, besides those of the CKB wire, in a process of `memory_mib` at most. The
    node's key is the one of both wires. `bootnodes` end in /p2p/<peer id of libp2p>."""

    enabled: bool = False
    listen_addresses: list[str] = field(default_factory=list)
    bootnodes: list[str] = field(default_factory=list)
    max_outbound_peers: PeerCount = 4
    max_peers_per_ip: Positive = 16
    memory_mib: Annotated[int, Meta(ge=384, le=1 << 16)] = 768


class NetworkSection(Section, frozen=True):
    """[network]: who may connect, whom to dial. The names and defaults are those of ckb.toml, of which
    `ckb_node/ckb_toml.py` has the rest."""

    listen_addresses: list[str] | None = None
    public_addresses: list[str] = field(default_factory=list)
    bootnodes: list[str] = field(default_factory=list)
    whitelist_peers: list[str] = field(default_factory=list)
    whitelist_only: bool = False
    max_peers: PeerCount = 125
    max_outbound_peers: PeerCount = 8
    ping_interval_secs: Seconds = 120
    ping_timeout_secs: Seconds = 1200
    connect_outbound_interval_secs: Annotated[int, Meta(ge=0, le=1 << 31)] = 15
    discovery_local_address: bool = False
    bootnode_mode: bool = False
    disable_block_relay_only_connection: bool = False
    support_protocols: list[ProtocolName] = field(default_factory=lambda: list(get_args(ProtocolName)))
    max_send_buffer: Positive = 24 << 20
    reuse_port_on_linux: bool = True
    reuse_tcp_with_ws: bool = True
    trusted_proxies: list[str] | None = None
    proxy: ProxySection = ProxySection()
    onion: OnionSection = OnionSection()
    libp2p: Libp2pSection = Libp2pSection()
    sync: SyncSection = SyncSection()
    serving: ServingSection = ServingSection()

    @property
    def listens_on(self) -> list[str]:
        """The multiaddresses to listen on: none unless they are configured, so that nobody listens unasked."""
        return self.listen_addresses or []

    @property
    def trusts(self) -> list[str]:
        """IP addresses whose word about where a connection comes from is taken. Those of this machine by default, but
        not when Tor brings strangers from there."""
        if self.trusted_proxies is None:
            return [] if self.onion.listen_on_onion else ["127.0.0.1", "::1"]
        return self.trusted_proxies


class NotifySection(Section, frozen=True):
    """[notify]: programs that are called, with the hash of each new tip and with the text of each network alert, and
    ended after `script_timeout` milliseconds."""

    new_block_notify_script: str | None = None
    network_alert_notify_script: str | None = None
    script_timeout: Annotated[int, Meta(ge=100, le=1 << 40)] | None = None


class AlertSignatureSection(Section, frozen=True):
    """[alert_signature]: who may send network alerts; compressed public keys, 0x-prefixed."""

    signatures_threshold: Positive
    public_keys: list[str]
