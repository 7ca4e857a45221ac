"""The one table of instructions: encoding, operands, cost.

Each line names an instruction, how its bits are recognised (`word & mask == match`), which operands it has and what it
costs in cycles. All engines decode and charge by this table. CKB enables the base integer instructions (I),
multiplication (M) and compressed encodings (C) in every version; bit manipulation (B: Zba, Zbb, Zbc, Zbs) and fusion
from version 1 on; atomics (A) in none. See `vm.isa.profile`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Form(Enum):
    """Where the operands lie in a 32-bit word."""

    R = "rd, rs1, rs2"
    I = "rd, rs1, 12-bit immediate"  # noqa: E741 (the name in the RISC-V manual)
    SHIFT6 = "rd, rs1, 6-bit shift amount"
    SHIFT5 = "rd, rs1, 5-bit shift amount"
    UNARY = "rd, rs1"
    S = "rs1, rs2, 12-bit immediate"
    B = "rs1, rs2, 13-bit even offset"
    U = "rd, upper 20 bits"
    J = "rd, 21-bit even offset"
    NONE = "no operands"
    FUSED = "made by fusion, never by a single word"


class Extension(Enum):
    """The part of the instruction set that must be enabled for an instruction to exist."""

    I = "base integer"  # noqa: E741
    M = "multiplication"
    A = "atomics"
    B = "bit manipulation"
    FUSION = "macro-op fusion"


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One instruction. `code` is its position in the table, 0..255; `cost` is in cycles.

    `ends_block`: the instruction is the last that is decoded, and charged, together with those before it.
    """

    code: int
    name: str
    extension: Extension
    form: Form
    mask: int
    match: int
    cost: int
    ends_block: bool


_MASK_OPCODE = 0x7F
_MASK_FUNCT3 = 0x7 << 12
_MASK_FUNCT6 = 0x3F << 26
_MASK_FUNCT7 = 0x7F << 25
_MASK_FUNCT5 = 0x1F << 27
_MASK_RS2 = 0x1F << 20

_MUL_COST = 5
_DIV_COST = 32
_BRANCH_COST = 3
_SYSTEM_COST = 500

# opcode (7 bits) of the 32-bit encodings
_LOAD, _FENCE, _OP_IMM, _AUIPC, _OP_IMM_32, _STORE = 0x03, 0x0F, 0x13, 0x17, 0x1B, 0x23
_OP, _LUI, _OP_32, _BRANCH, _JALR, _JAL, _SYSTEM = 0x33, 0x37, 0x3B, 0x63, 0x67, 0x6F, 0x73
_AMO = 0x2F


class _Table:
    """Collects the lines below and numbers them."""

    def __init__(self) -> None:
        self.specs: list[OpSpec] = []

    def add(
        self, ext: Extension, name: str, form: Form, mask: int, match: int, cost: int = 1, ends_block: bool = False
    ) -> None:
        self.specs.append(OpSpec(len(self.specs), name, ext, form, mask, match, cost, ends_block))

    def reg(self, ext: Extension, name: str, opcode: int, funct3: int, funct7: int, cost: int = 1) -> None:
        match = opcode | funct3 << 12 | funct7 << 25
        self.add(ext, name, Form.R, _MASK_OPCODE | _MASK_FUNCT3 | _MASK_FUNCT7, match, cost)

    def unary(self, name: str, opcode: int, funct3: int, funct7: int, rs2: int) -> None:
        match = opcode | funct3 << 12 | rs2 << 20 | funct7 << 25
        self.add(Extension.B, name, Form.UNARY, _MASK_OPCODE | _MASK_FUNCT3 | _MASK_RS2 | _MASK_FUNCT7, match)

    def shift6(self, ext: Extension, name: str, opcode: int, funct3: int, funct6: int) -> None:
        match = opcode | funct3 << 12 | funct6 << 26
        self.add(ext, name, Form.SHIFT6, _MASK_OPCODE | _MASK_FUNCT3 | _MASK_FUNCT6, match)

    def shift5(self, ext: Extension, name: str, opcode: int, funct3: int, funct7: int) -> None:
        match = opcode | funct3 << 12 | funct7 << 25
        self.add(ext, name, Form.SHIFT5, _MASK_OPCODE | _MASK_FUNCT3 | _MASK_FUNCT7, match)

    def imm(self, name: str, form: Form, opcode: int, funct3: int, cost: int = 1, ends_block: bool = False) -> None:
        match = opcode | funct3 << 12
        self.add(Extension.I, name, form, _MASK_OPCODE | _MASK_FUNCT3, match, cost, ends_block)

    def fused(self, name: str, cost: int = 1, ends_block: bool = False) -> None:
        self.add(Extension.FUSION, name, Form.FUSED, 0, 1, cost, ends_block)


def _base_integer(t: _Table) -> None:
    ext = Extension.I
    t.add(ext, "lui", Form.U, _MASK_OPCODE, _LUI)
    t.add(ext, "auipc", Form.U, _MASK_OPCODE, _AUIPC, ends_block=True)
    t.add(ext, "jal", Form.J, _MASK_OPCODE, _JAL, _BRANCH_COST, ends_block=True)
    t.imm("jalr", Form.I, _JALR, 0, _BRANCH_COST, ends_block=True)
    for funct3, name in ((0, "beq"), (1, "bne"), (4, "blt"), (5, "bge"), (6, "bltu"), (7, "bgeu")):
        t.imm(name, Form.B, _BRANCH, funct3, _BRANCH_COST, ends_block=True)
    for funct3, name, cost in (
        *((0, "lb", 3), (1, "lh", 3), (2, "lw", 3), (3, "ld", 2)),
        *((4, "lbu", 3), (5, "lhu", 3), (6, "lwu", 3)),
    ):
        t.imm(name, Form.I, _LOAD, funct3, cost)
    for funct3, name, cost in ((0, "sb", 3), (1, "sh", 3), (2, "sw", 3), (3, "sd", 2)):
        t.imm(name, Form.S, _STORE, funct3, cost)
    for funct3, name in ((0, "addi"), (2, "slti"), (3, "sltiu"), (4, "xori"), (6, "ori"), (7, "andi")):
        t.imm(name, Form.I, _OP_IMM, funct3)
    t.shift6(ext, "slli", _OP_IMM, 1, 0x00)
    t.shift6(ext, "srli", _OP_IMM, 5, 0x00)
    t.shift6(ext, "srai", _OP_IMM, 5, 0x10)
    for funct3, funct7, name in (
        *((0, 0x00, "add"), (0, 0x20, "sub"), (1, 0x00, "sll"), (2, 0x00, "slt"), (3, 0x00, "sltu")),
        *((4, 0x00, "xor"), (5, 0x00, "srl"), (5, 0x20, "sra"), (6, 0x00, "or"), (7, 0x00, "and")),
    ):
        t.reg(ext, name, _OP, funct3, funct7)
    t.imm("addiw", Form.I, _OP_IMM_32, 0)
    for funct3, funct7, name in ((1, 0x00, "slliw"), (5, 0x00, "srliw"), (5, 0x20, "sraiw")):
        t.shift5(ext, name, _OP_IMM_32, funct3, funct7)
    for funct3, funct7, name in (
        *((0, 0x00, "addw"), (0, 0x20, "subw"), (1, 0x00, "sllw"), (5, 0x00, "srlw"), (5, 0x20, "sraw")),
    ):
        t.reg(ext, name, _OP_32, funct3, funct7)
    t.add(ext, "fence", Form.NONE, 0x000F_FFFF, _FENCE, ends_block=True)
    t.add(ext, "fencei", Form.NONE, 0xFFFF_FFFF, _FENCE | 1 << 12, ends_block=True)
    t.add(ext, "ecall", Form.NONE, 0xFFFF_FFFF, _SYSTEM, _SYSTEM_COST, ends_block=True)
    t.add(ext, "ebreak", Form.NONE, 0xFFFF_FFFF, _SYSTEM | 1 << 20, _SYSTEM_COST, ends_block=True)


def _multiplication(t: _Table) -> None:
    ext = Extension.M
    for funct3, name in enumerate(("mul", "mulh", "mulhsu", "mulhu")):
        t.reg(ext, name, _OP, funct3, 1, _MUL_COST)
    for funct3, name in enumerate(("div", "divu", "rem", "remu"), start=4):
        t.reg(ext, name, _OP, funct3, 1, _DIV_COST)
    t.reg(ext, "mulw", _OP_32, 0, 1, _MUL_COST)
    for funct3, name in enumerate(("divw", "divuw", "remw", "remuw"), start=4):
        t.reg(ext, name, _OP_32, funct3, 1, _DIV_COST)


def _bit_manipulation(t: _Table) -> None:
    ext = Extension.B
    for funct3, funct7, name in (
        *((2, 0x10, "sh1add"), (4, 0x10, "sh2add"), (6, 0x10, "sh3add")),  # Zba
        *((7, 0x20, "andn"), (6, 0x20, "orn"), (4, 0x20, "xnor"), (1, 0x30, "rol"), (5, 0x30, "ror")),  # Zbb
        *((4, 0x05, "min"), (5, 0x05, "minu"), (6, 0x05, "max"), (7, 0x05, "maxu")),
        *((1, 0x05, "clmul"), (3, 0x05, "clmulh"), (2, 0x05, "clmulr")),  # Zbc
        *((1, 0x34, "binv"), (1, 0x14, "bset"), (1, 0x24, "bclr"), (5, 0x24, "bext")),  # Zbs
    ):
        t.reg(ext, name, _OP, funct3, funct7)
    for funct3, funct7, name in (
        *((0, 0x04, "adduw"), (2, 0x10, "sh1adduw"), (4, 0x10, "sh2adduw"), (6, 0x10, "sh3adduw")),
        *((1, 0x30, "rolw"), (5, 0x30, "rorw")),
    ):
        t.reg(ext, name, _OP_32, funct3, funct7)
    t.unary("zexth", _OP_32, 4, 0x04, 0)
    for funct7, rs2, name in ((0x30, 0, "clz"), (0x30, 1, "ctz"), (0x30, 2, "cpop"), (0x30, 4, "sextb")):
        t.unary(name, _OP_IMM, 1, funct7, rs2)
    t.unary("sexth", _OP_IMM, 1, 0x30, 5)
    t.unary("orcb", _OP_IMM, 5, 0x14, 7)
    t.unary("rev8", _OP_IMM, 5, 0x35, 24)
    for rs2, name in enumerate(("clzw", "ctzw", "cpopw")):
        t.unary(name, _OP_IMM_32, 1, 0x30, rs2)
    for funct3, funct6, name in (
        *((1, 0x12, "bclri"), (5, 0x12, "bexti"), (1, 0x1A, "binvi"), (1, 0x0A, "bseti"), (5, 0x18, "rori")),
    ):
        t.shift6(ext, name, _OP_IMM, funct3, funct6)
    t.shift6(ext, "slliuw", _OP_IMM_32, 1, 0x02)
    t.shift5(ext, "roriw", _OP_IMM_32, 5, 0x30)


def _fusion(t: _Table) -> None:
    for name in ("wide_mul", "wide_mulu", "wide_mulsu"):
        t.fused(name, _MUL_COST)
    for name in ("wide_div", "wide_divu"):
        t.fused(name, _DIV_COST)
    for name in ("adc", "sbb", "adcs", "sbbs", "add3a", "add3b", "add3c", "load_imm"):
        t.fused(name)
    for name in ("far_jump_rel", "far_jump_abs"):
        t.fused(name, _BRANCH_COST, ends_block=True)


def _atomics(t: _Table) -> None:
    """The two bits that order accesses between processors (aq, rl) say nothing here. No alignment is asked for."""
    for suffix, funct3, cost in (("w", 2, 4), ("d", 3, 3)):
        mask, match = _MASK_OPCODE | _MASK_FUNCT3 | _MASK_FUNCT5, _AMO | funct3 << 12
        t.add(Extension.A, f"lr_{suffix}", Form.UNARY, mask | _MASK_RS2, match | 0x02 << 27, cost)
        for funct5, name in (
            *((0x03, "sc"), (0x01, "amoswap"), (0x00, "amoadd"), (0x04, "amoxor"), (0x0C, "amoand"), (0x08, "amoor")),
            *((0x10, "amomin"), (0x14, "amomax"), (0x18, "amominu"), (0x1C, "amomaxu")),
        ):
            t.add(Extension.A, f"{name}_{suffix}", Form.R, mask, match | funct5 << 27, cost)


def _build() -> tuple[OpSpec, ...]:
    table = _Table()
    _base_integer(table)
    _multiplication(table)
    _bit_manipulation(table)
    _fusion(table)
    _atomics(table)
    return tuple(table.specs)


OPS: Final = _build()
BY_NAME: Final = {spec.name: spec for spec in OPS}
CODE: Final = {spec.name: spec.code for spec in OPS}
