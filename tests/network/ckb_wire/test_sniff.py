"""What a fresh connection speaks."""

from __future__ import annotations

import pytest

from network.ckb_wire.sniff import SNIFF_SIZE, Wire, sniff
from tests.support.secio import side

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(20)


@pytest.mark.parametrize(
    ("start", "wire"),
    [
        (side(1).data_to_send(), Wire.SECIO),
        (b"\0", Wire.SECIO),
        (b"GET / HTTP/1.1\r\n", Wire.HTTP),
        (b"GET ", Wire.HTTP),
        (b"OPTIONS * HTTP/1.1", Wire.HTTP),
        (b"M-SEARCH * HTTP/", Wire.HTTP),
        (b"A" * SNIFF_SIZE, Wire.HTTP),
        (b" GET /", Wire.SECIO),
        (b"\r\n\r\n\0\r\nQUIT\n", Wire.SECIO),
        (b"GET\r\n", Wire.SECIO),
        (b"GET\0/", Wire.SECIO),
        (TLS_HELLO, Wire.SECIO),
        (b"\xff" * 16, Wire.SECIO),
    ],
)
def test_what_is_spoken(start: bytes, wire: Wire) -> None:
    assert sniff(start) is wire
    assert sniff(memoryview(bytearray(start))) is wire
    if len(start) >= SNIFF_SIZE:
        assert sniff(start[:SNIFF_SIZE]) is wire


@pytest.mark.parametrize("start", [b"", b"G", b"GET", b"A" * (SNIFF_SIZE - 1)])
def test_not_yet_clear(start: bytes) -> None:
    assert sniff(start) is None


def test_a_judgement_stays_with_more_bytes() -> None:
    for stream in (b"GET / HTTP/1.1\r\n\r\n", side(1).data_to_send(), TLS_HELLO, b"A" * 20):
        found = [sniff(stream[:size]) for size in range(20)]
        known = [wire for wire in found if wire]
        assert found[len(found) - len(known) :] == known
        assert len(set(known)) == 1
