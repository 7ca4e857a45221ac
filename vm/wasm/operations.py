"""What instructions compute, as WebAssembly expressions of their operands; and how memory accesses and branches differ.

`vm.wasm.handlers` wraps these for the interpreter, where registers are in memory; `vm.translator.emit` for translated
code, where they are locals.
"""

from collections.abc import Callable
from typing import Final

from vm.isa.table import OPS, Extension
from vm.wasm.emitter import I64, Value, const, if_else, select

Binary = Callable[[Value, Value], Value]
Unary = Callable[[Value], Value]


def _word(operation: Binary) -> Binary:
    """A 32-bit operation on the low halves, its result sign-extended."""
    return lambda a, b: operation(a.wrap(), b.wrap()).extend_s()


def low32(value: Value) -> Value:
    """The low half, zero-extended."""
    return value & 0xFFFF_FFFF


def _bit(b: Value) -> Value:
    return const(I64, 1) << b


# Instructions that compute rd from two values. Shift amounts are taken modulo the width, as RISC-V wants it.
BINARY: Final[dict[str, Binary]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "sll": lambda a, b: a << b,
    "slt": lambda a, b: a.compare("lt_s", b).extend_u(),
    "sltu": lambda a, b: a.compare("lt_u", b).extend_u(),
    "xor": lambda a, b: a ^ b,
    "srl": lambda a, b: a.shr_u(b),
    "sra": lambda a, b: a.shr_s(b),
    "or": lambda a, b: a | b,
    "and": lambda a, b: a & b,
    "addw": _word(lambda a, b: a + b),
    "subw": _word(lambda a, b: a - b),
    "sllw": _word(lambda a, b: a << b),
    "srlw": _word(lambda a, b: a.shr_u(b)),
    "sraw": _word(lambda a, b: a.shr_s(b)),
    "mul": lambda a, b: a * b,
    "mulw": _word(lambda a, b: a * b),
    "sh1add": lambda a, b: (a << 1) + b,
    "sh2add": lambda a, b: (a << 2) + b,
    "sh3add": lambda a, b: (a << 3) + b,
    "adduw": lambda a, b: low32(a) + b,
    "sh1adduw": lambda a, b: (low32(a) << 1) + b,
    "sh2adduw": lambda a, b: (low32(a) << 2) + b,
    "sh3adduw": lambda a, b: (low32(a) << 3) + b,
    "andn": lambda a, b: a & ~b,
    "orn": lambda a, b: a | ~b,
    "xnor": lambda a, b: ~(a ^ b),
    "rol": lambda a, b: a.binary("rotl", b),
    "ror": lambda a, b: a.binary("rotr", b),
    "rolw": _word(lambda a, b: a.binary("rotl", b)),
    "rorw": _word(lambda a, b: a.binary("rotr", b)),
    "min": lambda a, b: select(a.compare("lt_s", b), a, b),
    "minu": lambda a, b: select(a.compare("lt_u", b), a, b),
    "max": lambda a, b: select(a.compare("gt_s", b), a, b),
    "maxu": lambda a, b: select(a.compare("gt_u", b), a, b),
    "bclr": lambda a, b: a & ~_bit(b),
    "bset": lambda a, b: a | _bit(b),
    "binv": lambda a, b: a ^ _bit(b),
    "bext": lambda a, b: a.shr_u(b) & 1,
}

# Instructions that do the same with an immediate in place of rs2.
IMMEDIATE: Final = {
    "addi": "add",
    "slti": "slt",
    "sltiu": "sltu",
    "xori": "xor",
    "ori": "or",
    "andi": "and",
    "slli": "sll",
    "srli": "srl",
    "srai": "sra",
    "addiw": "addw",
    "slliw": "sllw",
    "srliw": "srlw",
    "sraiw": "sraw",
    "bclri": "bclr",
    "bseti": "bset",
    "binvi": "binv",
    "bexti": "bext",
    "rori": "ror",
    "roriw": "rorw",
}

_LOW_BITS: Final = 0x7F7F_7F7F_7F7F_7F7F
_HIGH_BITS: Final = 0x8080_8080_8080_8080


def _orcb(a: Value) -> Value:
    nonzero = ((a & _LOW_BITS) + _LOW_BITS | a) & _HIGH_BITS  # the high bit of each byte that is not 0
    return nonzero.shr_u(7) * 0xFF


def _rev8(a: Value) -> Value:
    bytes_swapped = a.shr_u(8) & 0x00FF_00FF_00FF_00FF | (a & 0x00FF_00FF_00FF_00FF) << 8
    halves = bytes_swapped.shr_u(16) & 0x0000_FFFF_0000_FFFF | (bytes_swapped & 0x0000_FFFF_0000_FFFF) << 16
    return halves.binary("rotl", 32)


UNARY: Final[dict[str, Unary]] = {
    "clz": lambda a: a.unary("clz"),
    "ctz": lambda a: a.unary("ctz"),
    "cpop": lambda a: a.unary("popcnt"),
    "clzw": lambda a: a.wrap().unary("clz").extend_u(),
    "ctzw": lambda a: a.wrap().unary("ctz").extend_u(),
    "cpopw": lambda a: a.wrap().unary("popcnt").extend_u(),
    "sextb": lambda a: a.sign_extend(8),
    "sexth": lambda a: a.sign_extend(16),
    "zexth": lambda a: a & 0xFFFF,
    "orcb": _orcb,
    "rev8": _rev8,
}

LOADS: Final = {
    "lb": (1, True),
    "lh": (2, True),
    "lw": (4, True),
    "ld": (8, False),
    "lbu": (1, False),
    "lhu": (2, False),
    "lwu": (4, False),
}
STORES: Final = {"sb": 1, "sh": 2, "sw": 4, "sd": 8}
"""Bytes that they access; of loads also whether they are sign-extended."""
ATOMICS: Final = {spec.name: 4 if spec.name.endswith("w") else 8 for spec in OPS if spec.extension is Extension.A}
"""Bytes that they access."""
ATOMIC_RESULTS: Final = {
    "amoswap": lambda old, new: new,
    "amoadd": BINARY["add"],
    "amoxor": BINARY["xor"],
    "amoand": BINARY["and"],
    "amoor": BINARY["or"],
    "amomin": BINARY["min"],
    "amomax": BINARY["max"],
    "amominu": BINARY["minu"],
    "amomaxu": BINARY["maxu"],
}
BRANCHES: Final = {"beq": "eq", "bne": "ne", "blt": "lt_s", "bge": "ge_s", "bltu": "lt_u", "bgeu": "ge_u"}

_MINUS_ONE: Final = const(I64, -1)
_ZERO64: Final = const(I64, 0)

# Division traps in WebAssembly where it does not in RISC-V.
DIVISIONS: Final[dict[str, Binary]] = {
    "divu": lambda a, b: if_else(b.eqz(), _MINUS_ONE, a.binary("div_u", b)),
    "remu": lambda a, b: if_else(b.eqz(), a, a.binary("rem_u", b)),
    "div": lambda a, b: if_else(
        (b + 1).compare("le_u", 1), if_else(b.eqz(), _MINUS_ONE, _ZERO64 - a), a.binary("div_s", b)
    ),
    "rem": lambda a, b: if_else(b.eqz(), a, a.binary("rem_s", b)),
}
