"""Base integer arithmetic (RV64I)."""

from vm.isa.instruction import Instruction
from vm.isa.word import sign_extend
from vm.reference.core import Core, semantics


@semantics("lui", "load_imm")
def lui(core: Core, i: Instruction) -> None:
    """rd = imm, whose low 12 bits are zero."""
    core.write(i.rd, i.imm)


@semantics("auipc")
def auipc(core: Core, i: Instruction) -> None:
    """rd = address of the instruction + imm."""
    core.write(i.rd, core.pc - i.length + i.imm)


@semantics("addi")
def addi(core: Core, i: Instruction) -> None:
    """rd = rs1 + imm."""
    core.write(i.rd, core.registers[i.rs1] + i.imm)


@semantics("slti")
def slti(core: Core, i: Instruction) -> None:
    """rd = 1 if rs1 < imm, signed, else 0."""
    core.write(i.rd, core.signed(i.rs1) < i.imm)


@semantics("sltiu")
def sltiu(core: Core, i: Instruction) -> None:
    """rd = 1 if rs1 < imm, unsigned, else 0."""
    core.write(i.rd, core.registers[i.rs1] < i.imm % (1 << 64))


@semantics("xori")
def xori(core: Core, i: Instruction) -> None:
    """rd = rs1 ^ imm."""
    core.write(i.rd, core.registers[i.rs1] ^ i.imm)


@semantics("ori")
def ori(core: Core, i: Instruction) -> None:
    """rd = rs1 | imm."""
    core.write(i.rd, core.registers[i.rs1] | i.imm)


@semantics("andi")
def andi(core: Core, i: Instruction) -> None:
    """rd = rs1 & imm."""
    core.write(i.rd, core.registers[i.rs1] & i.imm)


@semantics("slli")
def slli(core: Core, i: Instruction) -> None:
    """rd = rs1 << imm."""
    core.write(i.rd, core.registers[i.rs1] << i.imm)


@semantics("srli")
def srli(core: Core, i: Instruction) -> None:
    """rd = rs1 >> imm, zeros shifted in."""
    core.write(i.rd, core.registers[i.rs1] >> i.imm)


@semantics("srai")
def srai(core: Core, i: Instruction) -> None:
    """rd = rs1 >> imm, sign shifted in."""
    core.write(i.rd, core.signed(i.rs1) >> i.imm)


@semantics("add")
def add(core: Core, i: Instruction) -> None:
    """rd = rs1 + rs2."""
    core.write(i.rd, core.registers[i.rs1] + core.registers[i.rs2])


@semantics("sub")
def sub(core: Core, i: Instruction) -> None:
    """rd = rs1 - rs2."""
    core.write(i.rd, core.registers[i.rs1] - core.registers[i.rs2])


@semantics("sll")
def sll(core: Core, i: Instruction) -> None:
    """rd = rs1 << (rs2 mod 64)."""
    core.write(i.rd, core.registers[i.rs1] << (core.registers[i.rs2] & 63))


@semantics("slt")
def slt(core: Core, i: Instruction) -> None:
    """rd = 1 if rs1 < rs2, signed, else 0."""
    core.write(i.rd, core.signed(i.rs1) < core.signed(i.rs2))


@semantics("sltu")
def sltu(core: Core, i: Instruction) -> None:
    """rd = 1 if rs1 < rs2, unsigned, else 0."""
    core.write(i.rd, core.registers[i.rs1] < core.registers[i.rs2])


@semantics("xor")
def xor(core: Core, i: Instruction) -> None:
    """rd = rs1 ^ rs2."""
    core.write(i.rd, core.registers[i.rs1] ^ core.registers[i.rs2])


@semantics("srl")
def srl(core: Core, i: Instruction) -> None:
    """rd = rs1 >> (rs2 mod 64), zeros shifted in."""
    core.write(i.rd, core.registers[i.rs1] >> (core.registers[i.rs2] & 63))


@semantics("sra")
def sra(core: Core, i: Instruction) -> None:
    """rd = rs1 >> (rs2 mod 64), sign shifted in."""
    core.write(i.rd, core.signed(i.rs1) >> (core.registers[i.rs2] & 63))


@semantics("or")
def or_(core: Core, i: Instruction) -> None:
    """rd = rs1 | rs2."""
    core.write(i.rd, core.registers[i.rs1] | core.registers[i.rs2])


@semantics("and")
def and_(core: Core, i: Instruction) -> None:
    """rd = rs1 & rs2."""
    core.write(i.rd, core.registers[i.rs1] & core.registers[i.rs2])


@semantics("addiw")
def addiw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 + imm, sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1] + i.imm, 32))


@semantics("slliw")
def slliw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 << imm, sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1] << i.imm, 32))


@semantics("srliw")
def srliw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 >> imm, zeros shifted in, sign-extended."""
    core.write(i.rd, sign_extend(core.unsigned32(i.rs1) >> i.imm, 32))


@semantics("sraiw")
def sraiw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 >> imm, sign shifted in."""
    core.write(i.rd, core.signed32(i.rs1) >> i.imm)


@semantics("addw")
def addw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 + rs2, sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1] + core.registers[i.rs2], 32))


@semantics("subw")
def subw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 - rs2, sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1] - core.registers[i.rs2], 32))


@semantics("sllw")
def sllw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 << (rs2 mod 32), sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1] << (core.registers[i.rs2] & 31), 32))


@semantics("srlw")
def srlw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 >> (rs2 mod 32), zeros shifted in, sign-extended."""
    core.write(i.rd, sign_extend(core.unsigned32(i.rs1) >> (core.registers[i.rs2] & 31), 32))


@semantics("sraw")
def sraw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 >> (rs2 mod 32), sign shifted in."""
    core.write(i.rd, core.signed32(i.rs1) >> (core.registers[i.rs2] & 31))
