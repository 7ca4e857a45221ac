"""Vector instructions beside `vm.wasm.emitter`: expressions of type V128, here mostly four 32-bit lanes.

The operators of `Value` are those of numbers, so vectors are combined by the functions of this file.

WebAssembly core specification 3.0, chapter 5.4.9 (vector instructions).
"""

from collections.abc import Sequence
from typing import Final

from vm.wasm.emitter import I32, V128, Function, Value, unsigned_leb

_PREFIX: Final = b"\xfd"
_LOAD, _STORE, _SHUFFLE, _SPLAT, _REPLACE_LANE = 0x00, 0x0B, 0x0D, 0x11, 0x1C
_OR, _XOR, _ANY_TRUE, _LOAD_LANE = 0x50, 0x51, 0x53, 0x56
_LE_U, _SHL, _SHR_U, _ADD = 0x3E, 0xAB, 0xAD, 0xAE
_NO_ALIGNMENT: Final = b"\0"

_BYTES: Final = range(16)
_REVERSED_WORDS: Final = [i ^ 3 for i in _BYTES]


def _op(opcode: int) -> bytes:
    return _PREFIX + unsigned_leb(opcode)


def _binary(left: Value, right: Value, opcode: int) -> Value:
    if left.type is not V128 or right.type is not V128:
        raise TypeError("two vectors expected")
    return Value(V128, left.code + right.code + _op(opcode))


def load(address: Value, offset: int = 0) -> Value:
    """16 bytes at `address + offset`."""
    return Value(V128, address.code + _op(_LOAD) + _NO_ALIGNMENT + unsigned_leb(offset))


def store(f: Function, address: Value, value: Value, offset: int = 0) -> None:
    """Put 16 bytes at `address + offset`."""
    f.body += address.code + value.code + _op(_STORE) + _NO_ALIGNMENT + unsigned_leb(offset)


def load_lane(vector: Value, lane: int, address: Value, offset: int = 0) -> Value:
    """`vector` with one 32-bit lane read from `address + offset`."""
    code = address.code + vector.code + _op(_LOAD_LANE) + _NO_ALIGNMENT + unsigned_leb(offset) + bytes([lane])
    return Value(V128, code)


def replace_lane(vector: Value, lane: int, word: Value) -> Value:
    """`vector` with one 32-bit lane set to an i32."""
    return Value(V128, vector.code + word.code + _op(_REPLACE_LANE) + bytes([lane]))


def splat(word: Value) -> Value:
    """An i32 in all four lanes."""
    return Value(V128, word.code + _op(_SPLAT))


def xor(left: Value, *others: Value) -> Value:
    for other in others:
        left = _binary(left, other, _XOR)
    return left


def add(left: Value, right: Value) -> Value:
    """Sums of 32-bit lanes, modulo 2³²."""
    return _binary(left, right, _ADD)


def le_u(left: Value, right: Value) -> Value:
    """All bits of a 32-bit lane set where `left <= right`, else none."""
    return _binary(left, right, _LE_U)


def any_true(vector: Value) -> Value:
    """i32: whether any bit is set."""
    return Value(I32, vector.code + _op(_ANY_TRUE))


def swap_bytes(f: Function, vector: Value) -> Value:
    """The four bytes of each 32-bit lane in reverse order."""
    return _shuffle(f, vector, _REVERSED_WORDS)


def rotl(f: Function, vector: Value, bits: int) -> Value:
    """32-bit lanes rotated left. By whole bytes that is one shuffle, else two shifts of `vector`, evaluated twice."""
    if bits % 8 == 0:
        return _shuffle(f, vector, [i & ~3 | (i - bits // 8) & 3 for i in _BYTES])
    return _binary(_shift(vector, bits, _SHL), _shift(vector, 32 - bits, _SHR_U), _OR)


def _shift(vector: Value, bits: int, opcode: int) -> Value:
    return Value(V128, vector.code + b"\x41" + bytes([bits]) + _op(opcode))


def _shuffle(f: Function, vector: Value, order: Sequence[int]) -> Value:
    """Bytes of `vector` in another order."""
    kept = f.local(V128)
    return Value(V128, f.tee(kept, vector).code + kept.value.code + _op(_SHUFFLE) + bytes(order))
