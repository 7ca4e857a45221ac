"""Network groups: addresses that one party can easily have many of count as one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from network.ip import IpAddress
from network.multiaddr import Multiaddr

__all__ = ["LOCAL", "NAME", "ONION", "group_of", "group_of_ip"]

LOCAL: Final = "local"
ONION: Final = "onion"
NAME: Final = "name"
_COMPATIBLE_BITS: Final = 32


def group_of(address: Multiaddr) -> str:
    """The group of an address. All onion services are one, and so are all names: both cost nothing to have."""
    ip = address.ip
    if ip is None:
        return NAME if address.onion is None else ONION
    return group_of_ip(ip)


def group_of_ip(ip: IpAddress) -> str:
    """Loopback is one group; else the first two bytes of an IPv4 address (also of one inside an IPv6 address), or the
    first four of an IPv6 address."""
    if ip.is_loopback:
        return LOCAL
    if isinstance(ip, IPv6Address):
        inside = _ipv4_inside(ip)
        if inside is None:
            return f"{int(ip) >> 96:08x}"
        ip = inside
    first, second = ip.packed[:2]
    return f"{first}.{second}"


def _ipv4_inside(ip: IPv6Address) -> IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return IPv4Address(int(ip)) if int(ip) >> _COMPATIBLE_BITS == 0 else None
