"""Instructions as text, in the manner of assemblers. The names are those of the table."""

from typing import Final

from vm.constants import U64_MASK
from vm.isa.fusion import RULES
from vm.isa.instruction import Instruction
from vm.isa.table import CODE, OPS, Extension, Form
from vm.registers import ABI_NAMES, RA

_JALR: Final = CODE["jalr"]
_LOADS: Final = frozenset(CODE[name] for name in ("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu"))
_LOAD_IMM: Final = CODE["load_imm"]
_FAR_JUMPS: Final = {CODE["far_jump_rel"]: True, CODE["far_jump_abs"]: False}  # whether relative to the pc
_FUSED_REGISTERS: Final = {rule.op: len(rule.operands) for rule in RULES}


def instruction_text(i: Instruction, pc: int) -> str:
    """For example `ld a0, 8(sp)`. Jumps show the address they go to, for which `pc` is where the instruction lies.

    A fused instruction has the name of what it became and all registers in the order of its operands.
    """
    operands = _fused_operands(i, pc) if OPS[i.op].form is Form.FUSED else _operands(i, pc)
    return f"{i.name} {operands}" if operands else i.name


def _operands(i: Instruction, pc: int) -> str:
    rd, rs1, rs2 = ABI_NAMES[i.rd], ABI_NAMES[i.rs1], ABI_NAMES[i.rs2]
    if OPS[i.op].extension is Extension.A:
        return f"{rd}, ({rs1})" if OPS[i.op].form is Form.UNARY else f"{rd}, {rs2}, ({rs1})"
    match OPS[i.op].form:
        case Form.R:
            return f"{rd}, {rs1}, {rs2}"
        case Form.I if i.op in _LOADS or i.op == _JALR:
            return f"{rd}, {i.imm}({rs1})"
        case Form.I | Form.SHIFT6 | Form.SHIFT5:
            return f"{rd}, {rs1}, {i.imm}"
        case Form.UNARY:
            return f"{rd}, {rs1}"
        case Form.S:
            return f"{rs2}, {i.imm}({rs1})"
        case Form.B:
            return f"{rs1}, {rs2}, {_target(pc, i.imm)}"
        case Form.U:
            return f"{rd}, {i.imm >> 12 & 0xF_FFFF:#x}"
        case Form.J:
            return f"{rd}, {_target(pc, i.imm)}"
    return ""


def _fused_operands(i: Instruction, pc: int) -> str:
    if i.op in _FAR_JUMPS:
        return f"{ABI_NAMES[RA]}, {_target(pc if _FAR_JUMPS[i.op] else 0, i.imm)}"
    if i.op == _LOAD_IMM:
        return f"{ABI_NAMES[i.rd]}, {i.imm}"
    registers = (i.rd, i.rs1, i.rs2, i.rs3, i.rs4)
    return ", ".join(ABI_NAMES[register] for register in registers[: _FUSED_REGISTERS[i.op]])


def _target(pc: int, offset: int) -> str:
    return f"{(pc + offset) & U64_MASK:#x}"
