"""IP addresses as the network judges them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

__all__ = ["IpAddress", "is_global", "unmapped"]

IpAddress = IPv4Address | IPv6Address

_SITE_LOCAL: Final = 0xFEC0 >> 6


def unmapped(ip: IpAddress) -> IpAddress:
    """The IPv4 address inside `::ffff:a.b.c.d`, as sockets of both families show it; else the same."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


@lru_cache(maxsize=4096)
def is_global(ip: IpAddress) -> bool:
    """Whether anyone can have a host there: nothing private, local, reserved, for documentation, or multicast."""
    ip = unmapped(ip)
    if isinstance(ip, IPv6Address) and int(ip) >> 118 == _SITE_LOCAL:
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
