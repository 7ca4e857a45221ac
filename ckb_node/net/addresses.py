"""Addresses in [network], checked and read. Each error names the key and the value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final, TypeVar

from ckb_node.jsonrpc_types.hex_text import BadTextError, parse_bytes
from ckb_node.net.settings import AlertSignatureSection, NetworkSection
from ckb_node.runtime.settings import ConfigError
from network.io.sockets import Endpoint
from network.io.socks_server import BadProxyError, SocksServer, parse_proxy_url
from network.ip import unmapped
from network.libp2p.names import Libp2pAddress
from network.libp2p.names import parse_address as parse_libp2p
from network.multiaddr import AddressTransport, Multiaddr, MultiaddrError

T = TypeVar("T")

PUBLIC_KEY_SIZE = 33
MAX_SHOWN = 200

_PEER_FORM = "/ip4/192.0.2.8/tcp/8115/p2p/Qm…"
FORMS: Final = {
    "network.listen_addresses": "/ip4/0.0.0.0/tcp/8115",
    "network.public_addresses": "/ip4/192.0.2.8/tcp/8115",
    "network.bootnodes": _PEER_FORM,
    "network.whitelist_peers": _PEER_FORM,
    "network.libp2p.listen_addresses": "/ip4/0.0.0.0/tcp/8117",
    "network.libp2p.bootnodes": "/ip4/192.0.2.8/tcp/8117/p2p/16Uiu2HAm…",
    "--genesis-peer": _PEER_FORM,
    "network.trusted_proxies": "192.0.2.8",
}
"""How the items of each list are written."""


def check_network(section: NetworkSection) -> None:
    """All that types alone do not say. Raises ConfigError."""
    listen_addresses(section)
    public_addresses(section)
    bootnodes(section)
    whitelist(section)
    trusted_proxies(section)
    proxy(section)
    onion_proxy(section)
    tor_controller(section)
    onion_target(section)
    libp2p_listen(section)
    libp2p_bootnodes(section)


def listen_addresses(section: NetworkSection) -> list[Multiaddr]:
    """Where to listen: IP addresses with TCP ports, /ws behind them where only WebSocket is wanted. ConfigError."""
    return _read("network.listen_addresses", section.listens_on, _listen_address)


def public_addresses(section: NetworkSection) -> list[Multiaddr]:
    """What is told to peers besides. ConfigError."""
    return _read("network.public_addresses", section.public_addresses, _public_address)


def bootnodes(section: NetworkSection) -> list[Multiaddr]:
    """Nodes that are dialled while no other addresses are known. ConfigError."""
    return _read("network.bootnodes", section.bootnodes, _peer_address)


def whitelist(section: NetworkSection) -> list[Multiaddr]:
    """Peers that are never refused. ConfigError."""
    return _read("network.whitelist_peers", section.whitelist_peers, _peer_address)


def peer_addresses(key: str, texts: Sequence[str]) -> list[Multiaddr]:
    """Addresses that name their peer, of an option. ConfigError."""
    return _read(key, texts, _peer_address)


def libp2p_listen(section: NetworkSection) -> list[Multiaddr]:
    """Where libp2p listens: IP addresses with TCP ports. ConfigError."""
    return _read("network.libp2p.listen_addresses", section.libp2p.listen_addresses, _tcp_address)


def libp2p_bootnodes(section: NetworkSection) -> list[Libp2pAddress]:
    """Whom the node dials over libp2p. ConfigError."""
    return _read("network.libp2p.bootnodes", section.libp2p.bootnodes, parse_libp2p)


def trusted_proxies(section: NetworkSection) -> list[str]:
    """IP addresses in their usual writing. ConfigError."""
    return _read("network.trusted_proxies", section.trusts, lambda text: str(unmapped(ip_address(text))))


def proxy(section: NetworkSection) -> SocksServer | None:
    """Through which the node dials. ConfigError."""
    url = section.proxy.proxy_url
    return None if url is None else _socks("network.proxy.proxy_url", url, section)


def onion_proxy(section: NetworkSection) -> SocksServer | None:
    """Through which it dials onion services; None when there is none. ConfigError."""
    server = section.onion.onion_server
    if server is None:
        return proxy(section)
    url = server if "://" in server else f"socks5://{server}"
    return _socks("network.onion.onion_server", url, section)


def tor_controller(section: NetworkSection) -> Endpoint:
    """Tor's control port. ConfigError."""
    return _endpoint("network.onion.tor_controller", section.onion.tor_controller)


def onion_target(section: NetworkSection) -> Endpoint:
    """Where Tor brings connections to the onion service: by default the first port that is listened on. ConfigError."""
    text = section.onion.p2p_listen_address
    if text is not None:
        return _endpoint("network.onion.p2p_listen_address", text)
    for address in listen_addresses(section):
        if address.ip is not None and address.ip.version == 4 and address.port:
            host = "127.0.0.1" if address.ip.is_unspecified else str(address.ip)
            return host, address.port
    if not section.onion.listen_on_onion:
        return "127.0.0.1", 0
    raise ConfigError("network.onion.p2p_listen_address: missing, and network.listen_addresses has no port of IPv4")


def alert_keys(section: AlertSignatureSection) -> list[bytes]:
    """Who may sign network alerts. ConfigError."""
    keys = _read("alert_signature.public_keys", section.public_keys, _public_key)
    if section.signatures_threshold > len(set(keys)):
        raise ConfigError(
            f"alert_signature.signatures_threshold: {section.signatures_threshold} signatures of {len(set(keys))} keys"
        )
    return keys


# ---------------------------------------------------------------- reading


def _read(key: str, texts: Sequence[str], read: Callable[[str], T]) -> list[T]:
    values = []
    for text in texts:
        try:
            values.append(read(text))
        except (MultiaddrError, BadTextError, ValueError) as error:
            form = FORMS.get(key)
            shown = "" if form is None else f"; the form is {form}"
            raise ConfigError(f"{key}: `{text[:MAX_SHOWN]}`: {error}{shown}") from None
    return values


def _listen_address(text: str) -> Multiaddr:
    address = Multiaddr.parse(text)
    if address.ip is None or address.port is None:
        raise ValueError("expected /ip4/…/tcp/… or /ip6/…/tcp/…")
    if address.transport is AddressTransport.WSS:
        raise ValueError("the node does not speak TLS; a proxy in front of it may")
    return address


def _tcp_address(text: str) -> Multiaddr:
    address = _listen_address(text)
    if [part.name for part in address.parts[1:]] != ["tcp"]:
        raise ValueError("expected /ip4/…/tcp/… or /ip6/…/tcp/…, and nothing behind it")
    return address


def _public_address(text: str) -> Multiaddr:
    address = Multiaddr.parse(text)
    if not address.port:
        raise ValueError("the port is missing")
    return address


def _peer_address(text: str) -> Multiaddr:
    address = Multiaddr.parse(text)
    if address.peer_id is None:
        raise ValueError("expected /p2p/<peer id> at its end")
    if not address.is_dialable:
        raise ValueError("expected a host, a port and a peer id")
    return address


def _public_key(text: str) -> bytes:
    key = parse_bytes(text)
    if len(key) != PUBLIC_KEY_SIZE:
        raise ValueError(f"expected {PUBLIC_KEY_SIZE} bytes")
    return key


def _socks(key: str, url: str, section: NetworkSection) -> SocksServer:
    try:
        return parse_proxy_url(url, has_random_users=section.proxy.proxy_random_auth)
    except BadProxyError as error:
        raise ConfigError(f"{key}: {error}") from None


def _endpoint(key: str, text: str) -> Endpoint:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ConfigError(f"{key}: `{text[:MAX_SHOWN]}` is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
