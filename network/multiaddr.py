"""Multiaddresses, as far as CKB's peers use them: `/ip4/192.0.2.8/tcp/8115/p2p/Qm…`, as text and in binary.

Names, codes and sizes are those of the multiformats project; `tls` has a name behind it, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from network import multiaddr_parts as parts
from network.identity import peer_id_from_bytes, peer_id_to_bytes
from network.ip import IpAddress, is_global, unmapped
from network.multiaddr_parts import OnionService, Value

__all__ = [
    "MAX_BYTES",
    "MAX_TEXT",
    "AddressTransport",
    "Multiaddr",
    "MultiaddrError",
    "OnionService",
    "verify_multiaddr",
]

MAX_BYTES: Final = 512
MAX_TEXT: Final = 4 * MAX_BYTES
"""As many characters as so many bytes can need, so that each address can be read again as it was written."""


class MultiaddrError(ValueError):
    """The text or the bytes are no multiaddress; the message says why."""


class AddressTransport(Enum):
    """What carries the bytes of a connection."""

    TCP = "tcp"
    WS = "ws"
    WSS = "wss"


class Part(NamedTuple):
    """One protocol of an address and its value, None for what has none."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Multiaddr:
    """A sequence of protocols. Two are equal when their binary forms are."""

    raw: bytes
    """The binary form."""
    parts: tuple[Part, ...] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Multiaddr:
        """Raises MultiaddrError unless each protocol is known and followed by the value that it needs."""
        if len(text) > MAX_TEXT or not text.startswith("/") or text == "/":
            raise MultiaddrError("invalid multiaddr")
        words = iter(text[1:].split("/"))
        return cls.of_parts(_parse_part(name, words) for name in words)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Multiaddr:
        """Raises MultiaddrError. An address of no protocol at all is one, as for the reference."""
        if len(raw) > MAX_BYTES:
            raise MultiaddrError(f"an address of {len(raw)} bytes, of at most {MAX_BYTES}")
        try:
            return cls(raw, tuple(_read_parts(raw)))
        except ValueError as error:
            raise MultiaddrError(str(error)) from error

    @classmethod
    def of_parts(cls, found: Iterable[Part]) -> Multiaddr:
        """From protocols whose values are good."""
        found = tuple(found)
        return cls(b"".join(map(_write_part, found)), found)

    @classmethod
    def of_socket(cls, ip: IpAddress, port: int, peer_id: str | None = None) -> Multiaddr:
        """The address of a TCP socket; an IPv4 address inside an IPv6 one is written as such."""
        ip = unmapped(ip)
        found = [Part(f"ip{ip.version}", ip), Part("tcp", port)]
        return cls.of_parts(found if peer_id is None else [*found, Part("p2p", peer_id)])

    def to_bytes(self) -> bytes:
        """The binary form."""
        return self.raw

    def __str__(self) -> str:
        return "".join(map(_part_text, self.parts))

    @property
    def ip(self) -> IpAddress | None:
        """The IP address; one of IPv4 also when it stands inside one of IPv6. None for names and onion services."""
        value = self._value("ip4", "ip6")
        return unmapped(value) if isinstance(value, IPv4Address | IPv6Address) else None

    @property
    def port(self) -> int | None:
        """The TCP port, or that of the onion service."""
        value = self._value("tcp", "onion3")
        if isinstance(value, OnionService):
            return value.port
        return value if isinstance(value, int) else None

    @property
    def dns_name(self) -> str | None:
        """A name that is to be resolved."""
        value = self._value("dns4", "dns6")
        return value if isinstance(value, str) else None

    @property
    def onion(self) -> OnionService | None:
        """The onion service, with its port."""
        value = self._value("onion3")
        return value if isinstance(value, OnionService) else None

    @property
    def peer_id(self) -> str | None:
        """`Qm…`, of the first `/p2p/`."""
        value = self._value("p2p")
        return value if isinstance(value, str) else None

    @property
    def transport(self) -> AddressTransport:
        for part in self.parts:
            if part.name in {"ws", "wss"}:
                return AddressTransport(part.name)
        return AddressTransport.TCP

    @property
    def is_dialable(self) -> bool:
        """It names a host and a port, in the usual order, and the peer that is to be there."""
        names = tuple(part.name for part in self.parts)
        where = names[:-1]
        while where and where[-1] in {"ws", "wss", "tls"}:
            where = where[:-1]
        return (
            bool(names) and names[-1] == "p2p" and where in _HOSTS and bool(self.port) and len(names) <= _MAX_DIALABLE
        )

    @property
    def is_reachable(self) -> bool:
        """It is worth telling to others: a global IP address or an onion service. Names say nothing: not reachable."""
        ip = self.ip
        return self.onion is not None if ip is None else is_global(ip)

    @property
    def stored(self) -> Multiaddr:
        """The key of the peer store: without what says how bytes are carried."""
        return self._without(_CARRIERS)

    def with_peer_id(self, peer_id: str) -> Multiaddr:
        """The same place, with this peer there."""
        return Multiaddr.of_parts((*self.without_peer_id().parts, Part("p2p", peer_id)))

    def without_peer_id(self) -> Multiaddr:
        return self._without(frozenset({"p2p"}))

    def with_port(self, port: int) -> Multiaddr:
        """The same with another TCP port; the same when it has none."""
        return Multiaddr.of_parts(Part("tcp", port) if part.name == "tcp" else part for part in self.parts)

    def with_transport(self, transport: AddressTransport) -> Multiaddr:
        """The same peer over another carrier: `/ws` and `/wss` stand before `/p2p`."""
        bare = self.stored
        if transport is AddressTransport.TCP:
            return bare
        at = next((at for at, part in enumerate(bare.parts) if part.name == "p2p"), len(bare.parts))
        return Multiaddr.of_parts((*bare.parts[:at], Part(transport.value, None), *bare.parts[at:]))

    def _value(self, *names: str) -> Value:
        for part in self.parts:
            if part.name in names:
                return part.value
        return None

    def _without(self, names: frozenset[str]) -> Multiaddr:
        if not any(part.name in names for part in self.parts):
            return self
        return Multiaddr.of_parts(part for part in self.parts if part.name not in names)


def verify_multiaddr(text: str) -> None:
    """MultiaddrError unless each protocol is known and followed by the value that it needs."""
    Multiaddr.parse(text)


class _Kind(NamedTuple):
    """A protocol: its code, the bytes of its value (None: behind a length), and how values are read and written."""

    code: int
    size: int | None
    parse: Callable[[str], Value] | None
    """None: the protocol has no value."""
    text: Callable[[Value], str]
    read: Callable[[bytes], Value]
    write: Callable[[Value], bytes]


def _bare(code: int) -> _Kind:
    return _Kind(code, 0, None, str, lambda _: None, lambda _: b"")


def _named(code: int) -> _Kind:
    return _Kind(code, None, parts.parse_name, str, parts.read_name, parts.write_name)


_KINDS: Final = {
    "ip4": _Kind(0x04, 4, parts.parse_ip4, str, parts.read_ip, parts.write_ip),
    "tcp": _Kind(0x06, 2, parts.parse_port, str, parts.read_number, parts.write_port),
    "ip6": _Kind(0x29, 16, parts.parse_ip6, parts.ip6_text, parts.read_ip, parts.write_ip),
    "dns4": _named(0x36),
    "dns6": _named(0x37),
    "p2p": _Kind(
        0x01A5,
        None,
        parts.parse_peer_id,
        str,
        peer_id_from_bytes,
        lambda value: peer_id_to_bytes(str(value)),
    ),
    "onion3": _Kind(0x01BD, 37, parts.parse_onion, str, parts.read_onion, parts.write_onion),
    "tls": _named(0x01C0),
    "ws": _bare(0x01DD),
    "wss": _bare(0x01DE),
    "memory": _Kind(0x0309, 8, parts.parse_number, str, parts.read_number, parts.write_number),
}
_NAMES: Final = {kind.code: name for name, kind in _KINDS.items()}
_HEADS: Final = {name: parts.varint(kind.code) for name, kind in _KINDS.items()}
_CARRIERS: Final = frozenset({"ws", "wss", "tls", "memory"})
_HOSTS: Final = frozenset({(host, "tcp") for host in ("ip4", "ip6", "dns4", "dns6")} | {("onion3",)})
_MAX_DIALABLE: Final = 5


def _parse_part(name: str, words: Iterator[str]) -> Part:
    kind = _KINDS.get(name)
    if kind is None:
        raise MultiaddrError("unknown protocol string")
    if kind.parse is None:
        return Part(name, None)
    word = next(words, None)
    if word is None:
        raise MultiaddrError("invalid protocol string")
    try:
        return Part(name, kind.parse(word))
    except ValueError as error:
        raise MultiaddrError(f"failed to parse: {name}: {error}") from error


def _part_text(part: Part) -> str:
    kind = _KINDS[part.name]
    return f"/{part.name}" if kind.parse is None else f"/{part.name}/{kind.text(part.value)}"


def _read_parts(raw: bytes) -> Iterator[Part]:
    """Raises ValueError."""
    at = 0
    while at < len(raw):
        code, at = parts.read_varint(raw, at)
        name = _NAMES.get(code)
        if name is None:
            raise ValueError(f"unknown protocol id: {code}")
        kind = _KINDS[name]
        size, at = parts.read_varint(raw, at) if kind.size is None else (kind.size, at)
        if size > len(raw) - at:
            raise ValueError(f"cut off inside {name}")
        yield Part(name, kind.read(raw[at : at + size]))
        at += size


def _write_part(part: Part) -> bytes:
    kind = _KINDS[part.name]
    value = kind.write(part.value)
    return _HEADS[part.name] + value if kind.size is not None else _HEADS[part.name] + parts.varint(len(value)) + value
