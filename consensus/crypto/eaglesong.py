"""Eaglesong (RFC 10) in plain Python: the readable definition, and the oracle of the fast kernel."""

from __future__ import annotations

import hashlib
from struct import Struct

ROUNDS = 43
STATE_WORDS = 16
RATE_WORDS = 8
DELIMITER = 6

# Row k tells to which words of the next state word k is added (RFC 10, "Bit Matrix").
BIT_MATRIX = (
    "1111010111110001",
    "0111101011111001",
    "0011110101111101",
    "0001111010111111",
    "1111101010101110",
    "1000100010100111",
    "1011000110100010",
    "1010110100100001",
    "0101011010010001",
    "0010101101001001",
    "0001010110100101",
    "0000101011010011",
    "1111000010011000",
    "0111100001001100",
    "0011110000100110",
    "1110101111100011",
)
# Word i becomes itself xor its rotations by these two amounts (RFC 10, "Circulant Multiplication").
ROTATIONS = (
    (2, 4),
    (13, 22),
    (4, 19),
    (3, 14),
    (27, 31),
    (3, 8),
    (17, 26),
    (3, 12),
    (18, 22),
    (12, 18),
    (4, 7),
    (4, 31),
    (12, 27),
    (7, 17),
    (7, 8),
    (1, 13),
)
# The round constants are the SHAKE256 expansion of this sentence (RFC 10, "Injection of Constants").
CONSTANTS_SEED = (
    b"The various ways in which the knowledge on which people base their plan is communicated to them is the crucial "
    b"problem for any theory explaining the economic process, and the problem of what is the best way to utilizing "
    b"knowledge initially dispersed among all the people is at least one of the main problems of economic policy - or "
    b"of designing an efficient economic system."
)

_MASK = 0xFFFF_FFFF
_STATE = Struct("<16I")
_BLOCK = Struct(">8I")
_RATE = Struct("<8I")
_ALL_CONSTANTS = hashlib.shake_256(CONSTANTS_SEED).digest(ROUNDS * _STATE.size)
CONSTANTS = tuple(_STATE.iter_unpack(_ALL_CONSTANTS))
"""16 words for each of the 43 rounds."""

# One in each 32-bit lane of the row: multiplying a word by it copies the word into just these lanes.
_LANES = tuple(sum(1 << 32 * lane for lane, bit in enumerate(row) if bit == "1") for row in BIT_MATRIX)


def _permute(state: tuple[int, ...]) -> tuple[int, ...]:
    """The 43 rounds over 16 words."""
    for constants in CONSTANTS:
        mixed = 0
        for word, lanes in zip(state, _LANES, strict=True):
            mixed ^= word * lanes
        words = []
        for word, (a, b), constant in zip(
            _STATE.unpack(mixed.to_bytes(64, "little")), ROTATIONS, constants, strict=True
        ):
            turned = word ^ (word << a | word >> 32 - a) ^ (word << b | word >> 32 - b)
            words.append(turned & _MASK ^ constant)
        for i in range(0, STATE_WORDS, 2):
            left = words[i] + words[i + 1] & _MASK
            left = (left << 8 | left >> 24) & _MASK
            right = words[i + 1]
            right = (right << 24 | right >> 8) & _MASK
            words[i], words[i + 1] = left, right + left & _MASK
        state = tuple(words)
    return state


def eaglesong(message: bytes) -> bytes:
    """32-byte Eaglesong digest (RFC 10)."""
    state = (0,) * STATE_WORDS
    untouched = (0,) * (STATE_WORDS - RATE_WORDS)
    for block in _BLOCK.iter_unpack(padded(message)):
        state = _permute(tuple(a ^ b for a, b in zip(state, block + untouched, strict=True)))
    return _RATE.pack(*state[:RATE_WORDS])


def padded(message: bytes) -> bytes:
    """The message and its delimiter, zero-padded to blocks of 8 big-endian words.

    A last word that the message does not fill is right-aligned: its leading bytes are zero.
    """
    whole = len(message) & ~3
    last = (message[whole:] + bytes([DELIMITER])).rjust(4, b"\0")
    return message[:whole] + last + bytes(-(whole + 4) % _BLOCK.size)
