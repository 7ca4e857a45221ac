"""Vectors of 16 bytes, for generated code that looks through memory."""

from typing import Final

from vm.wasm.emitter import I32, V128, Function, Value, unsigned_leb

VECTOR: Final = 16
"""Bytes."""
_SIMD: Final = 0xFD
_LOAD128, _STORE128, _CONST128, _EQUAL8, _BITMASK8 = 0x00, 0x0B, 0x0C, 0x23, 0x64


def load_vector(address: Value, offset: int = 0) -> Value:
    """16 bytes at `address + offset`."""
    return Value(V128, address.code + bytes([_SIMD, _LOAD128, 0]) + unsigned_leb(offset))


def store_vector(f: Function, address: Value, value: Value, offset: int = 0) -> None:
    """Store 16 bytes at `address + offset`."""
    f.body += address.code + value.code + bytes([_SIMD, _STORE128, 0]) + unsigned_leb(offset)


def zero_bytes(vector: Value) -> Value:
    """i32: bit n is set if byte n is zero."""
    nothing = bytes([_SIMD, _CONST128]) + bytes(VECTOR)
    equal = vector.code + nothing + bytes([_SIMD, _EQUAL8])
    return Value(I32, equal + bytes([_SIMD]) + unsigned_leb(_BITMASK8))
