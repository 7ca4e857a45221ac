"""Loads and stores."""

from vm.constants import MEMORY_SIZE, U64_MASK, VERSION0
from vm.errors import MemOutOfBound
from vm.isa.instruction import Instruction
from vm.isa.word import sign_extend
from vm.reference.core import Core, semantics


def _address(core: Core, i: Instruction) -> int:
    return (core.registers[i.rs1] + i.imm) & U64_MASK


def _load_address(core: Core, i: Instruction, size: int) -> int:
    address = _address(core, i)
    if core.version == VERSION0 and address + size == MEMORY_SIZE:
        raise MemOutOfBound  # version 0 cannot read the last bytes of the memory
    return address


@semantics("lb")
def lb(core: Core, i: Instruction) -> None:
    """rd = the byte at rs1 + imm, sign-extended."""
    core.write(i.rd, sign_extend(core.memory.load8(_load_address(core, i, 1)), 8))


@semantics("lh")
def lh(core: Core, i: Instruction) -> None:
    """rd = 2 bytes at rs1 + imm, sign-extended."""
    core.write(i.rd, sign_extend(core.memory.load16(_load_address(core, i, 2)), 16))


@semantics("lw")
def lw(core: Core, i: Instruction) -> None:
    """rd = 4 bytes at rs1 + imm, sign-extended."""
    core.write(i.rd, sign_extend(core.memory.load32(_load_address(core, i, 4)), 32))


@semantics("ld")
def ld(core: Core, i: Instruction) -> None:
    """rd = 8 bytes at rs1 + imm."""
    core.write(i.rd, core.memory.load64(_load_address(core, i, 8)))


@semantics("lbu")
def lbu(core: Core, i: Instruction) -> None:
    """rd = the byte at rs1 + imm, zero-extended."""
    core.write(i.rd, core.memory.load8(_load_address(core, i, 1)))


@semantics("lhu")
def lhu(core: Core, i: Instruction) -> None:
    """rd = 2 bytes at rs1 + imm, zero-extended."""
    core.write(i.rd, core.memory.load16(_load_address(core, i, 2)))


@semantics("lwu")
def lwu(core: Core, i: Instruction) -> None:
    """rd = 4 bytes at rs1 + imm, zero-extended."""
    core.write(i.rd, core.memory.load32(_load_address(core, i, 4)))


@semantics("sb")
def sb(core: Core, i: Instruction) -> None:
    """Store the low byte of rs2 at rs1 + imm."""
    core.memory.store8(_address(core, i), core.registers[i.rs2])


@semantics("sh")
def sh(core: Core, i: Instruction) -> None:
    """Store the low 2 bytes of rs2 at rs1 + imm."""
    core.memory.store16(_address(core, i), core.registers[i.rs2])


@semantics("sw")
def sw(core: Core, i: Instruction) -> None:
    """Store the low 4 bytes of rs2 at rs1 + imm."""
    core.memory.store32(_address(core, i), core.registers[i.rs2])


@semantics("sd")
def sd(core: Core, i: Instruction) -> None:
    """Store rs2 at rs1 + imm."""
    core.memory.store64(_address(core, i), core.registers[i.rs2])
