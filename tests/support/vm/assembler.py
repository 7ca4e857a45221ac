"""A mini assembler and ELF writer, so that tests need no compiler.

Encodings are written down here once more, from the RISC-V manuals (unprivileged ISA 20191213, bit manipulation 1.0.0),
independently of the table that the engines use.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

CODE_BASE = 0x10000
DATA_BASE = 0x20000
PAGE = 4096

PF_X, PF_W, PF_R = 1, 2, 4

# name: (opcode, funct3, funct7)
REGISTER_OPS = {
    "add": (0x33, 0, 0x00),
    "sub": (0x33, 0, 0x20),
    "sll": (0x33, 1, 0x00),
    "slt": (0x33, 2, 0x00),
    "sltu": (0x33, 3, 0x00),
    "xor": (0x33, 4, 0x00),
    "srl": (0x33, 5, 0x00),
    "sra": (0x33, 5, 0x20),
    "or": (0x33, 6, 0x00),
    "and": (0x33, 7, 0x00),
    "mul": (0x33, 0, 0x01),
    "mulh": (0x33, 1, 0x01),
    "mulhsu": (0x33, 2, 0x01),
    "mulhu": (0x33, 3, 0x01),
    "div": (0x33, 4, 0x01),
    "divu": (0x33, 5, 0x01),
    "rem": (0x33, 6, 0x01),
    "remu": (0x33, 7, 0x01),
    "addw": (0x3B, 0, 0x00),
    "subw": (0x3B, 0, 0x20),
    "sllw": (0x3B, 1, 0x00),
    "srlw": (0x3B, 5, 0x00),
    "sraw": (0x3B, 5, 0x20),
    "mulw": (0x3B, 0, 0x01),
    "divw": (0x3B, 4, 0x01),
    "divuw": (0x3B, 5, 0x01),
    "remw": (0x3B, 6, 0x01),
    "remuw": (0x3B, 7, 0x01),
}

B_REGISTER_OPS = {
    "sh1add": (0x33, 2, 0x10),
    "sh2add": (0x33, 4, 0x10),
    "sh3add": (0x33, 6, 0x10),
    "adduw": (0x3B, 0, 0x04),
    "sh1adduw": (0x3B, 2, 0x10),
    "sh2adduw": (0x3B, 4, 0x10),
    "sh3adduw": (0x3B, 6, 0x10),
    "andn": (0x33, 7, 0x20),
    "orn": (0x33, 6, 0x20),
    "xnor": (0x33, 4, 0x20),
    "rol": (0x33, 1, 0x30),
    "ror": (0x33, 5, 0x30),
    "rolw": (0x3B, 1, 0x30),
    "rorw": (0x3B, 5, 0x30),
    "min": (0x33, 4, 0x05),
    "minu": (0x33, 5, 0x05),
    "max": (0x33, 6, 0x05),
    "maxu": (0x33, 7, 0x05),
    "clmul": (0x33, 1, 0x05),
    "clmulr": (0x33, 2, 0x05),
    "clmulh": (0x33, 3, 0x05),
    "bclr": (0x33, 1, 0x24),
    "bext": (0x33, 5, 0x24),
    "binv": (0x33, 1, 0x34),
    "bset": (0x33, 1, 0x14),
}

# name: (opcode, funct3, bits 31:20)
B_UNARY_OPS = {
    "clz": (0x13, 1, 0x600),
    "ctz": (0x13, 1, 0x601),
    "cpop": (0x13, 1, 0x602),
    "sextb": (0x13, 1, 0x604),
    "sexth": (0x13, 1, 0x605),
    "orcb": (0x13, 5, 0x287),
    "rev8": (0x13, 5, 0x6B8),
    "clzw": (0x1B, 1, 0x600),
    "ctzw": (0x1B, 1, 0x601),
    "cpopw": (0x1B, 1, 0x602),
    "zexth": (0x3B, 4, 0x080),
}

# name: (opcode, funct3)
IMMEDIATE_OPS = {
    "addi": (0x13, 0),
    "slti": (0x13, 2),
    "sltiu": (0x13, 3),
    "xori": (0x13, 4),
    "ori": (0x13, 6),
    "andi": (0x13, 7),
    "addiw": (0x1B, 0),
    "lb": (0x03, 0),
    "lh": (0x03, 1),
    "lw": (0x03, 2),
    "ld": (0x03, 3),
    "lbu": (0x03, 4),
    "lhu": (0x03, 5),
    "lwu": (0x03, 6),
    "jalr": (0x67, 0),
}

# name: (opcode, funct3, bits above the shift amount, width of the shift amount)
SHIFT_OPS = {
    "slli": (0x13, 1, 0x000, 6),
    "srli": (0x13, 5, 0x000, 6),
    "srai": (0x13, 5, 0x400, 6),
    "slliw": (0x1B, 1, 0x000, 5),
    "srliw": (0x1B, 5, 0x000, 5),
    "sraiw": (0x1B, 5, 0x400, 5),
}

B_SHIFT_OPS = {
    "bclri": (0x13, 1, 0x480, 6),
    "bexti": (0x13, 5, 0x480, 6),
    "binvi": (0x13, 1, 0x680, 6),
    "bseti": (0x13, 1, 0x280, 6),
    "rori": (0x13, 5, 0x600, 6),
    "roriw": (0x1B, 5, 0x600, 5),
    "slliuw": (0x1B, 1, 0x080, 6),
}

# name without the width: bits 31:27
ATOMIC_OPS = {
    "lr": 0b00010,
    "sc": 0b00011,
    "amoswap": 0b00001,
    "amoadd": 0b00000,
    "amoxor": 0b00100,
    "amoand": 0b01100,
    "amoor": 0b01000,
    "amomin": 0b10000,
    "amomax": 0b10100,
    "amominu": 0b11000,
    "amomaxu": 0b11100,
}

STORE_OPS = {"sb": 0, "sh": 1, "sw": 2, "sd": 3}
BRANCH_OPS = {"beq": 0, "bne": 1, "blt": 4, "bge": 5, "bltu": 6, "bgeu": 7}

ECALL = struct.pack("<I", 0x0000_0073)
EBREAK = struct.pack("<I", 0x0010_0073)
FENCE = struct.pack("<I", 0x0FF0_000F)


def _word(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFF_FFFF)


def reg(name: str, rd: int, rs1: int, rs2: int) -> bytes:
    """`name rd, rs1, rs2`"""
    opcode, funct3, funct7 = (REGISTER_OPS | B_REGISTER_OPS)[name]
    return _word(opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25)


def unary(name: str, rd: int, rs1: int) -> bytes:
    """`name rd, rs1`"""
    opcode, funct3, high = B_UNARY_OPS[name]
    return _word(opcode | rd << 7 | funct3 << 12 | rs1 << 15 | high << 20)


def imm(name: str, rd: int, rs1: int, value: int) -> bytes:
    """`name rd, rs1, value`, also for loads and jalr (`value` -2048..2047) and shifts."""
    if name in IMMEDIATE_OPS:
        opcode, funct3 = IMMEDIATE_OPS[name]
        assert -2048 <= value < 2048
        return _word(opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (value & 0xFFF) << 20)
    opcode, funct3, high, width = (SHIFT_OPS | B_SHIFT_OPS)[name]
    assert 0 <= value < 1 << width
    return _word(opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (high | value) << 20)


def atomic(name: str, width: str, rd: int, rs2: int, rs1: int, order: int = 0) -> bytes:
    """`name.width rd, rs2, (rs1)`, width "w" or "d"; of lr, rs2 must be 0. `order`: the bits aq and rl."""
    high = ATOMIC_OPS[name] << 27 | order << 25
    return _word(0x2F | rd << 7 | {"w": 2, "d": 3}[width] << 12 | rs1 << 15 | rs2 << 20 | high)


def store(name: str, rs2: int, rs1: int, offset: int) -> bytes:
    """`name rs2, offset(rs1)`"""
    assert -2048 <= offset < 2048
    low, high = offset & 31, offset >> 5 & 0x7F
    return _word(0x23 | low << 7 | STORE_OPS[name] << 12 | rs1 << 15 | rs2 << 20 | high << 25)


def branch(name: str, rs1: int, rs2: int, offset: int) -> bytes:
    """`name rs1, rs2, . + offset`"""
    assert offset % 2 == 0
    assert -4096 <= offset < 4096
    low = (offset >> 11 & 1) << 7 | (offset >> 1 & 0xF) << 8
    high = (offset >> 5 & 0x3F) << 25 | (offset >> 12 & 1) << 31
    return _word(0x63 | BRANCH_OPS[name] << 12 | rs1 << 15 | rs2 << 20 | low | high)


def lui(rd: int, value: int) -> bytes:
    """`value` is the upper 20 bits, signed or not."""
    return _word(0x37 | rd << 7 | (value & 0xF_FFFF) << 12)


def auipc(rd: int, value: int) -> bytes:
    return _word(0x17 | rd << 7 | (value & 0xF_FFFF) << 12)


def jal(rd: int, offset: int) -> bytes:
    assert offset % 2 == 0
    assert -(1 << 20) <= offset < 1 << 20
    bits = (offset >> 12 & 0xFF) << 12 | (offset >> 11 & 1) << 20 | (offset >> 1 & 0x3FF) << 21
    return _word(0x6F | rd << 7 | bits | (offset >> 20 & 1) << 31)


def half(value: int) -> bytes:
    """A compressed instruction by its bits."""
    return struct.pack("<H", value)


def li(rd: int, value: int) -> bytes:
    """Load any 64-bit constant, by instructions that no version fuses."""
    value &= (1 << 64) - 1
    code = imm("addi", rd, 0, 0)
    for shift in range(55, -1, -11):
        code += imm("slli", rd, rd, 11) + imm("ori", rd, rd, value >> shift & 0x7FF)
    return code


def exit_with(code: int = 0) -> bytes:
    """`exit(code)`: the ecall that ends a program."""
    return imm("addi", 10, 0, code) + imm("addi", 17, 0, 93) + ECALL


@dataclass(frozen=True)
class Segment:
    """A program header and its content. `file_size`, `offset` and `kind` may lie."""

    address: int
    content: bytes
    flags: int
    memory_size: int | None = None
    file_size: int | None = None
    offset: int | None = None
    kind: int = 1  # PT_LOAD


def elf(segments: Sequence[Segment], entry: int = CODE_BASE, order: str = "<", align: int = 1) -> bytes:
    """An ELF file of 64 bits; contents lie behind the headers in order, each at a multiple of `align`."""
    position = _aligned(64 + 56 * len(segments), align)
    headers, contents = b"", b""
    for segment in segments:
        size = len(segment.content)
        headers += struct.pack(
            order + "IIQQQQQQ",
            segment.kind,
            segment.flags,
            position + len(contents) if segment.offset is None else segment.offset,
            segment.address,
            segment.address,
            size if segment.file_size is None else segment.file_size,
            size if segment.memory_size is None else segment.memory_size,
            PAGE,
        )
        contents += segment.content.ljust(_aligned(size, align), b"\0")
    ident = b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + bytes(9)
    fields = (2, 243, 1, entry, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    head = ident + struct.pack(order + "HHIQQQIHHHHHH", *fields) + headers
    return head.ljust(position, b"\0") + contents


def _aligned(size: int, align: int) -> int:
    return size + -size % align


def program(code: bytes, data: bytes = b"", data_size: int = PAGE) -> bytes:
    """An executable segment at CODE_BASE and a writable one at DATA_BASE."""
    code_segment = Segment(CODE_BASE, code, PF_R | PF_X)
    return elf([code_segment, Segment(DATA_BASE, data, PF_R | PF_W, memory_size=data_size)])
