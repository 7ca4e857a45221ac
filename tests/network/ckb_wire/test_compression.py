"""Snappy of messages: what is compressed, and what a hostile block costs."""

from __future__ import annotations

import random

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ckb_wire.compression import COMPRESS_ABOVE, BrokenCompression, compress, decompress
from network.limits import MAX_UNCOMPRESSED
from tests.support.fuzz import examples


def test_short_payloads_and_those_that_do_not_become_shorter_stay() -> None:
    assert compress(bytes(COMPRESS_ABOVE)) is None
    assert compress(random.Random(1).randbytes(5000)) is None
    compressed = compress(bytes(COMPRESS_ABOVE + 1))
    assert compressed is not None
    assert len(compressed) < 100
    assert decompress(compressed) == bytes(COMPRESS_ABOVE + 1)


def test_the_largest_payload_comes_back() -> None:
    payload = random.Random(2).randbytes(1000) * (MAX_UNCOMPRESSED // 1000)
    compressed = compress(payload)
    assert compressed is not None
    assert decompress(memoryview(compressed)) == payload


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x80",
        b"\xff" * 11,
        varint(MAX_UNCOMPRESSED + 1) + bytes(1 << 20),
        varint(0xFFFF_FFFF) + bytes(100),
        varint(1 << 40) + bytes(100),
        varint(MAX_UNCOMPRESSED) + bytes(1000),
        varint(10) + b"\x00a",
        varint(1) + b"\x04ab",
        varint(100) + b"\x00a\x15\x00",
        varint(64) + b"\x00a\xfe\xff\xff",
    ],
)
def test_what_is_no_block_is_refused(block: bytes) -> None:
    with pytest.raises(BrokenCompression):
        decompress(block)


def test_a_bomb_cannot_declare_more_than_it_could_hold() -> None:
    """Of 1,000 bytes at most about 21,000 can come: memory for 8 MiB is never taken."""
    with pytest.raises(BrokenCompression, match="8388608 bytes in 10"):
        decompress(varint(MAX_UNCOMPRESSED) + bytes(1000))


def test_the_densest_block_is_taken() -> None:
    """One literal byte, then copies of 64 bytes from a distance of one."""
    copies = 1000
    block = varint(1 + 64 * copies) + b"\x00a" + b"\xfe\x01\x00" * copies
    assert decompress(block) == b"a" * (1 + 64 * copies)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=5000))
def test_any_payload_comes_back(payload: bytes) -> None:
    assert decompress(bytes(cramjam.snappy.compress_raw(payload))) == payload


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_block_or_refused(block: bytes) -> None:
    try:
        payload = decompress(block)
    except BrokenCompression:
        return
    assert len(payload) <= MAX_UNCOMPRESSED
