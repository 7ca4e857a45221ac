"""Which web pages may call the RPC, and by which names the node may be called.

A browser sends what any page asks of it, to this machine too, and says in `Origin` whose page it is. Programs send no
`Origin`. A page can also point a name of its own at this machine (DNS rebinding); then `Host` shows that name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

EVERYONE: Final = "*"
MAX_NAME: Final = 512
_PORTS: Final = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


class Standing(Enum):
    """What a caller may ask for."""

    TRUSTED = "everything"
    FOREIGN = "what changes nothing of this node"
    REFUSED = "nothing"


class BadOriginError(ValueError):
    """A text that is no origin, or no host name."""


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """The pages and names that the configuration lets in besides those of this machine.

    `origins` as `scheme://host[:port]`, or "*" for all; `hosts` without ports. Make one with `policy_of`.
    """

    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    is_open: bool = False
    """Pages of every origin are let in, and the node may be called by every name."""

    def standing(self, origin: str | None, host: str | None) -> Standing:
        """Of a request with these header fields; None for one that it does not have."""
        name = None if host is None else _host_of(host)
        is_known = host is None or (name is not None and self._is_own_name(name))
        if not is_known and not self.is_open:
            return Standing.REFUSED
        if origin is None:
            return Standing.TRUSTED if is_known else Standing.FOREIGN
        try:
            page = parse_origin(origin)
        except BadOriginError:
            return Standing.FOREIGN if self.is_open else Standing.REFUSED
        if _is_local(page) or (host is not None and name is not None and self._is_served_here(page, host, name)):
            return Standing.TRUSTED
        return Standing.FOREIGN if self.is_open or page in self.origins else Standing.REFUSED

    def _is_own_name(self, name: str) -> bool:
        """An address, a name of this machine or of its own network, or one that the configuration lists."""
        # A name without dots is not on the internet: `localhost`, a machine or container beside this one.
        return "." not in name or name.endswith(".localhost") or self._is_certain(name)

    def _is_certain(self, name: str) -> bool:
        """No page can have pointed it here."""
        return _is_address(name) or name in self.hosts

    def _is_served_here(self, page: str, host: str, name: str) -> bool:
        """The page came from the same address that it calls."""
        try:
            return self._is_certain(name) and page in (parse_origin(f"http://{host}"), parse_origin(f"https://{host}"))
        except BadOriginError:
            return False


def policy_of(origins: Iterable[str], hosts: Iterable[str]) -> OriginPolicy:
    """The policy of `[rpc] cors_origins` and `allowed_hosts`. Raises BadOriginError."""
    named = list(origins)
    return OriginPolicy(
        frozenset(parse_origin(each) for each in named if each != EVERYONE),
        frozenset(parse_host(each) for each in hosts),
        EVERYONE in named,
    )


def parse_origin(text: str) -> str:
    """An origin as browsers write it: lower case, no default port. Raises BadOriginError."""
    if text == "null":
        raise BadOriginError('"null" is the origin of any page in a sandbox or a file; only "*" lets them in')
    given = text.lower().removesuffix("/") if len(text) <= MAX_NAME else ""
    try:
        parts = urlsplit(given)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        raise _no_origin(text) from None
    if not _SCHEME.fullmatch(scheme) or not (_NAME.fullmatch(host) or _is_address(host)):
        raise _no_origin(text)
    shown = f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"
    if given not in (shown, f"{shown}:{port}"):
        raise _no_origin(text)
    return shown if port in (None, _PORTS.get(scheme)) else f"{shown}:{port}"


def _no_origin(text: str) -> BadOriginError:
    return BadOriginError(f"{text[:80]!r} is no origin, as `https://dapp.example` or `http://192.168.1.5:3000`")


def parse_host(text: str) -> str:
    """A host name without a port, lower case. Raises BadOriginError."""
    name = text.lower().rstrip(".")
    if len(text) > MAX_NAME or not (_NAME.fullmatch(name) or _is_address(name)):
        raise BadOriginError(f"{text[:80]!r} is no host name, as `node.example`; ports do not count")
    return name


def _host_of(field_value: str) -> str | None:
    """The name in a Host header field; None when there is none."""
    text = field_value.strip().lower()
    if len(text) > MAX_NAME:
        return None
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if bracket and (not port or port.startswith(":")) else "?"
        name = name.partition("%")[0]
        is_name = ":" in name and _is_address(name)
    else:
        name, _, port = text.partition(":")
        name = name.rstrip(".")
        is_name = _NAME.fullmatch(name) is not None
    if port and not (port.isascii() and port.isdecimal()):
        return None
    return name if is_name else None


def _is_address(name: str) -> bool:
    """An IP address. What ends in a number is one to browsers too, or nothing."""
    last = name.rpartition(".")[2]
    if last.isascii() and last.isdecimal():
        return _NAME.fullmatch(name) is not None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(origin: str) -> bool:
    """A page that this machine serves: a dApp under development."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if parts.scheme not in _PORTS:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified
