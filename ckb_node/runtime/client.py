"""The client on whose behalf a task works: lanes are shared by this name."""

from __future__ import annotations

from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

NODE: Final = "node"
"""The node itself."""

CLIENT: Final[ContextVar[str]] = ContextVar("client", default=NODE)
"""The client of the current task. Tasks that it starts inherit it."""

SITE_PREFIX_BITS: Final = 64
"""An IPv6 host can take any address of its network."""


def client_of(host: str, port: int) -> str:
    """The name under which a connection from `host`:`port` gets its share of work.

    Programs of this machine, or those behind a proxy on it, all have its address: each connection is a client then.
    """
    site = site_of(host)
    return f"{site}:{port}" if not site or _address(site).is_loopback else site


def site_of(host: str) -> str:
    """The address that tells hosts apart, of IPv6 hosts that of their network; empty for what is no address."""
    try:
        address = _address(host.partition("%")[0])
    except ValueError:
        return ""
    if address.is_loopback or not isinstance(address, IPv6Address):
        return str(address)
    return str(IPv6Address(int(address) >> SITE_PREFIX_BITS << SITE_PREFIX_BITS))


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
