"""Generates blake2b-256 with CKB's personalisation for messages of lengths known beforehand (RFC 22, RFC 7693)."""

from struct import Struct
from typing import Final

from consensus.crypto.hashing import HASH_SIZE, PERSONAL
from vm.wasm.emitter import I32, I64, Function, Local, Module, Value, const, load

_BLOCK: Final = 128
_ZERO: Final = const(I32, 0)

# RFC 7693, 2.6: the fractional parts of the square roots of the first primes, also SHA-512's.
_IV: Final = (
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
)
# RFC 7693, 2.7: which word of the message goes where, by round; rounds 10 and 11 repeat the first two.
_SIGMA: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_ROUNDS: Final = 12
_COLUMNS_AND_DIAGONALS: Final = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)
# The parameter block: digest of 32 bytes, no key, a tree of one node, and the personalisation.
_PARAMETERS: Final = Struct("<8Q").unpack(bytes([HASH_SIZE, 0, 1, 1]) + bytes(44) + PERSONAL)
_START: Final = tuple(iv ^ parameter for iv, parameter in zip(_IV, _PARAMETERS, strict=True))

WORKSPACE: Final = 64 + _BLOCK
"""Bytes of memory that a generated hash needs for itself: the chain value, and the padded last block."""


class Blake2b:
    """Puts functions into `module`; they share WORKSPACE bytes at `workspace` of its memory."""

    def __init__(self, module: Module, workspace: int) -> None:
        self._module = module
        self._chain, self._last_block = workspace, workspace + 64
        self._compress = self._generate_compress()
        self._functions: dict[int, Function] = {}

    def hasher(self, length: int) -> Function:
        """`(message address, digest address)`; the message has `length` bytes, positive and a multiple of 8.

        The digest may overwrite the message.
        """
        if length not in self._functions:
            self._functions[length] = self._generate_hasher(length)
        return self._functions[length]

    def _generate_hasher(self, length: int) -> Function:
        if length <= 0 or length % 8:
            raise ValueError(f"not a multiple of 8: {length}")
        f = self._module.function((I32, I32), ())
        message, digest = f.param(0).value, f.param(1).value
        for i, word in enumerate(_START):
            f.store(8, _ZERO, const(I64, word), self._chain + 8 * i)
        whole = (length - 1) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK):
            f.call_into((), self._compress, message + start, const(I64, start + _BLOCK), const(I64, 0))
        for at in range(0, _BLOCK, 8):
            word = load(I64, 8, message, whole + at) if whole + at < length else const(I64, 0)
            f.store(8, _ZERO, word, self._last_block + at)
        f.call_into((), self._compress, const(I32, self._last_block), const(I64, length), const(I64, -1))
        for at in range(0, HASH_SIZE, 8):
            f.store(8, digest, load(I64, 8, _ZERO, self._chain + at), at)
        return f

    def _generate_compress(self) -> Function:
        """`(block address, bytes so far, all bits set if it is the last)`: takes a block into the chain value."""
        f = self._module.function((I32, I64, I64), ())
        block, so_far, is_last = (f.param(i).value for i in range(3))
        v = [f.local(I64) for _ in range(16)]
        for i in range(8):
            f.set(v[i], load(I64, 8, _ZERO, self._chain + 8 * i))
            f.set(v[8 + i], _IV[i])
        f.set(v[12], v[12].value ^ so_far)
        f.set(v[14], v[14].value ^ is_last)
        for number in range(_ROUNDS):
            sigma = _SIGMA[number % len(_SIGMA)]
            for i, places in enumerate(_COLUMNS_AND_DIAGONALS):
                words = (load(I64, 8, block, 8 * sigma[2 * i + j]) for j in range(2))
                _mix(f, [v[place] for place in places], *words)
        for i in range(8):
            at = self._chain + 8 * i
            f.store(8, _ZERO, load(I64, 8, _ZERO, at) ^ v[i].value ^ v[8 + i].value, at)
        return f


def _mix(f: Function, places: list[Local], x: Value, y: Value) -> None:
    """RFC 7693, 3.1."""
    a, b, c, d = places
    for word, first, second in ((x, 32, 24), (y, 16, 63)):
        f.set(a, a.value + b.value + word)
        f.set(d, (d.value ^ a.value).binary("rotr", first))
        f.set(c, c.value + d.value)
        f.set(b, (b.value ^ c.value).binary("rotr", second))
