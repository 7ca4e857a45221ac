"""Multiplication and division (RV64M), and the fused forms that yield both results.

Division by zero yields all ones and leaves the dividend as remainder; the one signed overflow yields the dividend and
remainder 0. Nothing traps.
"""

from vm.isa.instruction import Instruction
from vm.isa.word import sign_extend
from vm.reference.core import Core, semantics


def quotient(dividend: int, divisor: int) -> int:
    """Division rounded towards zero."""
    if divisor == 0:
        return -1
    magnitude = abs(dividend) // abs(divisor)
    return magnitude if (dividend < 0) == (divisor < 0) else -magnitude


def remainder(dividend: int, divisor: int) -> int:
    """What `quotient` leaves over; it has the sign of the dividend."""
    if divisor == 0:
        return dividend
    return dividend - divisor * quotient(dividend, divisor)


@semantics("mul")
def mul(core: Core, i: Instruction) -> None:
    """rd = low 64 bits of rs1 * rs2."""
    core.write(i.rd, core.registers[i.rs1] * core.registers[i.rs2])


@semantics("mulh")
def mulh(core: Core, i: Instruction) -> None:
    """rd = high 64 bits of rs1 * rs2, both signed."""
    core.write(i.rd, (core.signed(i.rs1) * core.signed(i.rs2)) >> 64)


@semantics("mulhsu")
def mulhsu(core: Core, i: Instruction) -> None:
    """rd = high 64 bits of rs1 * rs2, rs1 signed, rs2 unsigned."""
    core.write(i.rd, (core.signed(i.rs1) * core.registers[i.rs2]) >> 64)


@semantics("mulhu")
def mulhu(core: Core, i: Instruction) -> None:
    """rd = high 64 bits of rs1 * rs2, both unsigned."""
    core.write(i.rd, (core.registers[i.rs1] * core.registers[i.rs2]) >> 64)


@semantics("mulw")
def mulw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 * rs2, sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1] * core.registers[i.rs2], 32))


@semantics("div")
def div(core: Core, i: Instruction) -> None:
    """rd = rs1 / rs2, signed."""
    core.write(i.rd, quotient(core.signed(i.rs1), core.signed(i.rs2)))


@semantics("divu")
def divu(core: Core, i: Instruction) -> None:
    """rd = rs1 / rs2, unsigned."""
    core.write(i.rd, quotient(core.registers[i.rs1], core.registers[i.rs2]))


@semantics("rem")
def rem(core: Core, i: Instruction) -> None:
    """rd = rs1 % rs2, signed."""
    core.write(i.rd, remainder(core.signed(i.rs1), core.signed(i.rs2)))


@semantics("remu")
def remu(core: Core, i: Instruction) -> None:
    """rd = rs1 % rs2, unsigned."""
    core.write(i.rd, remainder(core.registers[i.rs1], core.registers[i.rs2]))


@semantics("divw")
def divw(core: Core, i: Instruction) -> None:
    """rd = rs1 / rs2 of the low 32 bits, signed."""
    core.write(i.rd, sign_extend(quotient(core.signed32(i.rs1), core.signed32(i.rs2)), 32))


@semantics("divuw")
def divuw(core: Core, i: Instruction) -> None:
    """rd = rs1 / rs2 of the low 32 bits, unsigned; the result is sign-extended."""
    core.write(i.rd, sign_extend(quotient(core.unsigned32(i.rs1), core.unsigned32(i.rs2)), 32))


@semantics("remw")
def remw(core: Core, i: Instruction) -> None:
    """rd = rs1 % rs2 of the low 32 bits, signed."""
    core.write(i.rd, remainder(core.signed32(i.rs1), core.signed32(i.rs2)))


@semantics("remuw")
def remuw(core: Core, i: Instruction) -> None:
    """rd = rs1 % rs2 of the low 32 bits, unsigned; the result is sign-extended."""
    core.write(i.rd, sign_extend(remainder(core.unsigned32(i.rs1), core.unsigned32(i.rs2)), 32))


def _write_both(core: Core, i: Instruction, first: int, second: int) -> None:
    core.write(i.rd, first)
    core.write(i.rs3, second)


@semantics("wide_mul")
def wide_mul(core: Core, i: Instruction) -> None:
    """Fused mulh and mul: rd and rs3 = high and low half of rs1 * rs2, both signed."""
    product = core.signed(i.rs1) * core.signed(i.rs2)
    _write_both(core, i, product >> 64, product)


@semantics("wide_mulu")
def wide_mulu(core: Core, i: Instruction) -> None:
    """Fused mulhu and mul: as `wide_mul`, both unsigned."""
    product = core.registers[i.rs1] * core.registers[i.rs2]
    _write_both(core, i, product >> 64, product)


@semantics("wide_mulsu")
def wide_mulsu(core: Core, i: Instruction) -> None:
    """Fused mulhsu and mul: as `wide_mul`, rs1 signed, rs2 unsigned."""
    product = core.signed(i.rs1) * core.registers[i.rs2]
    _write_both(core, i, product >> 64, product)


@semantics("wide_div")
def wide_div(core: Core, i: Instruction) -> None:
    """Fused div and rem: rd = quotient, rs3 = remainder, signed."""
    dividend, divisor = core.signed(i.rs1), core.signed(i.rs2)
    _write_both(core, i, quotient(dividend, divisor), remainder(dividend, divisor))


@semantics("wide_divu")
def wide_divu(core: Core, i: Instruction) -> None:
    """Fused divu and remu: rd = quotient, rs3 = remainder, unsigned."""
    dividend, divisor = core.registers[i.rs1], core.registers[i.rs2]
    _write_both(core, i, quotient(dividend, divisor), remainder(dividend, divisor))
