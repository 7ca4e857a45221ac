"""Decoding of the 32-bit encodings, by the table."""

from typing import Final

from vm.constants import VERSIONS
from vm.isa.instruction import Instruction
from vm.isa.profile import Isa
from vm.isa.table import OPS, Form, OpSpec

WORD_LENGTH: Final = 4


def candidates(version: int, isa: Isa) -> dict[int, tuple[OpSpec, ...]]:
    """Instructions that exist in `version` of a set, by opcode and funct3 (`word & 0x707f`)."""
    found: dict[int, list[OpSpec]] = {}
    for spec in OPS:
        if spec.form is Form.FUSED or not isa.has(spec.extension, version):
            continue
        funct3s = [(spec.match >> 12) & 7] if spec.mask >> 12 & 7 else range(8)
        for funct3 in funct3s:
            found.setdefault((spec.match & 0x7F) | funct3 << 12, []).append(spec)
    return {key: tuple(specs) for key, specs in found.items()}


_CANDIDATES: Final = {(version, isa): candidates(version, isa) for version in VERSIONS for isa in Isa}


def sign_extend(value: int, bits: int) -> int:
    """`value` read as a two's-complement number of `bits` bits."""
    sign = 1 << (bits - 1)
    return ((value & ((1 << bits) - 1)) ^ sign) - sign


def decode_word(word: int, version: int, isa: Isa = Isa.CKB) -> Instruction | None:
    """The instruction with these 32 bits, or None if `version` has none."""
    for spec in _CANDIDATES[version, isa].get(word & 0x707F, ()):
        if word & spec.mask == spec.match:
            return _operands(spec, word)
    return None


def _operands(spec: OpSpec, word: int) -> Instruction:
    op = spec.code
    rd, rs1, rs2 = word >> 7 & 31, word >> 15 & 31, word >> 20 & 31
    match spec.form:
        case Form.R:
            return Instruction(op, rd, rs1, rs2, 0, WORD_LENGTH)
        case Form.UNARY:
            return Instruction(op, rd, rs1, 0, 0, WORD_LENGTH)
        case Form.I:
            return Instruction(op, rd, rs1, 0, sign_extend(word >> 20, 12), WORD_LENGTH)
        case Form.SHIFT6:
            return Instruction(op, rd, rs1, 0, word >> 20 & 63, WORD_LENGTH)
        case Form.SHIFT5:
            return Instruction(op, rd, rs1, 0, word >> 20 & 31, WORD_LENGTH)
        case Form.S:
            return Instruction(op, 0, rs1, rs2, sign_extend(word >> 25 << 5 | rd, 12), WORD_LENGTH)
        case Form.B:
            return Instruction(op, 0, rs1, rs2, branch_offset(word), WORD_LENGTH)
        case Form.U:
            return Instruction(op, rd, 0, 0, sign_extend(word & 0xFFFF_F000, 32), WORD_LENGTH)
        case Form.J:
            return Instruction(op, rd, 0, 0, jump_offset(word), WORD_LENGTH)
    return Instruction(op, 0, 0, 0, 0, WORD_LENGTH)


def branch_offset(word: int) -> int:
    """The offset of a B-form word: bits 12 | 10:5 | 4:1 | 11."""
    low = (word >> 8 & 0xF) << 1 | (word >> 25 & 0x3F) << 5
    return sign_extend(low | (word >> 7 & 1) << 11 | (word >> 31) << 12, 13)


def jump_offset(word: int) -> int:
    """The offset of a J-form word: bits 20 | 10:1 | 11 | 19:12."""
    low = (word >> 21 & 0x3FF) << 1 | (word >> 20 & 1) << 11
    return sign_extend(low | (word >> 12 & 0xFF) << 12 | (word >> 31) << 20, 21)
