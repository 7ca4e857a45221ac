"""All targets by name, and what each begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from network.ckb_wire.messages import message_frame
from network.ckb_wire.select import select_frame
from network.framing import frame
from network.limits import SYNC
from tests.wire_fuzz import decoders, machines
from tests.wire_fuzz.peer_protocols import peer_protocols

Target = Callable[[bytes], None]

TARGETS: Mapping[str, Target] = {
    "snappy": decoders.snappy,
    "records": decoders.records,
    "select": decoders.select,
    "messages": decoders.messages,
    "multiaddress": decoders.multiaddress,
    "molecule": decoders.molecule,
    "haproxy": decoders.haproxy,
    "socks5": decoders.socks5,
    "websocket": decoders.websocket,
    "sniffing": decoders.sniffing,
    "handshake": machines.handshake,
    "yamux": machines.yamux,
    "connection": machines.connection,
    "protocols": peer_protocols,
}

IDENTIFY = bytes.fromhex("2e0000001000000018000000290000003f000000000000000d0000002f636b622f39326231393761610100000078")
OPENING = b"\0\0\0\0\0" + b"\x01\x00\x01\x04\x02ab" + b"\x40\x00\x01\x00\x05"

STARTS: Mapping[str, tuple[bytes, ...]] = {
    "snappy": (b"\x40\x00a\xfe\x01\x00", bytes(2000)),
    "records": (b"\x01" + frame(b"one") + frame(b""),),
    "select": (b"\x01" + select_frame("/ckb/ping", ["3"]) + b"rest",),
    "messages": (b"\x05\x03" + b"".join(message_frame(SYNC, bytes(3000))) * 2, b"\x00\x02" + frame(b"ping") * 3),
    "multiaddress": (bytes.fromhex("047f00000106") + b"\x1f\xb3", b"/ip4/127.0.0.1/tcp/8115"),
    "molecule": (b"\x03\0" + IDENTIFY, b"\x07\0" + bytes.fromhex("0800000004000000")),
    "haproxy": (
        b"\x01PROXY TCP4 192.0.2.1 192.0.2.2 4000 8115\r\nrest",
        b"\x02\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
    ),
    "socks5": (b"\0\0\x01\x05\0\x05\0\0\x01" + bytes(6) + b"rest", b"\0\x01\x01\x05\x02\x01\0\x05\0\0\x01" + bytes(6)),
    "websocket": (b"\x01\0\0" + decoders.UPGRADE, b"\x01\0\x01\x82\x85\0\0\0\0hello\x88\x80\0\0\0\0"),
    "sniffing": (b"GET / HTTP/1.1\r\n", b"\0\0\0\xad" + bytes(12)),
    "handshake": (b"\x01\0" + b"\x01\0" * 8, b"\x01\x03" + bytes(20)),
    "yamux": (b"\0\0\0\0\x01\x05hello" * 3, b"\0\0\x04\0\x01\x02\x04\0\xff\xff\x05\0\0\0\0\0\x00\x06\0"),
    "protocols": tuple(
        bytes([0, name, name & 1, 1, 1]) + bytes([3, 0, kind, 0, 0, 0, 2]) * 8 for name in range(12) for kind in (0, 1)
    ),
    "connection": (b"\0" + OPENING * 3, b"\x01\x40\0\0" + OPENING, b"\0" + b"\x01\x07\x05hello" * 4),
}
"""Bytes that reach past the first checks of each target, for engines without coverage."""
