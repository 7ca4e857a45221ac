"""Sockets that listen, and sockets that dial from the port on which the node listens.

A peer sees where a connection comes from. When that is the listening port, the peer can give it to others: nodes behind
a router's NAT are found so, and hole punching needs it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = ["BACKLOG", "Endpoint", "dialling_socket", "endpoint_of", "listening_socket", "source_for"]

Endpoint = tuple[str, int]
"""An IP address without brackets or scope, and a port."""

BACKLOG: Final = 1024
"""Connections that the system keeps until they are accepted."""

_NOT_FROM_THERE: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EINVAL, errno.EACCES, errno.EPERM})


def listening_socket(endpoint: Endpoint, *, is_shared: bool, is_v6_only: bool = False) -> socket.socket:
    """A socket that listens. `is_shared`: dialling sockets may be bound to its port. OSError, EADDRINUSE also when a
    program of the same user listens there with a shared port, which the system would let us join."""
    if is_shared and endpoint[1]:
        _open(endpoint, is_v6_only=is_v6_only).close()
    listener = _open(endpoint, is_shared=is_shared, is_v6_only=is_v6_only)
    try:
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _open(endpoint: Endpoint, *, is_shared: bool = False, is_v6_only: bool) -> socket.socket:
    """A bound socket that does not listen. OSError."""
    made = _socket(endpoint[0])
    try:
        if is_v6_only and ":" in endpoint[0]:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if is_shared:
            _share(made)
        made.bind(endpoint)
    except OSError:
        made.close()
        raise
    return made


def dialling_socket(host: str, source: Endpoint | None) -> socket.socket:
    """A socket to connect to an IP address with, from `source` if that can be had, else from any port. OSError when
    there are no more sockets."""
    dialler = _socket(host)
    if source is None:
        return dialler
    try:
        _share(dialler)
        dialler.bind(source)
    except OSError as error:
        dialler.close()
        if error.errno not in _NOT_FROM_THERE:
            raise
        return _socket(host)
    return dialler


def source_for(host: str, listening: Sequence[Endpoint]) -> Endpoint | None:
    """Of the endpoints that are listened on, the first from which `host` can be reached."""
    target = ip_address(host)  # with the scope, where it has one
    for source in listening:
        own = ip_address(source[0])
        if own.version == target.version and (own.is_unspecified or own.is_loopback == target.is_loopback):
            return source
    return None


def endpoint_of(name: tuple[object, ...]) -> Endpoint:
    """What getsockname and getpeername say, an IPv4 address inside IPv6 as IPv4."""
    host, port = str(name[0]).partition("%")[0], int(str(name[1]))
    address: IPv4Address | IPv6Address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address), port


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a window update may wait 40 ms for an answer
    return made


def _share(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
