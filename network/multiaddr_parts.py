"""Values inside multiaddresses: read and written as text and in binary. All readers raise ValueError."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from network.identity import peer_id_to_bytes

MAX_NAME: Final = 253
"""Characters of a host name (RFC 1035)."""
ONION_NAME_SIZE: Final = 56
MAX_PORT: Final = 65535
MAX_NUMBER: Final = (1 << 64) - 1
MAX_VARINT_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class OnionService:
    """A service of Tor, version 3. `name`: 56 characters, lower case, without `.onion`."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


Value = IPv4Address | IPv6Address | OnionService | str | int | None


def parse_ip4(text: str) -> IPv4Address:
    return IPv4Address(text)


def parse_ip6(text: str) -> IPv6Address:
    """Without the scope that Python would take."""
    if "%" in text:
        raise ValueError("expected an address without a scope")
    return IPv6Address(text)


def ip6_text(value: Value) -> str:
    """As RFC 5952: an IPv4 address inside shows as such."""
    mapped = value.ipv4_mapped if isinstance(value, IPv6Address) else None
    return str(value) if mapped is None else f"::ffff:{mapped}"


def read_ip(data: bytes) -> IPv4Address | IPv6Address:
    return ip_address(data)


def write_ip(value: Value) -> bytes:
    if not isinstance(value, IPv4Address | IPv6Address):
        raise TypeError(value)
    return value.packed


def parse_port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or int(text) > MAX_PORT:
        raise ValueError("expected a port")
    return int(text)


def parse_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 20 or int(text) > MAX_NUMBER:
        raise ValueError("expected a number")
    return int(text)


def read_number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def write_port(value: Value) -> bytes:
    return _number(value).to_bytes(2, "big")


def write_number(value: Value) -> bytes:
    return _number(value).to_bytes(8, "big")


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def parse_name(text: str) -> str:
    if not text or len(text) > MAX_NAME or not text.isprintable():
        raise ValueError("expected a name")
    return text


def read_name(data: bytes) -> str:
    """A name that stays one when it is shown as a part of a text."""
    text = data.decode("utf-8")
    if "/" in text:
        raise ValueError("expected a name")
    return parse_name(text)


def write_name(value: Value) -> bytes:
    if not isinstance(value, str):
        raise TypeError(value)
    return value.encode()


def parse_onion(text: str) -> OnionService:
    name, colon, port = text.partition(":")
    if not colon or len(name) != ONION_NAME_SIZE or parse_port(port) == 0:
        raise ValueError("expected 56 characters and a port")
    try:
        base64.b32decode(name, casefold=True)
    except binascii.Error:
        raise ValueError("expected base32") from None
    return OnionService(name.lower(), parse_port(port))


def read_onion(data: bytes) -> OnionService:
    port = read_number(data[-2:])
    if port == 0:
        raise ValueError("expected a port")
    return OnionService(base64.b32encode(data[:-2]).decode().lower(), port)


def write_onion(value: Value) -> bytes:
    if not isinstance(value, OnionService):
        raise TypeError(value)
    return base64.b32decode(value.name, casefold=True) + write_port(value.port)


def parse_peer_id(text: str) -> str:
    peer_id_to_bytes(text)
    return text


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have bit 0x80."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in its shortest form, and where it ends."""
    number = 0
    for place, byte in enumerate(data[at : at + MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if byte == 0 and place > 0:
                raise ValueError("a number is not in its shortest form")
            return number, at + place + 1
    raise ValueError("a number does not end")
