"""Whose connection a proxy forwards, and the texts by which proxies tell it.

An IPv4 address in IPv6 form is told as the IPv4 address that it is: bans and network groups must not depend on how a
proxy's socket was opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from network.ip import IpAddress, unmapped

__all__ = ["Forwarded", "ip_address", "port_number"]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The client's end of a connection. `port` is None when the proxy does not tell it."""

    address: IpAddress
    port: int | None


def ip_address(text: str) -> IpAddress | None:
    """The address that a proxy writes, None for any other text."""
    try:
        return unmapped(IPv6Address(text)) if ":" in text and "%" not in text else IPv4Address(text)
    except ValueError:
        return None


def port_number(text: str) -> int | None:
    """A decimal port, None for any other text."""
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        return None
    return int(text)
