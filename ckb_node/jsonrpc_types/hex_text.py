"""Numbers and bytes as JSON-RPC writes them: 0x-prefixed hex text."""

from __future__ import annotations

import re

HASH_SIZE = 32
HASH_TEXT_SIZE = 2 + 2 * HASH_SIZE

_NUMBER = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]*)", re.ASCII)


class BadTextError(ValueError):
    """Text that is not what its place demands; the message names the type and the reason."""


def uint_text(value: int) -> str:
    """0x1f; 0x0 for zero."""
    return hex(value)


def bytes_text(data: bytes) -> str:
    """0x and two digits for each byte."""
    return "0x" + data.hex()


def parse_uint(text: str, bits: int) -> int:
    """An unsigned number of up to `bits` bits. BadTextError without 0x, with redundant zeros, or when too large."""
    longest = len("0x") + bits // 4
    start = text[:longest]  # the rest of megabytes would only take time
    if _NUMBER.fullmatch(start) is None:
        raise BadTextError(f"Invalid Uint{bits} {_shown(text)}: {_number_fault(start)}")
    value = int(start, 16)
    if len(text) > longest or value >> bits:
        raise BadTextError(f"Invalid Uint{bits} {_shown(text)}: number too large to fit in target type")
    return value


def parse_uint32(text: str) -> int:
    """A 32-bit number."""
    return parse_uint(text, 32)


def parse_uint64(text: str) -> int:
    """A 64-bit number."""
    return parse_uint(text, 64)


def parse_uint128(text: str) -> int:
    """A 128-bit number."""
    return parse_uint(text, 128)


def parse_bytes(text: str) -> bytes:
    """Bytes of any length; digits of either case."""
    return _parse_digits(text, "bytes", "a 0x-prefixed hex string")


def parse_hash(text: str) -> bytes:
    """Exactly 32 bytes."""
    if len(text) == HASH_TEXT_SIZE and text.startswith("0x"):
        try:
            data = bytes.fromhex(text[2:])
        except ValueError:
            data = b""
        if len(data) == HASH_SIZE:  # fromhex skips white space
            return data
    return _parse_fixed(text, "H256", HASH_SIZE)


def parse_short_id(text: str) -> bytes:
    """Exactly 10 bytes: a proposal short id."""
    return _parse_fixed(text, "ProposalShortId", 10)


def _parse_fixed(text: str, name: str, size: int) -> bytes:
    expected = f"a 0x-prefixed hex string with {2 * size} digits"
    if text.startswith("0x") and len(text) != 2 + 2 * size:
        raise BadTextError(f"Invalid {name} {_shown(text)}: invalid length {len(text) - 2}, expected {expected}")
    return _parse_digits(text, name, expected)


def _parse_digits(text: str, name: str, expected: str) -> bytes:
    if not text.startswith("0x"):
        raise BadTextError(f"Invalid {name} {_shown(text)}: without `0x` prefix, expected {expected}")
    if len(text) % 2:
        raise BadTextError(f"Invalid {name} {_shown(text)}: not an even number of digits, expected {expected}")
    try:
        data = bytes.fromhex(text[2:])
    except ValueError:
        data = b""
    # fromhex also skips white space, which is no digit here.
    if len(data) * 2 != len(text) - 2:
        raise BadTextError(f"Invalid {name} {_shown(text)}: a character is not a hex digit, expected {expected}")
    return data


def _number_fault(text: str) -> str:
    if not text.startswith("0x") or len(text) < 3:
        return "without `0x` prefix, expected 0x-prefixed hex"
    if text[2] == "0" and len(text) > 3:
        return "with redundant leading zeros"
    return "invalid digit found in string, expected 0x-prefixed hex"


def _shown(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def optional_hash(value: bytes | None) -> str | None:
    """A hash, or null."""
    return None if value is None else bytes_text(value)


def optional_uint(value: int | None) -> str | None:
    """A number, or null."""
    return None if value is None else uint_text(value)
