"""Fused additions and subtractions with carry.

Each function does what its parts would do one after the other, so later writes win where registers coincide; `sbb`
alone differs from its parts (see `vm.isa.fusion`).
"""

from vm.constants import U64_MASK
from vm.isa.instruction import Instruction
from vm.reference.core import Core, semantics


@semantics("adc")
def adc(core: Core, i: Instruction) -> None:
    """rd += rs1 + rs2; rs1 = any carry, rs2 = the second carry."""
    first = core.registers[i.rd] + core.registers[i.rs1]
    second = (first & U64_MASK) + core.registers[i.rs2]
    core.write(i.rd, second)
    core.write(i.rs2, second >> 64)
    core.write(i.rs1, first >> 64 | second >> 64)


@semantics("sbb")
def sbb(core: Core, i: Instruction) -> None:
    """rd -= rs1 + rs2; rs3 = the first borrow, rs2 = the second borrow, rs1 = any borrow."""
    first = core.registers[i.rd] - core.registers[i.rs1]
    second = (first & U64_MASK) - core.registers[i.rs2]
    core.write(i.rd, second)
    core.write(i.rs3, first < 0)
    core.write(i.rs2, second < 0)
    core.write(i.rs1, first < 0 or second < 0)


@semantics("adcs")
def adcs(core: Core, i: Instruction) -> None:
    """rd = rs1 + rs2; rs3 = the carry."""
    total = core.registers[i.rs1] + core.registers[i.rs2]
    core.write(i.rd, total)
    core.write(i.rs3, total >> 64)


@semantics("sbbs")
def sbbs(core: Core, i: Instruction) -> None:
    """rd = rs1 - rs2; rs3 = the borrow."""
    difference = core.registers[i.rs1] - core.registers[i.rs2]
    core.write(i.rd, difference)
    core.write(i.rs3, difference < 0)


@semantics("add3a")
def add3a(core: Core, i: Instruction) -> None:
    """rd += rs1; rs2 = the carry; rs3 = the carry + rs4."""
    total = core.registers[i.rd] + core.registers[i.rs1]
    core.write(i.rd, total)
    core.write(i.rs2, total >> 64)
    core.write(i.rs3, (total >> 64) + core.registers[i.rs4])


@semantics("add3b")
def add3b(core: Core, i: Instruction) -> None:
    """rd = rs1 + rs2; rs1 = the carry; rs3 = the carry + rs4."""
    total = core.registers[i.rs1] + core.registers[i.rs2]
    core.write(i.rd, total)
    core.write(i.rs1, total >> 64)
    core.write(i.rs3, (total >> 64) + core.registers[i.rs4])


@semantics("add3c")
def add3c(core: Core, i: Instruction) -> None:
    """rd = rs1 + rs2; rs3 = the carry + rs4."""
    total = core.registers[i.rs1] + core.registers[i.rs2]
    core.write(i.rd, total)
    core.write(i.rs3, (total >> 64) + core.registers[i.rs4])
