"""Mistakes in [network], one of each key: the error names the key, and the value where it is one of many."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckb_node.config import parse_config
from ckb_node.net.assembly import network_service
from ckb_node.runtime.settings import ConfigError
from network.identity import Identity

OWN = Identity(bytes(31) + b"\1")
PEER = "QmaZMemLXSsxKUrYNucjEbPxVX3rBKsGhWW2muWtWxUWyh"
MISTAKES = [
    ('listen_addresses = ["/ip4/127.0.0.1"]', "/ip4/127.0.0.1"),
    ('listen_addresses = ["/ip4/300.0.0.1/tcp/1"]', "300.0.0.1"),
    ('listen_addresses = ["/dns4/host.example/tcp/1"]', "host.example"),
    ('listen_addresses = "/ip4/127.0.0.1/tcp/1"', "array"),
    ('public_addresses = ["/ip4/8.8.8.8/udp/1"]', "udp"),
    ('bootnodes = ["/ip4/8.8.8.8/tcp/1"]', "/ip4/8.8.8.8/tcp/1"),
    ('bootnodes = ["/ip4/8.8.8.8/tcp/1/p2p/Qmabc"]', "Qmabc"),
    ('bootnodes = ["8.8.8.8:8115"]', "invalid multiaddr; the form is /ip4/192.0.2.8/tcp/8115/p2p/Qm…"),
    ('bootnodes = "8.8.8.8:8115"', 'the form is bootnodes = ["/ip4/192.0.2.8/tcp/8115/p2p/Qm…"]'),
    ('whitelist_peers = ["/ip4/8.8.8.8/tcp/99999/p2p/x"]', "99999"),
    ("whitelist_only = 1", "bool"),
    ("max_peers = -1", ">= 0"),
    ("max_outbound_peers = 100000", "<= 65536"),
    ("ping_interval_secs = 0", ">= 1"),
    ('ping_timeout_secs = "20"', "int"),
    ("connect_outbound_interval_secs = -15", ">= 0"),
    ('discovery_local_address = "yes"', "bool"),
    ("bootnode_mode = 0", "bool"),
    ('support_protocols = ["Gossip"]', "Gossip"),
    ("max_send_buffer = 0", ">= 1"),
    ("reuse_port_on_linux = []", "bool"),
    ("reuse_tcp_with_ws = 2", "bool"),
    ('trusted_proxies = ["here"]', "here"),
    ('listen_addresses = ["0.0.0.0:8115"]', "the form is /ip4/0.0.0.0/tcp/8115"),
    ('proxy.proxy_url = "http://127.0.0.1:1"', "http"),
    ('proxy.proxy_url = "socks5://127.0.0.1"', "port is missing"),
    ("proxy.proxy_random_auth = 1", "bool"),
    ("onion.listen_on_onion = 1", "bool"),
    ('onion.onion_server = "socks4://127.0.0.1:1"', "socks4"),
    ("onion.onion_external_port = 0", ">= 1"),
    ('libp2p.listen_addresses = ["/ip4/127.0.0.1/tcp/1/ws"]', "nothing behind it"),
    ('libp2p.listen_addresses = ["/dns4/host.example/tcp/1"]', "host.example"),
    (f'libp2p.bootnodes = ["/ip4/8.8.8.8/tcp/1/p2p/{PEER}"]', "does not hold its key"),
    ('libp2p.bootnodes = ["/ip4/8.8.8.8/tcp/1"]', "expected /p2p/"),
    ("libp2p.memory_mib = 1", ">= 384"),
    ("libp2p.max_outbound_peers = -1", ">= 0"),
    ("libp2p.max_peers_per_ip = 0", ">= 1"),
    ("libp2p.enabled = 1", "bool"),
    ("unheard_of = 1", "unheard_of"),
]


def open_network(line: str) -> None:
    section = parse_config(f"[network]\n{line}\n").network
    network_service(section, OWN, "/ckb/92b197aa", "1.0.0", Path("nowhere"), lambda: 0)


@pytest.mark.parametrize(("line", "shown"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_named_by_its_key(line: str, shown: str) -> None:
    key = line.partition(" = ")[0]
    with pytest.raises(ConfigError) as raised:
        open_network(line)
    text = str(raised.value)
    assert f"network.{key}" in text or "unheard_of" in text
    assert shown in text
