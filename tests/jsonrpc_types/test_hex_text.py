"""Numbers and bytes as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckb_node.jsonrpc_types.hex_text import (
    BadTextError,
    bytes_text,
    parse_bytes,
    parse_hash,
    parse_short_id,
    parse_uint32,
    parse_uint64,
    parse_uint128,
    uint_text,
)


@given(st.integers(0, (1 << 128) - 1))
def test_numbers_round_trip(value: int) -> None:
    assert parse_uint128(uint_text(value)) == value
    assert uint_text(value) == uint_text(value).lower()


@given(st.binary(max_size=100))
def test_bytes_round_trip(data: bytes) -> None:
    assert parse_bytes(bytes_text(data)) == data


def test_digits_of_either_case_are_read() -> None:
    assert parse_uint32("0xfF") == 255
    assert parse_bytes("0xAb") == b"\xab"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10", "without `0x` prefix"),
        ("0x", "without `0x` prefix"),
        ("", "without `0x` prefix"),
        ("0X1", "without `0x` prefix"),
        ("0x01", "with redundant leading zeros"),
        ("0x00", "with redundant leading zeros"),
        ("0x1g", "invalid digit"),
        ("0x1_0", "invalid digit"),
        ("0x+1", "invalid digit"),
        ("0x 1", "invalid digit"),
        ("0x1\n", "invalid digit"),
        ("0x٣", "invalid digit"),
        ("-0x1", "without `0x` prefix"),
    ],
)
def test_bad_numbers_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadTextError, match=reason):
        parse_uint64(text)


@pytest.mark.parametrize(
    ("text", "parse"),
    [("0x100000000", parse_uint32), ("0x1" + "0" * 16, parse_uint64), ("0x1" + "0" * 32, parse_uint128)],
)
def test_numbers_too_large_are_refused(text: str, parse: object) -> None:
    with pytest.raises(BadTextError, match="number too large to fit in target type"):
        parse(text)  # type: ignore[operator]


@pytest.mark.parametrize("text", ["", "0", "ab", "0x1", "0xzz", "0x0 ", "0x 0", "0x ab ", "0xa\nb1"])
def test_bad_bytes_are_refused(text: str) -> None:
    with pytest.raises(BadTextError):
        parse_bytes(text)


def test_hashes_have_exactly_32_bytes() -> None:
    assert parse_hash("0x" + "aB" * 32) == b"\xab" * 32
    for text in ("0x" + "ab" * 31, "0x" + "ab" * 33, "ab" * 33, "0x" + "ab" * 31 + "  "):
        with pytest.raises(BadTextError):
            parse_hash(text)


def test_short_ids_have_exactly_10_bytes() -> None:
    assert parse_short_id("0x" + "12" * 10) == b"\x12" * 10
    with pytest.raises(BadTextError):
        parse_short_id("0x" + "12" * 11)


@pytest.mark.parametrize(("text", "reason"), [("0x" + "f" * 5_000_000, "too large"), ("0x" + "g" * 5_000_000, "digit")])
def test_megabytes_of_digits_are_refused_by_their_beginning(text: str, reason: str) -> None:
    with pytest.raises(BadTextError, match=reason) as refused:
        parse_uint64(text)
    assert len(str(refused.value)) < 200
