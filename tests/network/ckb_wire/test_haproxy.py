"""The header of trusted proxies: both versions, cut anywhere, bounded, and what is no header stays in the stream."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ckb_wire.forwarded import Forwarded
from network.ckb_wire.haproxy import MAX_ADDRESSES, MAX_LINE, SIGNATURE, HaproxyError, HaproxyHeader
from network.ip import IpAddress
from tests.support.fuzz import examples
from tests.support.secio import side

V4 = Forwarded(IPv4Address("192.0.2.8"), 56324)
V6 = Forwarded(IPv6Address("2001:db8::8"), 56324)
LOCAL, PROXY = b"\x20", b"\x21"


def packed(source: str, destination: str) -> bytes:
    """Two addresses and the ports 56324 and 8115."""
    kind: type[IpAddress] = IPv6Address if ":" in source else IPv4Address
    return kind(source).packed + kind(destination).packed + (56324).to_bytes(2, "big") + (8115).to_bytes(2, "big")


def binary(command: bytes, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + command + bytes([family]) + len(addresses).to_bytes(2, "big") + addresses


BINARY_V4 = packed("192.0.2.8", "192.0.2.1")
BINARY_V6 = packed("2001:db8::8", "2001:db8::1")

HEADERS = [
    (b"PROXY TCP4 192.0.2.8 192.0.2.1 56324 8115\r\n", V4),
    (b"PROXY TCP6 2001:db8::8 2001:db8::1 56324 8115\r\n", V6),
    (b"PROXY TCP6 ::ffff:192.0.2.8 ::ffff:192.0.2.1 56324 8115\r\n", V4),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * (MAX_LINE - 16) + b"\r\n", None),
    (binary(PROXY, 0x11, BINARY_V4), V4),
    (binary(PROXY, 0x21, BINARY_V6), V6),
    (binary(PROXY, 0x12, BINARY_V4), V4),  # a datagram; the transport is not looked at
    (binary(PROXY, 0x11, BINARY_V4 + b"\x03\x00\x04\x01\x02\x03\x04"), V4),  # with an extension
    (binary(PROXY, 0x21, packed("::ffff:192.0.2.8", "::ffff:192.0.2.1")), V4),
    (binary(PROXY, 0x11, BINARY_V4 + bytes(MAX_ADDRESSES - 12)), V4),
    (binary(LOCAL, 0x11, BINARY_V4), None),
    (binary(LOCAL, 0x00, b""), None),
    (binary(PROXY, 0x00, b""), None),
    (binary(PROXY, 0x31, bytes(216)), None),  # UNIX sockets
    (binary(PROXY, 0xF1, b"1"), None),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_a_header_cut_at_every_byte(header: bytes, source: Forwarded | None) -> None:
    for cut in range(len(header)):
        reader = HaproxyHeader()
        reader.receive(header[:cut])
        was_done = reader.is_done
        reader.receive(memoryview(header)[cut:])
        assert not was_done
        assert reader.is_done
        assert reader.source == source
        assert reader.rest() == b""


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_the_stream_behind_a_header_is_kept_whole(header: bytes, source: Forwarded | None) -> None:
    stream = side(1).data_to_send() + bytes(range(256)) * 10
    for cut in (0, 1, len(header) - 1, len(header), len(header) + 1):
        reader, rest = HaproxyHeader(), b""
        data = header + stream
        reader.receive(data[:cut])
        if reader.is_done:
            rest = data[cut:]
        else:
            reader.receive(data[cut:])
        assert reader.source == source
        assert reader.rest() + rest == stream


@pytest.mark.parametrize(
    "stream",
    [
        side(1).data_to_send(),
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\n",
        b"PROXYTCP4 192.0.2.8 192.0.2.1 56324 8115\r\n",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\0",
    ],
)
def test_a_stream_without_header_is_left_as_it_is(stream: bytes) -> None:
    reader = HaproxyHeader()
    for at in range(len(stream)):
        reader.receive(stream[at : at + 1])
        if reader.is_done:
            break
    assert reader.source is None
    # Held back and then given in one piece: the bytes up to the first that is in no header.
    assert reader.is_done
    assert reader.rest() == stream[: at + 1]


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY \r\n",
        b"PROXY TCP5 192.0.2.8 192.0.2.1 1 2\r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.8 192.0.2.1 1\r\n",
        b"PROXY TCP4 192.0.2.8 192.0.2.1 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.8  192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 localhost 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
        b"PROXY TCP4 192.0.2.8 192.0.2.1 65536 2\r\n",
        b"PROXY TCP4 192.0.2.8 192.0.2.1 -1 2\r\n",
        b"PROXY TCP4 192.0.2.8 192.0.2.1  2\r\n",
        b"PROXY TCP4 192.0.2.8 192.0.2.1 \xc2\xb2 2\r\n",
        b"PROXY TCP4 192.0.2.8 192.0.2.1 1 2\n" + b"x" * MAX_LINE,
        b"PROXY UNKNOWN " + b"x" * MAX_LINE + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * (MAX_LINE - 15) + b"\r\n",
        binary(b"\x10", 0x11, BINARY_V4),
        binary(b"\x31", 0x11, BINARY_V4),
        binary(b"\x22", 0x11, BINARY_V4),
        binary(PROXY, 0x11, BINARY_V4[:-1]),
        binary(PROXY, 0x21, BINARY_V6[:-1]),
        binary(PROXY, 0x21, BINARY_V4),
        binary(PROXY, 0x11, bytes(MAX_ADDRESSES + 1)),
    ],
)
def test_a_broken_header(header: bytes) -> None:
    with pytest.raises(HaproxyError):
        HaproxyHeader().receive(header)
    with pytest.raises(HaproxyError):
        feed_bytewise(HaproxyHeader(), header)


def feed_bytewise(reader: HaproxyHeader, data: bytes) -> None:
    for byte in data:
        reader.receive(bytes([byte]))


def test_too_much_is_refused_before_it_comes() -> None:
    reader = HaproxyHeader()
    with pytest.raises(HaproxyError):
        reader.receive(SIGNATURE + PROXY + b"\x11\xff\xff")
    reader = HaproxyHeader()
    reader.receive(b"PROXY " + b"x" * (MAX_LINE - 7))
    with pytest.raises(HaproxyError):
        reader.receive(b"x")


@settings(max_examples=examples(100))
@given(st.binary(max_size=700), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + PROXY + b"\x11\0"]))
def test_garbage_is_bounded_and_loses_nothing(garbage: bytes, start: bytes) -> None:
    reader, stream = HaproxyHeader(), start + garbage
    try:
        reader.receive(stream)
    except HaproxyError:
        return
    if reader.is_done:
        assert stream.endswith(reader.rest())
    else:
        assert len(stream) < 16 + MAX_ADDRESSES
