"""On whose behalf the node works: clients share lanes by this name."""

from __future__ import annotations

from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address
from typing import Final

NODE: Final = "node"
"""The node itself: what it does without being asked."""

CLIENT: Final[ContextVar[str]] = ContextVar("client", default=NODE)
"""The client for whom the task at hand works. Tasks that it starts inherit it."""

SITE_PREFIX_BITS: Final = 64
"""An IPv6 host can take any address of its network."""


def client_of(host: str, port: int) -> str:
    """The name under which a connection from `host`:`port` gets its share.

    Hosts are told apart by address, IPv6 hosts by network. Programs of this machine, or those behind a proxy on it, all
    have its address: their connections are clients of their own.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"{host}:{port}"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return f"{address}:{port}"
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> SITE_PREFIX_BITS << SITE_PREFIX_BITS))
    return str(address)
