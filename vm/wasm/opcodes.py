"""Types and instruction bytes of WebAssembly (core specification 3.0, chapter 5) that `vm.wasm.emitter` uses."""

from enum import IntEnum
from typing import Final


class Type(IntEnum):
    """A value type, by its byte in the binary format."""

    I32 = 0x7F
    I64 = 0x7E
    V128 = 0x7B


I32: Final = Type.I32
I64: Final = Type.I64
V128: Final = Type.V128

# Instruction bytes per type: (i32, i64).
BINARY: Final = {
    "add": (0x6A, 0x7C),
    "sub": (0x6B, 0x7D),
    "mul": (0x6C, 0x7E),
    "div_s": (0x6D, 0x7F),
    "div_u": (0x6E, 0x80),
    "rem_s": (0x6F, 0x81),
    "rem_u": (0x70, 0x82),
    "and": (0x71, 0x83),
    "or": (0x72, 0x84),
    "xor": (0x73, 0x85),
    "shl": (0x74, 0x86),
    "shr_s": (0x75, 0x87),
    "shr_u": (0x76, 0x88),
    "rotl": (0x77, 0x89),
    "rotr": (0x78, 0x8A),
}
COMPARE: Final = {
    "eq": (0x46, 0x51),
    "ne": (0x47, 0x52),
    "lt_s": (0x48, 0x53),
    "lt_u": (0x49, 0x54),
    "gt_s": (0x4A, 0x55),
    "gt_u": (0x4B, 0x56),
    "le_s": (0x4C, 0x57),
    "le_u": (0x4D, 0x58),
    "ge_s": (0x4E, 0x59),
    "ge_u": (0x4F, 0x5A),
}
UNARY: Final = {"clz": (0x67, 0x79), "ctz": (0x68, 0x7A), "popcnt": (0x69, 0x7B)}
EQZ: Final = (0x45, 0x50)
WRAP, EXTEND_S, EXTEND_U = 0xA7, 0xAC, 0xAD
EXTEND8: Final = (0xC0, 0xC2)
EXTEND16: Final = (0xC1, 0xC3)
EXTEND32: Final = 0xC4
IF, ELSE, END, BLOCK, LOOP, EMPTY = 0x04, 0x05, 0x0B, 0x02, 0x03, 0x40
BR, BR_IF, BR_TABLE, RETURN, CALL, DROP, SELECT, UNREACHABLE = 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x1A, 0x1B, 0x00
CALL_INDIRECT, RETURN_CALL, RETURN_CALL_INDIRECT, FUNCREF = 0x11, 0x12, 0x13, 0x70
FUNCTION_KIND, TABLE_KIND, MEMORY_KIND = 0x00, 0x01, 0x02
LOCAL_GET, LOCAL_SET, LOCAL_TEE, I32_CONST, I64_CONST = 0x20, 0x21, 0x22, 0x41, 0x42
ADD_WIDE: Final = b"\xfc\x13"
MUL_WIDE_S: Final = b"\xfc\x15"
MUL_WIDE_U: Final = b"\xfc\x16"
MEMORY_FILL: Final = b"\xfc\x0b\x00"
MEMORY_COPY: Final = b"\xfc\x0a\x00\x00"

LOADS: Final = {
    (I32, 1, False): 0x2D,
    (I32, 1, True): 0x2C,
    (I32, 2, False): 0x2F,
    (I32, 2, True): 0x2E,
    (I32, 4, False): 0x28,
    (I32, 4, True): 0x28,
    (I64, 1, False): 0x31,
    (I64, 1, True): 0x30,
    (I64, 2, False): 0x33,
    (I64, 2, True): 0x32,
    (I64, 4, False): 0x35,
    (I64, 4, True): 0x34,
    (I64, 8, False): 0x29,
    (I64, 8, True): 0x29,
}
STORES: Final = {
    (I32, 1): 0x3A,
    (I32, 2): 0x3B,
    (I32, 4): 0x36,
    (I64, 1): 0x3C,
    (I64, 2): 0x3D,
    (I64, 4): 0x3E,
    (I64, 8): 0x37,
}
