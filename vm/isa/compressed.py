"""Decoding of the 16-bit encodings (RISC-V C extension), each expanded to the instruction that it stands for.

Encodings that the RISC-V manual calls hints (they would write x0) do nothing from version 1 on; version 0 refuses them.
"""

from typing import Final

from vm.constants import VERSION1
from vm.isa.instruction import Instruction
from vm.isa.table import CODE
from vm.isa.word import sign_extend
from vm.registers import RA, SP, ZERO

HALF_LENGTH: Final = 2

_ADDI, _ADDIW, _ANDI, _LUI = CODE["addi"], CODE["addiw"], CODE["andi"], CODE["lui"]
_SLLI, _SRLI, _SRAI, _ADD = CODE["slli"], CODE["srli"], CODE["srai"], CODE["add"]
_LW, _LD, _SW, _SD = CODE["lw"], CODE["ld"], CODE["sw"], CODE["sd"]
_JAL, _JALR, _BEQ, _BNE, _EBREAK = CODE["jal"], CODE["jalr"], CODE["beq"], CODE["bne"], CODE["ebreak"]
# by bit 12 and bits 6:5 of the register-register group
_REGISTER_GROUP: Final = tuple(CODE[name] for name in ("sub", "xor", "or", "and", "subw", "addw"))

NOP: Final = Instruction(_ADDI, 0, 0, 0, 0, HALF_LENGTH)


def decode_half(half: int, version: int) -> Instruction | None:
    """The instruction with these 16 bits, or None if `version` has none."""
    quadrant, funct3 = half & 3, half >> 13
    if quadrant == 0:
        return _quadrant0(half, funct3)
    decoded = _quadrant1(half, funct3) if quadrant == 1 else _quadrant2(half, funct3)
    if decoded is None and version >= VERSION1 and _is_hint(half, quadrant, funct3):
        return NOP
    return decoded


def _is_hint(half: int, quadrant: int, funct3: int) -> bool:
    """Whether undecodable bits of quadrants 1 and 2 are a hint rather than reserved."""
    rd, low5, bit12 = half >> 7 & 31, half >> 2 & 31, half >> 12 & 1
    if quadrant == 1:
        if funct3 == 3:  # c.lui with rd = x0; without an immediate it is reserved
            return rd == 0 and (low5 | bit12) != 0
        return funct3 in {0, 2}  # c.addi without effect, c.li with rd = x0
    if funct3 == 4:  # c.mv and c.add with rd = x0
        return rd == 0 and low5 != 0
    return funct3 == 0  # c.slli without effect


def _immediate6(half: int) -> int:
    return sign_extend(half >> 2 & 31 | (half >> 12 & 1) << 5, 6)


def _shift6(half: int) -> int:
    return half >> 2 & 31 | (half >> 12 & 1) << 5


def _quadrant0(half: int, funct3: int) -> Instruction | None:
    """Loads and stores relative to one of x8..x15, and addresses relative to sp."""
    data, base = (half >> 2 & 7) + 8, (half >> 7 & 7) + 8
    word_offset = (half >> 6 & 1) << 2 | (half >> 10 & 7) << 3 | (half >> 5 & 1) << 6
    double_offset = (half >> 10 & 7) << 3 | (half >> 5 & 3) << 6
    match funct3:
        case 0:
            offset = (half >> 6 & 1) << 2 | (half >> 5 & 1) << 3 | (half >> 11 & 3) << 4 | (half >> 7 & 15) << 6
            return Instruction(_ADDI, data, SP, 0, offset, HALF_LENGTH) if offset else None
        case 2:
            return Instruction(_LW, data, base, 0, word_offset, HALF_LENGTH)
        case 3:
            return Instruction(_LD, data, base, 0, double_offset, HALF_LENGTH)
        case 6:
            return Instruction(_SW, 0, base, data, word_offset, HALF_LENGTH)
        case 7:
            return Instruction(_SD, 0, base, data, double_offset, HALF_LENGTH)
    return None


def _quadrant1(half: int, funct3: int) -> Instruction | None:
    """Immediates, arithmetic on x8..x15, jumps and branches."""
    rd, imm = half >> 7 & 31, _immediate6(half)
    match funct3:
        case 0:
            if (rd == 0) != (imm == 0):
                return None
            return Instruction(_ADDI, rd, rd, 0, imm, HALF_LENGTH)
        case 1:
            return Instruction(_ADDIW, rd, rd, 0, imm, HALF_LENGTH) if rd else None
        case 2:
            return Instruction(_ADDI, rd, ZERO, 0, imm, HALF_LENGTH) if rd else None
        case 3:
            return _upper_immediate(half, rd, imm)
        case 4:
            return _arithmetic(half)
        case 5:
            return Instruction(_JAL, ZERO, 0, 0, _jump_offset(half), HALF_LENGTH)
    register = (half >> 7 & 7) + 8
    return Instruction(_BEQ if funct3 == 6 else _BNE, 0, register, ZERO, _branch_offset(half), HALF_LENGTH)


def _upper_immediate(half: int, rd: int, imm: int) -> Instruction | None:
    if imm == 0 or rd == 0:
        return None
    if rd != SP:
        return Instruction(_LUI, rd, 0, 0, imm << 12, HALF_LENGTH)
    low = (half >> 6 & 1) << 4 | (half >> 2 & 1) << 5 | (half >> 5 & 1) << 6 | (half >> 3 & 3) << 7
    return Instruction(_ADDI, SP, SP, 0, sign_extend(low | (half >> 12 & 1) << 9, 10), HALF_LENGTH)


def _arithmetic(half: int) -> Instruction | None:
    rd, kind = (half >> 7 & 7) + 8, half >> 10 & 3
    if kind == 2:
        return Instruction(_ANDI, rd, rd, 0, _immediate6(half), HALF_LENGTH)
    if kind == 3:
        index = (half >> 12 & 1) << 2 | (half >> 5 & 3)
        if index >= len(_REGISTER_GROUP):
            return None
        return Instruction(_REGISTER_GROUP[index], rd, rd, (half >> 2 & 7) + 8, 0, HALF_LENGTH)
    amount = _shift6(half)
    if amount == 0:  # c.srli64 and c.srai64: accepted in every version
        return NOP
    return Instruction(_SRLI if kind == 0 else _SRAI, rd, rd, 0, amount, HALF_LENGTH)


def _jump_offset(half: int) -> int:
    low = (half >> 3 & 7) << 1 | (half >> 11 & 1) << 4 | (half >> 2 & 1) << 5 | (half >> 7 & 1) << 6
    high = (half >> 6 & 1) << 7 | (half >> 9 & 3) << 8 | (half >> 8 & 1) << 10 | (half >> 12 & 1) << 11
    return sign_extend(low | high, 12)


def _branch_offset(half: int) -> int:
    low = (half >> 3 & 3) << 1 | (half >> 10 & 3) << 3 | (half >> 2 & 1) << 5 | (half >> 5 & 3) << 6
    return sign_extend(low | (half >> 12 & 1) << 8, 9)


def _quadrant2(half: int, funct3: int) -> Instruction | None:
    """Shifts, loads and stores relative to sp, register moves and jumps."""
    rd, rs2 = half >> 7 & 31, half >> 2 & 31
    match funct3:
        case 0:
            amount = _shift6(half)
            return Instruction(_SLLI, rd, rd, 0, amount, HALF_LENGTH) if rd and amount else None
        case 2:
            offset = (half >> 4 & 7) << 2 | (half >> 12 & 1) << 5 | (half >> 2 & 3) << 6
            return Instruction(_LW, rd, SP, 0, offset, HALF_LENGTH) if rd else None
        case 3:
            offset = (half >> 5 & 3) << 3 | (half >> 12 & 1) << 5 | (half >> 2 & 7) << 6
            return Instruction(_LD, rd, SP, 0, offset, HALF_LENGTH) if rd else None
        case 4:
            return _move_or_jump(half, rd, rs2)
        case 6:
            return Instruction(_SW, 0, SP, rs2, (half >> 9 & 15) << 2 | (half >> 7 & 3) << 6, HALF_LENGTH)
        case 7:
            return Instruction(_SD, 0, SP, rs2, (half >> 10 & 7) << 3 | (half >> 7 & 7) << 6, HALF_LENGTH)
    return None


def _move_or_jump(half: int, rd: int, rs2: int) -> Instruction | None:
    linked = half >> 12 & 1
    if rd == 0:
        return Instruction(_EBREAK, 0, 0, 0, 0, HALF_LENGTH) if linked and rs2 == 0 else None
    if rs2 == 0:
        return Instruction(_JALR, RA if linked else ZERO, rd, 0, 0, HALF_LENGTH)
    return Instruction(_ADD, rd, rd if linked else ZERO, rs2, 0, HALF_LENGTH)
