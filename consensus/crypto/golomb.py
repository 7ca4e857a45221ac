"""Golomb-coded sets of block filters (RFC 45, after BIP 158) in plain Python; `consensus.kernels.golomb` is faster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

P: Final = 19
"""Bits of a difference that are written as they are; the rest is unary."""


M: Final = 784_931
"""One false match among so many."""


FILTER_KEY: Final = bytes(16)
"""Of SipHash: unlike Bitcoin's, the same for all blocks."""


COUNT_SIZE: Final = 8


_MASK: Final = (1 << 64) - 1


_WORD: Final = Struct("<Q")


def golomb_coded_set(elements: Sequence[bytes], key: bytes = FILTER_KEY) -> bytes:
    """The filter of distinct elements, in any order. `key`: 16 bytes."""
    span = len(elements) * M
    values = sorted(siphash(element, key) * span >> 64 for element in elements)
    return len(elements).to_bytes(COUNT_SIZE, "little") + _golomb_rice(values)


def _golomb_rice(values: Iterable[int]) -> bytes:
    """Ascending values as differences: quotient by 2**P in ones, a zero, remainder in P bits."""
    digits, last = [], 0
    for value in values:
        quotient, remainder = divmod(value - last, 1 << P)
        digits.append("1" * quotient + format(remainder, f"0{P + 1}b"))
        last = value
    text = "".join(digits)
    size = -(-len(text) // 8)
    return int(text.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


@lru_cache(maxsize=1 << 16)
def siphash(data: bytes, key: bytes) -> int:
    """SipHash-2-4 of any bytes under a 16-byte key. Kept, since the same scripts come again and again."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    last = data[len(data) & ~7 :].ljust(7, b"\0") + bytes((len(data) & 0xFF,))
    for (word,) in (*_WORD.iter_unpack(data[: len(data) & ~7]), _WORD.unpack(last)):
        v3 ^= word
        v0, v1, v2, v3 = _sip_round(*_sip_round(v0, v1, v2, v3))
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(4):
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _sip_round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & _MASK
    v2 = v2 + v3 & _MASK
    v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
    v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
    v0 = (v0 << 32 | v0 >> 32) & _MASK
    v2 = v2 + v1 & _MASK
    v0 = v0 + v3 & _MASK
    v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
    v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
    v2 = (v2 << 32 | v2 >> 32) & _MASK
    return v0, v1, v2, v3
