"""Which SOCKS5 server connections go through, and as whom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from network.ckb_wire.socks5 import MAX_FIELD, Credentials, random_credentials

__all__ = ["BadProxyError", "SocksServer", "parse_proxy_url"]


class BadProxyError(ValueError):
    """A text names no SOCKS5 server; one line that does not show the password."""


@dataclass(frozen=True, slots=True)
class SocksServer:
    """A SOCKS5 server. `has_random_users`: a user and a password are made up for each connection, so that Tor takes
    another way for each; otherwise the given ones, or none."""

    host: str
    port: int
    user: Credentials | None = None
    has_random_users: bool = True

    def credentials(self) -> Credentials | None:
        """User and password for one connection; None when the server wants none."""
        if self.user is None and self.has_random_users:
            return random_credentials(os.urandom)
        return self.user


def parse_proxy_url(text: str, *, has_random_users: bool) -> SocksServer:
    """`socks5://[user:password@]host:port`. Raises BadProxyError."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadProxyError(str(error)) from None
    if parts.scheme != "socks5":
        raise BadProxyError(f"expected socks5://host:port, not `{parts.scheme[:20]}:`")
    if not host or not port:
        raise BadProxyError(
            "expected socks5://host:port, " + ("the port is missing" if host else "the host is missing")
        )
    user = None
    if parts.username:
        user = Credentials(unquote(parts.username), unquote(parts.password or ""))
        if max(len(user.user.encode()), len(user.password.encode())) > MAX_FIELD:
            raise BadProxyError(f"user and password have at most {MAX_FIELD} bytes each")
    return SocksServer(host, port, user, has_random_users)
