"""The header by which a trusted proxy tells whose connection it forwards: HAProxy's PROXY protocol, versions 1 and 2.

Only what the specification (haproxy.org, proxy-protocol.txt) allows for connections over IP is read; for all others,
such as the proxy's own health checks, the socket's address stays. Never read it from a peer that is not trusted.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from network.ckb_wire.forwarded import Forwarded, ip_address, port_number
from network.ip import unmapped

__all__ = ["HaproxyError", "HaproxyHeader"]

LINE_START: Final = b"PROXY "
LINE_END: Final = b"\r\n"
MAX_LINE: Final = 108
"""Bytes of version 1, its end included, as the reference reads it; the specification says 107."""
LINE_PARTS: Final = 6

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
FIXED_SIZE: Final = len(SIGNATURE) + 4
"""Bytes of version 2 before its addresses: signature, version and command, family and transport, u16 length."""
MAX_ADDRESSES: Final = 512
"""Bytes of addresses and extensions of version 2."""
VERSION_2: Final = 0x20
COMMAND_LOCAL, COMMAND_PROXY = 0, 1
FAMILY_IPV4, FAMILY_IPV6 = 1, 2


class HaproxyError(Exception):
    """The header is broken; the connection is to be dropped."""


class HaproxyHeader:
    """Reads the header of one connection, if it begins with one, cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._rest = b""
        self._is_done = False
        self._source: Forwarded | None = None

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """HaproxyError when a header has begun that is broken."""
        if self._is_done:
            raise RuntimeError("the header is read; what comes now is the stream's")
        held = len(self._buffer)
        self._buffer += data[: FIXED_SIZE + MAX_ADDRESSES - held]
        size = self._read()
        if size is not None:
            self._is_done = True
            self._rest = bytes(self._buffer[size:]) + bytes(data[len(self._buffer) - held :])
            self._buffer.clear()

    @property
    def is_done(self) -> bool:
        """The header is complete, or it is clear that there is none."""
        return self._is_done

    @property
    def source(self) -> Forwarded | None:
        """The client's end of the connection; None: the socket's address holds."""
        return self._source

    def rest(self) -> bytes:
        """What `receive` was given behind the header: all of it when there is none."""
        return self._rest

    def _read(self) -> int | None:
        """The size of the header, 0 when there is none, None as long as it is not complete."""
        buffer = bytes(self._buffer)
        if _begins(buffer, LINE_START):
            return self._read_line(buffer)
        if _begins(buffer, SIGNATURE):
            return self._read_binary(buffer)
        return 0

    def _read_line(self, buffer: bytes) -> int | None:
        end = buffer.find(LINE_END, 0, MAX_LINE)
        if end >= 0:
            self._source = _of_line(buffer[:end])
            return end + len(LINE_END)
        if len(buffer) >= MAX_LINE:
            raise HaproxyError(f"a line of more than {MAX_LINE} bytes")
        return None

    def _read_binary(self, buffer: bytes) -> int | None:
        if len(buffer) < FIXED_SIZE:
            return None
        size = int.from_bytes(buffer[FIXED_SIZE - 2 : FIXED_SIZE], "big")
        if size > MAX_ADDRESSES:
            raise HaproxyError(f"addresses of {size} bytes, of at most {MAX_ADDRESSES}")
        if len(buffer) < FIXED_SIZE + size:
            return None
        self._source = _of_binary(buffer[len(SIGNATURE)], buffer[len(SIGNATURE) + 1], buffer[FIXED_SIZE:][:size])
        return FIXED_SIZE + size


def _begins(buffer: bytes, start: bytes) -> bool:
    """Whether so much of `start` as there is can be seen."""
    return start.startswith(buffer[: len(start)])


def _of_line(line: bytes) -> Forwarded | None:
    """`PROXY TCP4 192.0.2.8 192.0.2.1 56324 8115`: source, destination, and their ports."""
    try:
        parts = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise HaproxyError("a line that is not ASCII") from None
    if parts[1] == "UNKNOWN":
        return None
    if parts[1] not in ("TCP4", "TCP6") or len(parts) != LINE_PARTS:
        raise HaproxyError(f"a line of {len(parts)} parts, or of an unknown family")
    address, port = ip_address(parts[2]), port_number(parts[4])
    if address is None or port is None:
        raise HaproxyError("no address or port of the client")
    return Forwarded(address, port)


def _of_binary(version_and_command: int, family_and_transport: int, addresses: bytes) -> Forwarded | None:
    """Source and destination addresses, then their ports."""
    version, command = version_and_command & 0xF0, version_and_command & 0x0F
    if version != VERSION_2 or command not in (COMMAND_LOCAL, COMMAND_PROXY):
        raise HaproxyError(f"version and command {version_and_command:#x}")
    family = family_and_transport >> 4
    if command == COMMAND_LOCAL or family not in (FAMILY_IPV4, FAMILY_IPV6):
        return None
    size = 4 if family == FAMILY_IPV4 else 16
    if len(addresses) < 2 * size + 4:
        raise HaproxyError(f"{len(addresses)} bytes are no two addresses")
    source = addresses[:size]
    port = int.from_bytes(addresses[2 * size : 2 * size + 2], "big")
    return Forwarded(IPv4Address(source) if family == FAMILY_IPV4 else unmapped(IPv6Address(source)), port)
