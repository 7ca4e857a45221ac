"""Jumps, branches, and instructions that stop or do nothing.

`core.pc` points behind the block that these instructions end, which is the return address of a jump; their own address
is `core.pc - i.length`.
"""

from vm.constants import U64_MASK, VERSION0
from vm.isa.instruction import Instruction
from vm.reference.core import Core, semantics
from vm.registers import RA


def _jump_relative(core: Core, i: Instruction) -> None:
    core.pc = (core.pc - i.length + i.imm) & U64_MASK


@semantics("jal")
def jal(core: Core, i: Instruction) -> None:
    """rd = return address; jump by imm."""
    core.write(i.rd, core.pc)
    _jump_relative(core, i)


@semantics("jalr")
def jalr(core: Core, i: Instruction) -> None:
    """rd = return address; jump to rs1 + imm, bit 0 cleared. Version 0 writes rd before it reads rs1."""
    link = core.pc
    if core.version == VERSION0:
        core.write(i.rd, link)  # before rs1 is read: with rd = rs1 the jump goes to the link address
        core.pc = (core.registers[i.rs1] + i.imm) & U64_MASK & ~1
    else:
        core.pc = (core.registers[i.rs1] + i.imm) & U64_MASK & ~1
        core.write(i.rd, link)


@semantics("far_jump_rel")
def far_jump_rel(core: Core, i: Instruction) -> None:
    """Fused auipc and jalr: ra = return address; jump by imm, bit 0 cleared."""
    core.write(RA, core.pc)
    core.pc = (core.pc - i.length + i.imm) & U64_MASK & ~1


@semantics("far_jump_abs")
def far_jump_abs(core: Core, i: Instruction) -> None:
    """Fused lui and jalr: ra = return address; jump to imm, bit 0 cleared."""
    core.write(RA, core.pc)
    core.pc = i.imm & U64_MASK & ~1


@semantics("beq")
def beq(core: Core, i: Instruction) -> None:
    """Branch by imm if rs1 == rs2."""
    if core.registers[i.rs1] == core.registers[i.rs2]:
        _jump_relative(core, i)


@semantics("bne")
def bne(core: Core, i: Instruction) -> None:
    """Branch by imm if rs1 != rs2."""
    if core.registers[i.rs1] != core.registers[i.rs2]:
        _jump_relative(core, i)


@semantics("blt")
def blt(core: Core, i: Instruction) -> None:
    """Branch by imm if rs1 < rs2, signed."""
    if core.signed(i.rs1) < core.signed(i.rs2):
        _jump_relative(core, i)


@semantics("bge")
def bge(core: Core, i: Instruction) -> None:
    """Branch by imm if rs1 >= rs2, signed."""
    if core.signed(i.rs1) >= core.signed(i.rs2):
        _jump_relative(core, i)


@semantics("bltu")
def bltu(core: Core, i: Instruction) -> None:
    """Branch by imm if rs1 < rs2, unsigned."""
    if core.registers[i.rs1] < core.registers[i.rs2]:
        _jump_relative(core, i)


@semantics("bgeu")
def bgeu(core: Core, i: Instruction) -> None:
    """Branch by imm if rs1 >= rs2, unsigned."""
    if core.registers[i.rs1] >= core.registers[i.rs2]:
        _jump_relative(core, i)


@semantics("fence", "fencei", "ebreak", "ecall")
def nothing(_core: Core, _i: Instruction) -> None:
    """Memory is always in order and there is no debugger. At an ecall, `run` returns to its caller."""
