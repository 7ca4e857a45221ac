"""The client's side of SOCKS5 (RFC 1928) with user and password (RFC 1929): asks a proxy for one TCP connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from string import ascii_letters, digits
from typing import Final

__all__ = ["Credentials", "Socks5Client", "Socks5Error", "Socks5Fault", "random_credentials"]

VERSION: Final = 5
AUTH_VERSION: Final = 1
NO_AUTH, USER_PASSWORD, NO_METHOD = 0, 2, 0xFF
CONNECT: Final = 1
IPV4, DOMAIN, IPV6 = 1, 3, 4
GRANTED: Final = 0
MAX_FIELD: Final = 255
"""Bytes of a name, user or password, whose length is one byte."""
ALPHANUMERIC: Final = ascii_letters + digits

REPLIES: Final = {
    1: "general failure",
    2: "not allowed by the proxy's rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "expired on its way",
    7: "command not supported",
    8: "kind of address not supported",
    # Tor's own (proposal 304), which it gives when asked to
    0xF0: "onion service not found",
    0xF1: "onion service descriptor invalid",
    0xF2: "introduction to the onion service failed",
    0xF3: "rendezvous with the onion service failed",
    0xF4: "onion service needs authorization",
    0xF5: "wrong authorization for the onion service",
    0xF6: "onion address invalid",
    0xF7: "introduction to the onion service timed out",
}


class Socks5Fault(Enum):
    """Why a proxy gives no connection; the value is a label of metrics."""

    MALFORMED = "malformed"
    """Not what a SOCKS5 proxy says."""
    NO_METHOD = "no-method"
    """The proxy wants another way of authentication."""
    BAD_CREDENTIALS = "bad-credentials"
    REFUSED = "refused"
    """The proxy did not reach the target, or did not want to."""


class Socks5Error(Exception):
    """The proxy gives no connection. `reply` is its code if `fault` is REFUSED."""

    def __init__(self, fault: Socks5Fault, detail: str, reply: int | None = None) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault, self.detail, self.reply = fault, detail, reply


@dataclass(frozen=True, slots=True)
class Credentials:
    """1–255 bytes of user, 0–255 of password. Tor keeps connections of different credentials apart."""

    user: str
    password: str = field(repr=False)


def random_credentials(entropy: Callable[[int], bytes]) -> Credentials:
    """8 and 16 letters and digits, so that each connection takes a way of its own through Tor."""
    text = "".join(ALPHANUMERIC[byte % len(ALPHANUMERIC)] for byte in entropy(24))
    return Credentials(text[:8], text[8:])


class _Stage(Enum):
    METHOD = auto()
    AUTH = auto()
    REPLY = auto()
    DONE = auto()


class Socks5Client:
    """Feed `receive`, write what `data_to_send` gives, until `is_done`. After a Socks5Error the connection is over."""

    def __init__(
        self, host: str | IPv4Address | IPv6Address, port: int, credentials: Credentials | None = None
    ) -> None:
        """`host` as text is a name that the proxy resolves, `….onion` too. ValueError when a text is too long."""
        self._request: Final = bytes([VERSION, CONNECT, 0]) + _packed_host(host) + port.to_bytes(2, "big")
        self._auth: Final = _packed_credentials(credentials) if credentials else None
        methods = bytes([NO_AUTH, USER_PASSWORD] if credentials else [NO_AUTH])
        self._to_send = bytes([VERSION, len(methods)]) + methods
        self._stage = _Stage.METHOD
        self._buffer = bytearray()
        self._wanted = 2
        self._rest = b""

    def data_to_send(self) -> bytes:
        """What is to be written now; b"" is nothing."""
        data, self._to_send = self._to_send, b""
        return data

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """The proxy's next bytes, cut anywhere. Socks5Error."""
        if self.is_done:
            raise RuntimeError("the connection is made; what comes now is the target's")
        rest = memoryview(data)
        while rest and not self.is_done:
            taken = rest[: self._wanted - len(self._buffer)]
            self._buffer += taken
            rest = rest[len(taken) :]
            if len(self._buffer) == self._wanted:
                self._step(bytes(self._buffer))
        self._rest = bytes(rest)

    @property
    def is_done(self) -> bool:
        """The proxy has connected to the target."""
        return self._stage is _Stage.DONE

    def rest(self) -> bytes:
        """What `receive` was given behind the proxy's reply: the target's bytes."""
        return self._rest

    def _step(self, message: bytes) -> None:
        if self._stage is _Stage.METHOD:
            self._accept_method(*message)
        elif self._stage is _Stage.AUTH:
            self._accept_auth(*message)
        else:
            self._accept_reply(message)

    def _next(self, stage: _Stage, to_send: bytes, wanted: int) -> None:
        self._buffer.clear()
        self._stage, self._to_send, self._wanted = stage, to_send, wanted

    def _accept_method(self, version: int, method: int) -> None:
        _verify_version(version, VERSION)
        if method == NO_AUTH:
            self._next(_Stage.REPLY, self._request, 5)
        elif method == USER_PASSWORD and self._auth:
            self._next(_Stage.AUTH, self._auth, 2)
        elif method == NO_METHOD:
            raise Socks5Error(Socks5Fault.NO_METHOD, "the proxy wants another way of authentication")
        else:
            raise Socks5Error(Socks5Fault.MALFORMED, f"the proxy chose the method {method}, which was not offered")

    def _accept_auth(self, version: int, status: int) -> None:
        _verify_version(version, AUTH_VERSION)
        if status != GRANTED:
            raise Socks5Error(Socks5Fault.BAD_CREDENTIALS, "the proxy refuses user and password")
        self._next(_Stage.REPLY, self._request, 5)

    def _accept_reply(self, message: bytes) -> None:
        """First five bytes, from which the size follows, then all. The address that the proxy bound is of no use."""
        version, reply, _, kind, first = message[:5]
        _verify_version(version, VERSION)
        if reply != GRANTED:
            text = REPLIES.get(reply, f"reply {reply}")
            raise Socks5Error(Socks5Fault.REFUSED, text, reply)
        sizes = {IPV4: 4, IPV6: 16, DOMAIN: 1 + first}
        if kind not in sizes:
            raise Socks5Error(Socks5Fault.MALFORMED, f"an address of kind {kind}")
        size = 4 + sizes[kind] + 2
        if len(message) < size:
            self._wanted = size
        else:
            self._stage = _Stage.DONE


def _verify_version(version: int, expected: int) -> None:
    if version != expected:
        raise Socks5Error(Socks5Fault.MALFORMED, f"version {version}, not {expected}")


def _packed_host(host: str | IPv4Address | IPv6Address) -> bytes:
    if isinstance(host, str):
        return bytes([DOMAIN]) + _packed_text(host, 1)
    return bytes([IPV4 if host.version == 4 else IPV6]) + host.packed


def _packed_credentials(credentials: Credentials) -> bytes:
    return bytes([AUTH_VERSION]) + _packed_text(credentials.user, 1) + _packed_text(credentials.password, 0)


def _packed_text(text: str, least: int) -> bytes:
    data = text.encode()
    if not least <= len(data) <= MAX_FIELD:
        raise ValueError(f"a text of {len(data)} bytes, of {least} to {MAX_FIELD}")
    return bytes([len(data)]) + data
