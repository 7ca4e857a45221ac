"""From the configuration to the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckb_node.config import parse_config
from ckb_node.net.assembly import alert_keys, enabled_protocols, flags_of, network_service
from ckb_node.net.settings import AlertSignatureSection, NetworkSection
from ckb_node.runtime.settings import ConfigError
from network.identity import Identity
from network.limits import ALL_PROTOCOLS, FEELER, FILTER, IDENTIFY, PING, SYNC, Flags
from network.protocols.alert import DEVELOPERS
from network.service import NetworkService

PEER = "QmaZMemLXSsxKUrYNucjEbPxVX3rBKsGhWW2muWtWxUWyh"
OWN = Identity(bytes(31) + b"\1")
KEYS = ["0x" + key.hex() for key in sorted(DEVELOPERS.public_keys)]


def network(text: str = "") -> NetworkService:
    section = parse_config(text).network
    return network_service(section, OWN, "/ckb/92b197aa", "1.0.0", Path("nowhere"), lambda: 0)


def test_the_defaults_are_the_references() -> None:
    settings = network().settings
    peers = settings.peers
    assert list(settings.listen) == []  # nobody listens unasked; `init` writes an address
    assert (peers.registry.max_inbound, peers.registry.max_outbound) == (117, 8)
    assert (peers.ping_interval, peers.ping_timeout, peers.outbound.interval) == (120, 1200, 15)
    assert peers.enabled == frozenset(ALL_PROTOCOLS)
    assert settings.reuses_port
    assert settings.has_web_socket
    assert settings.trusted_proxies == ["127.0.0.1", "::1"]
    assert peers.registry.block_relay_only


def test_those_that_are_dialled_are_peers_too() -> None:
    peers = network("[network]\nmax_peers = 5\nmax_outbound_peers = 8").settings.peers
    assert (peers.registry.max_inbound, peers.registry.max_outbound, peers.outbound.max_outbound) == (0, 5, 5)


def test_each_key_reaches_its_place() -> None:
    settings = network(f"""[network]
        listen_addresses = ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2/ws"]
        public_addresses = ["/ip4/8.8.8.8/tcp/3"]
        bootnodes = ["/dns4/host.example/tcp/4/p2p/{PEER}"]
        whitelist_peers = ["/ip4/192.0.2.1/tcp/5/p2p/{PEER}"]
        whitelist_only = true
        max_peers = 20
        max_outbound_peers = 5
        ping_interval_secs = 6
        ping_timeout_secs = 7
        connect_outbound_interval_secs = 0
        discovery_local_address = true
        bootnode_mode = true
        disable_block_relay_only_connection = true
        support_protocols = ["Ping"]
        max_send_buffer = 1000
        reuse_tcp_with_ws = false
        trusted_proxies = ["192.0.2.2"]
        [network.proxy]
        proxy_url = "socks5://user:word@host:9"
        [network.onion]
        onion_server = "127.0.0.1:10"
    """).settings
    peers = settings.peers
    assert [str(address) for address in settings.listen] == ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2/ws"]
    assert [str(address) for address in peers.public] == ["/ip4/8.8.8.8/tcp/3"]
    assert [address.dns_name for address in peers.outbound.bootnodes] == ["host.example"]
    assert peers.registry.whitelist == {PEER}
    assert [address.port for address in peers.outbound.whitelist] == [5]
    assert peers.registry.whitelist_only
    assert (peers.registry.max_inbound, peers.registry.max_outbound, peers.outbound.max_outbound) == (15, 5, 5)
    assert (peers.ping_interval, peers.ping_timeout, peers.outbound.interval) == (6, 7, 0)
    assert peers.discovery_local_address
    assert peers.registry.bootnode_mode
    assert not peers.registry.block_relay_only
    assert peers.enabled == {PING, SYNC, IDENTIFY}
    assert not peers.outbound.with_feelers
    assert peers.switch.max_send_buffer == 1000
    assert not settings.has_web_socket
    assert settings.trusted_proxies == ["192.0.2.2"]
    assert settings.proxy is not None
    assert (settings.proxy.host, settings.proxy.port) == ("host", 9)
    assert settings.onion_proxy is not None
    assert settings.onion_proxy.port == 10
    assert not settings.reuses_port  # a proxy dials from its own
    assert not peers.reuses_port


def test_more_outbound_peers_than_peers_leave_no_place_for_others() -> None:
    assert network("[network]\nmax_peers = 3").settings.peers.registry.max_inbound == 0


def test_a_public_address_of_another_node_is_refused() -> None:
    network(f'[network]\npublic_addresses = ["/ip4/8.8.8.8/tcp/1/p2p/{OWN.peer_id}"]')
    with pytest.raises(ConfigError, match=r"network\.public_addresses: `/ip4/8\.8\.8\.8/.*names another node"):
        network(f'[network]\npublic_addresses = ["/ip4/8.8.8.8/tcp/1/p2p/{PEER}"]')


def test_flags_say_what_is_spoken() -> None:
    everything = enabled_protocols(NetworkSection())
    assert FEELER in everything
    assert flags_of(everything) == 0x3F
    without = enabled_protocols(NetworkSection(support_protocols=["Ping"]))
    assert flags_of(without) == Flags.COMPATIBILITY | Flags.DISCOVERY | Flags.SYNC
    assert FILTER in everything
    assert FILTER not in enabled_protocols(NetworkSection(), with_filters=False)


def test_who_may_sign_alerts() -> None:
    assert alert_keys(None) is DEVELOPERS
    assert alert_keys(AlertSignatureSection(2, KEYS)) == DEVELOPERS
    for keys in (["0x02" + "ff" * 32], ["0x05" + "11" * 32]):
        with pytest.raises(ConfigError, match=r"alert_signature\.public_keys: "):
            alert_keys(AlertSignatureSection(1, keys))
