"""Texts of multiaddresses, as far as CKB's peers use them: `/ip4/192.0.2.8/tcp/8115/p2p/Qm…`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

from network.identity import is_peer_id

MAX_TEXT = 512


class MultiaddrError(ValueError):
    """The text is no multiaddress; the message says why."""


def verify_multiaddr(text: str) -> None:
    """MultiaddrError unless each protocol is known and followed by the value that it needs."""
    if len(text) > MAX_TEXT or not text.startswith("/") or text == "/":
        raise MultiaddrError("invalid multiaddr")
    parts = iter(text[1:].split("/"))
    for name in parts:
        if name in _WITHOUT_VALUE:
            continue
        read = _VALUES.get(name)
        if read is None:
            raise MultiaddrError("unknown protocol string")
        _verify_value(name, read, parts)


def _verify_value(name: str, read: Callable[[str], object], parts: Iterator[str]) -> None:
    value = next(parts, None)
    if value is None:
        raise MultiaddrError("invalid protocol string")
    try:
        read(value)
    except ValueError as error:
        raise MultiaddrError(f"failed to parse: {name}: {error}") from error


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise ValueError("expected a port")
    return int(text)


def _name(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("expected a name")
    return text


def _peer_id(text: str) -> str:
    if not is_peer_id(text):
        raise ValueError("invalid peer id")
    return text


_WITHOUT_VALUE = frozenset({"ws", "wss", "tls"})
_VALUES: dict[str, Callable[[str], object]] = {
    "ip4": IPv4Address,
    "ip6": IPv6Address,
    "dns4": _name,
    "dns6": _name,
    "onion3": _name,
    "tcp": _port,
    "p2p": _peer_id,
}
