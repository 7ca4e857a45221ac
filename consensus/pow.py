"""Proof of work: Eaglesong (RFC 10), EaglesongBlake2b (testnet) and Dummy, in plain Python.

This is the readable definition and the oracle of the fast kernel. The message is the header's pow hash with the nonce
appended as a little-endian u128; the digest, read as a big-endian number, must not exceed the target.
"""

from __future__ import annotations

import hashlib
from struct import Struct

from consensus.difficulty import compact_to_target
from consensus.errors import HeaderError
from consensus.hashing import ckb_hash
from consensus.params import Consensus, PowFunc
from consensus.types.blockchain import Header

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
_RATE = Struct("<8I")
_ALL_CONSTANTS = hashlib.shake_256(CONSTANTS_SEED).digest(ROUNDS * _STATE.size)
CONSTANTS = tuple(_STATE.iter_unpack(_ALL_CONSTANTS))
"""16 words for each of the 43 rounds."""

# One in each 32-bit lane of the row: multiplying a word by it copies the word into just these lanes.
_LANES = tuple(sum(1 << 32 * lane for lane, bit in enumerate(row) if bit == "1") for row in BIT_MATRIX)


class PowError(HeaderError):
    """The proof-of-work hash exceeds the target, or there is no target."""

    def __init__(self, pow_hash: bytes, nonce: int, compact_target: int) -> None:
        super().__init__(f"Header(Pow(InvalidNonce(compact target {compact_target:#x}, nonce {nonce:#x})))")
        self.pow_hash = pow_hash
        self.nonce = nonce
        self.compact_target = compact_target


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
    for block in _absorbed_blocks(message):
        state = _permute(tuple(a ^ b for a, b in zip(state, block, strict=True)))
    return _RATE.pack(*state[:RATE_WORDS])


def _absorbed_blocks(message: bytes) -> list[tuple[int, ...]]:
    """The message and its delimiter as big-endian words, zero-padded to blocks of 8 words plus 8 untouched ones.

    A last word that the message does not fill is right-aligned: its leading bytes are zero.
    """
    whole = len(message) & ~3
    last = (message[whole:] + bytes([DELIMITER])).rjust(4, b"\0")
    padded = message[:whole] + last
    padded += bytes(-len(padded) % (4 * RATE_WORDS))
    untouched = (0,) * (STATE_WORDS - RATE_WORDS)
    return [words + untouched for words in Struct(">8I").iter_unpack(padded)]


def eaglesong_blake2b(message: bytes) -> bytes:
    """The testnet's function: the chain's blake2b over the Eaglesong digest."""
    return ckb_hash(eaglesong(message))


def pow_message(pow_hash: bytes, nonce: int) -> bytes:
    """What is hashed: 32 bytes of pow hash, then the nonce as 16 little-endian bytes."""
    return pow_hash + nonce.to_bytes(16, "little")


def is_solution(function: PowFunc, pow_hash: bytes, nonce: int, target: int) -> bool:
    """The nonce's digest does not exceed the 256-bit target (never for target 0). Dummy accepts everything."""
    if function is PowFunc.DUMMY:
        return True
    if target == 0:
        return False
    digest = _DIGESTS[function](pow_message(pow_hash, nonce))
    return int.from_bytes(digest, "big") <= target


_DIGESTS = {PowFunc.EAGLESONG: eaglesong, PowFunc.EAGLESONG_BLAKE2B: eaglesong_blake2b}


def verify_pow(consensus: Consensus, header: Header) -> None:
    """The header's nonce solves its own compact target; PowError otherwise."""
    if consensus.pow_func is PowFunc.DUMMY:
        return
    target = compact_to_target(header.compact_target)
    if not is_solution(consensus.pow_func, header.pow_hash, header.nonce, target):
        raise PowError(header.pow_hash, header.nonce, header.compact_target)
