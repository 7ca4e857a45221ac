"""Bit manipulation (Zba, Zbb, Zbc, Zbs), enabled from version 1 on."""

from vm.constants import U64_MASK
from vm.isa.instruction import Instruction
from vm.isa.word import sign_extend
from vm.reference.core import Core, semantics


def carryless_product(left: int, right: int) -> int:
    """The product of polynomials over GF(2), 127 bits."""
    product = 0
    for bit in range(64):
        if right >> bit & 1:
            product ^= left << bit
    return product


def rotate_left(value: int, amount: int, bits: int) -> int:
    """`value` (of `bits` bits) rotated by `amount` modulo `bits`."""
    amount %= bits
    return (value << amount | value >> (bits - amount)) & ((1 << bits) - 1)


def trailing_zeros(value: int, bits: int) -> int:
    """Zero bits below the lowest set bit; `bits` for 0."""
    return (value & -value).bit_length() - 1 if value else bits


# Zba: addresses


@semantics("sh1add")
def sh1add(core: Core, i: Instruction) -> None:
    """rd = (rs1 << 1) + rs2."""
    core.write(i.rd, (core.registers[i.rs1] << 1) + core.registers[i.rs2])


@semantics("sh2add")
def sh2add(core: Core, i: Instruction) -> None:
    """rd = (rs1 << 2) + rs2."""
    core.write(i.rd, (core.registers[i.rs1] << 2) + core.registers[i.rs2])


@semantics("sh3add")
def sh3add(core: Core, i: Instruction) -> None:
    """rd = (rs1 << 3) + rs2."""
    core.write(i.rd, (core.registers[i.rs1] << 3) + core.registers[i.rs2])


@semantics("adduw")
def adduw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 + rs2."""
    core.write(i.rd, core.unsigned32(i.rs1) + core.registers[i.rs2])


@semantics("sh1adduw")
def sh1adduw(core: Core, i: Instruction) -> None:
    """rd = (low 32 bits of rs1 << 1) + rs2."""
    core.write(i.rd, (core.unsigned32(i.rs1) << 1) + core.registers[i.rs2])


@semantics("sh2adduw")
def sh2adduw(core: Core, i: Instruction) -> None:
    """rd = (low 32 bits of rs1 << 2) + rs2."""
    core.write(i.rd, (core.unsigned32(i.rs1) << 2) + core.registers[i.rs2])


@semantics("sh3adduw")
def sh3adduw(core: Core, i: Instruction) -> None:
    """rd = (low 32 bits of rs1 << 3) + rs2."""
    core.write(i.rd, (core.unsigned32(i.rs1) << 3) + core.registers[i.rs2])


@semantics("slliuw")
def slliuw(core: Core, i: Instruction) -> None:
    """rd = low 32 bits of rs1 << imm."""
    core.write(i.rd, core.unsigned32(i.rs1) << i.imm)


# Zbb: logic, counting, comparing, extending, rotating


@semantics("andn")
def andn(core: Core, i: Instruction) -> None:
    """rd = rs1 & ~rs2."""
    core.write(i.rd, core.registers[i.rs1] & ~core.registers[i.rs2])


@semantics("orn")
def orn(core: Core, i: Instruction) -> None:
    """rd = rs1 | ~rs2."""
    core.write(i.rd, core.registers[i.rs1] | ~core.registers[i.rs2])


@semantics("xnor")
def xnor(core: Core, i: Instruction) -> None:
    """rd = ~(rs1 ^ rs2)."""
    core.write(i.rd, ~(core.registers[i.rs1] ^ core.registers[i.rs2]))


@semantics("clz")
def clz(core: Core, i: Instruction) -> None:
    """rd = leading zeros of rs1."""
    core.write(i.rd, 64 - core.registers[i.rs1].bit_length())


@semantics("clzw")
def clzw(core: Core, i: Instruction) -> None:
    """rd = leading zeros of the low 32 bits of rs1."""
    core.write(i.rd, 32 - core.unsigned32(i.rs1).bit_length())


@semantics("ctz")
def ctz(core: Core, i: Instruction) -> None:
    """rd = trailing zeros of rs1."""
    core.write(i.rd, trailing_zeros(core.registers[i.rs1], 64))


@semantics("ctzw")
def ctzw(core: Core, i: Instruction) -> None:
    """rd = trailing zeros of the low 32 bits of rs1."""
    core.write(i.rd, trailing_zeros(core.unsigned32(i.rs1), 32))


@semantics("cpop")
def cpop(core: Core, i: Instruction) -> None:
    """rd = set bits of rs1."""
    core.write(i.rd, core.registers[i.rs1].bit_count())


@semantics("cpopw")
def cpopw(core: Core, i: Instruction) -> None:
    """rd = set bits among the low 32 of rs1."""
    core.write(i.rd, core.unsigned32(i.rs1).bit_count())


@semantics("min")
def min_(core: Core, i: Instruction) -> None:
    """rd = the smaller of rs1 and rs2, signed."""
    core.write(i.rd, min(core.signed(i.rs1), core.signed(i.rs2)))


@semantics("minu")
def minu(core: Core, i: Instruction) -> None:
    """rd = the smaller of rs1 and rs2, unsigned."""
    core.write(i.rd, min(core.registers[i.rs1], core.registers[i.rs2]))


@semantics("max")
def max_(core: Core, i: Instruction) -> None:
    """rd = the greater of rs1 and rs2, signed."""
    core.write(i.rd, max(core.signed(i.rs1), core.signed(i.rs2)))


@semantics("maxu")
def maxu(core: Core, i: Instruction) -> None:
    """rd = the greater of rs1 and rs2, unsigned."""
    core.write(i.rd, max(core.registers[i.rs1], core.registers[i.rs2]))


@semantics("sextb")
def sextb(core: Core, i: Instruction) -> None:
    """rd = the low byte of rs1, sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1], 8))


@semantics("sexth")
def sexth(core: Core, i: Instruction) -> None:
    """rd = the low 16 bits of rs1, sign-extended."""
    core.write(i.rd, sign_extend(core.registers[i.rs1], 16))


@semantics("zexth")
def zexth(core: Core, i: Instruction) -> None:
    """rd = the low 16 bits of rs1, zero-extended."""
    core.write(i.rd, core.registers[i.rs1] & 0xFFFF)


@semantics("rol")
def rol(core: Core, i: Instruction) -> None:
    """rd = rs1 rotated left by rs2."""
    core.write(i.rd, rotate_left(core.registers[i.rs1], core.registers[i.rs2], 64))


@semantics("rolw")
def rolw(core: Core, i: Instruction) -> None:
    """rd = the low 32 bits of rs1 rotated left by rs2, sign-extended."""
    core.write(i.rd, sign_extend(rotate_left(core.unsigned32(i.rs1), core.registers[i.rs2], 32), 32))


@semantics("ror")
def ror(core: Core, i: Instruction) -> None:
    """rd = rs1 rotated right by rs2."""
    core.write(i.rd, rotate_left(core.registers[i.rs1], -core.registers[i.rs2], 64))


@semantics("rorw")
def rorw(core: Core, i: Instruction) -> None:
    """rd = the low 32 bits of rs1 rotated right by rs2, sign-extended."""
    core.write(i.rd, sign_extend(rotate_left(core.unsigned32(i.rs1), -core.registers[i.rs2], 32), 32))


@semantics("rori")
def rori(core: Core, i: Instruction) -> None:
    """rd = rs1 rotated right by imm."""
    core.write(i.rd, rotate_left(core.registers[i.rs1], -i.imm, 64))


@semantics("roriw")
def roriw(core: Core, i: Instruction) -> None:
    """rd = the low 32 bits of rs1 rotated right by imm, sign-extended."""
    core.write(i.rd, sign_extend(rotate_left(core.unsigned32(i.rs1), -i.imm, 32), 32))


@semantics("orcb")
def orcb(core: Core, i: Instruction) -> None:
    """Each byte becomes 0xff unless it is 0."""
    content = core.registers[i.rs1].to_bytes(8, "little")
    core.write(i.rd, int.from_bytes(bytes(0xFF if byte else 0 for byte in content), "little"))


@semantics("rev8")
def rev8(core: Core, i: Instruction) -> None:
    """rd = the bytes of rs1 in reverse order."""
    core.write(i.rd, int.from_bytes(core.registers[i.rs1].to_bytes(8, "little"), "big"))


# Zbc: carry-less multiplication


@semantics("clmul")
def clmul(core: Core, i: Instruction) -> None:
    """rd = low 64 bits of the carry-less product of rs1 and rs2."""
    core.write(i.rd, carryless_product(core.registers[i.rs1], core.registers[i.rs2]))


@semantics("clmulh")
def clmulh(core: Core, i: Instruction) -> None:
    """rd = bits 127:64 of the carry-less product."""
    core.write(i.rd, carryless_product(core.registers[i.rs1], core.registers[i.rs2]) >> 64)


@semantics("clmulr")
def clmulr(core: Core, i: Instruction) -> None:
    """rd = bits 126:63 of the carry-less product."""
    core.write(i.rd, carryless_product(core.registers[i.rs1], core.registers[i.rs2]) >> 63)


# Zbs: single bits


@semantics("bclr")
def bclr(core: Core, i: Instruction) -> None:
    """rd = rs1 with bit rs2 cleared."""
    core.write(i.rd, core.registers[i.rs1] & ~(1 << (core.registers[i.rs2] & 63)) & U64_MASK)


@semantics("bset")
def bset(core: Core, i: Instruction) -> None:
    """rd = rs1 with bit rs2 set."""
    core.write(i.rd, core.registers[i.rs1] | 1 << (core.registers[i.rs2] & 63))


@semantics("binv")
def binv(core: Core, i: Instruction) -> None:
    """rd = rs1 with bit rs2 inverted."""
    core.write(i.rd, core.registers[i.rs1] ^ 1 << (core.registers[i.rs2] & 63))


@semantics("bext")
def bext(core: Core, i: Instruction) -> None:
    """rd = bit rs2 of rs1."""
    core.write(i.rd, core.registers[i.rs1] >> (core.registers[i.rs2] & 63) & 1)


@semantics("bclri")
def bclri(core: Core, i: Instruction) -> None:
    """rd = rs1 with bit imm cleared."""
    core.write(i.rd, core.registers[i.rs1] & ~(1 << i.imm))


@semantics("bseti")
def bseti(core: Core, i: Instruction) -> None:
    """rd = rs1 with bit imm set."""
    core.write(i.rd, core.registers[i.rs1] | 1 << i.imm)


@semantics("binvi")
def binvi(core: Core, i: Instruction) -> None:
    """rd = rs1 with bit imm inverted."""
    core.write(i.rd, core.registers[i.rs1] ^ 1 << i.imm)


@semantics("bexti")
def bexti(core: Core, i: Instruction) -> None:
    """rd = bit imm of rs1."""
    core.write(i.rd, core.registers[i.rs1] >> i.imm & 1)
