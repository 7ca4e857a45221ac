"""Random programs that mostly run: registers full of edge values, then a mix of instructions and fusable sequences."""

import random

from tests.support.vm.assembler import (
    ATOMIC_OPS,
    B_REGISTER_OPS,
    B_SHIFT_OPS,
    B_UNARY_OPS,
    BRANCH_OPS,
    EBREAK,
    ECALL,
    FENCE,
    IMMEDIATE_OPS,
    REGISTER_OPS,
    SHIFT_OPS,
    STORE_OPS,
    atomic,
    auipc,
    branch,
    half,
    imm,
    jal,
    li,
    lui,
    program,
    reg,
    store,
    unary,
)
from vm.isa.profile import Isa

EDGES = (
    *(0, 1, 2, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 32),
    *(0xFFFF_FFFF_8000_0000, 0x80, 0x8000, 0xFF00_FF00_FF00_FF00),
)
LOADS = [name for name in IMMEDIATE_OPS if name.startswith("l")]
PLAIN_IMMEDIATES = [name for name in IMMEDIATE_OPS if not name.startswith(("l", "j"))]
BASE = 3  # x3 points into the data


class Generator:
    """Instructions drawn from `rng`. Few registers are used, so that conditions of fusion are often met.

    Those that `isa` has.
    """

    def __init__(self, rng: random.Random, version: int, isa: Isa = Isa.CKB) -> None:
        self.rng = rng
        self.version = version
        self.kinds = [
            *(self.register_op, self.register_op, self.immediate, self.shift, self.memory, self.memory),
            *(self.control, self.constant, self.wide, self.carry, self.carry, self.compressed, self.odd),
        ]
        if version > 0:
            self.kinds += [self.bit_op, self.bit_op]
        if isa is Isa.CKB_WITH_ATOMICS:
            self.kinds += [self.atomic_op] * 4

    def register(self) -> int:
        if self.rng.random() < 0.1:
            return self.rng.randrange(32)
        return self.rng.choice((0, 1, 5, 6, 7, 8, 9, 10)[: self.rng.choice((4, 8))])

    def registers(self, count: int) -> list[int]:
        return [self.register() for _ in range(count)]

    def any(self) -> bytes:
        return self.rng.choice(self.kinds)()

    def register_op(self) -> bytes:
        return reg(self.rng.choice(list(REGISTER_OPS)), *self.registers(3))

    def bit_op(self) -> bytes:
        choice = self.rng.randrange(3)
        if choice == 0:
            return reg(self.rng.choice(list(B_REGISTER_OPS)), *self.registers(3))
        if choice == 1:
            return unary(self.rng.choice(list(B_UNARY_OPS)), *self.registers(2))
        name = self.rng.choice(list(B_SHIFT_OPS))
        return imm(name, self.register(), self.register(), self.rng.randrange(1 << B_SHIFT_OPS[name][3]))

    def immediate(self) -> bytes:
        name, value = self.rng.choice(PLAIN_IMMEDIATES), self.rng.randrange(-2048, 2048)
        return imm(name, self.register(), self.register(), value)

    def shift(self) -> bytes:
        name = self.rng.choice(list(SHIFT_OPS))
        return imm(name, self.register(), self.register(), self.rng.randrange(1 << SHIFT_OPS[name][3]))

    def memory(self) -> bytes:
        offset = self.rng.randrange(-2048, 2048)
        base = BASE if self.rng.random() < 0.98 else self.register()
        if self.rng.random() < 0.5:
            return imm(self.rng.choice(LOADS), self.register(), base, offset)
        return store(self.rng.choice(list(STORE_OPS)), self.register(), base, offset)

    def atomic_op(self) -> bytes:
        """Mostly at one of few addresses in the data, of any alignment; at times anywhere."""
        name = self.rng.choice((*ATOMIC_OPS, "lr", "sc", "sc"))
        width, rd, order = self.rng.choice("wd"), self.register(), self.rng.randrange(4)
        rs2 = 0 if name == "lr" else self.register()
        if self.rng.random() < 0.02:
            return atomic(name, width, rd, rs2, self.register(), order)
        if self.rng.random() < 0.4:
            return atomic(name, width, rd if rd != BASE else 0, rs2, BASE, order)
        address = self.rng.choice((11, 12, 13))
        offset = self.rng.choice((0, 8, 4, 1, -2, 2040, -4))
        return imm("addi", address, BASE, offset) + atomic(name, width, rd, rs2, address, order)

    def control(self) -> bytes:
        distance = self.rng.choice((4, 6, 8, 10, 12, 16, 20))
        choice = self.rng.randrange(4)
        if choice == 0:
            return jal(self.register(), distance)
        if choice == 1:
            first, second = self.register(), self.rng.choice((1, self.register()))
            return auipc(first, 0) + imm("jalr", second, self.rng.choice((first, second)), distance + 4)
        return branch(self.rng.choice(list(BRANCH_OPS)), self.register(), self.register(), distance)

    def constant(self) -> bytes:
        target = self.register()
        head = self.rng.choice((lui, auipc))(target, self.rng.getrandbits(20))
        name = self.rng.choice(("addi", "addiw"))
        return head + imm(name, self.rng.choice((target, self.register())), target, self.rng.randrange(-2048, 2048))

    def wide(self) -> bytes:
        high, low = self.rng.choice(
            (("mulh", "mul"), ("mulhu", "mul"), ("mulhsu", "mul"), ("div", "rem"), ("divu", "remu"))
        )
        a, b, c, d = self.registers(4)
        return reg(high, a, b, c) + reg(low, d, b, c)

    def carry(self) -> bytes:
        a, b, c, d, e = self.registers(5)
        match self.rng.randrange(8):
            case 0:
                code = reg("add", a, a, b) + reg("sltu", b, a, b) + reg("add", a, a, c)
                return code + reg("sltu", c, a, c) + reg("or", b, b, c)
            case 1:
                code = reg("sub", b, a, b) + reg("sltu", d, a, self.rng.choice((b, e))) + reg("sub", a, b, c)
                return code + reg("sltu", c, b, a) + reg("or", b, c, d)
            case 2:
                return reg("add", a, b, c) + reg("sltu", d, a, b)
            case 3:
                return reg("add", a, b, c) + reg("sltu", d, a, c)
            case 4:
                return reg("sub", a, b, c) + reg("sltu", d, b, c)
            case 5:
                return reg("add", a, b, a) + reg("sltu", c, a, b) + reg("add", d, c, e)
            case 6:
                return reg("add", a, b, c) + reg("sltu", b, a, b) + reg("add", d, b, e)
        return reg("add", a, b, c) + reg("sltu", d, a, b) + reg("add", d, d, e)

    def compressed(self) -> bytes:
        """Arithmetic of quadrants 1 and 2, at times anything."""
        if self.rng.random() < 0.02:
            return half(self.rng.randrange(1 << 14) << 2 | self.rng.randrange(3))
        rd, value = self.register(), self.rng.randrange(1, 64)
        low = (value & 31) << 2 | (value >> 5) << 12
        patterns = (0x0001 | (rd or 5) << 7 | low, 0x4001 | (rd or 5) << 7 | low, 0x2001 | (rd or 5) << 7 | low)
        moves = (0x8002 | (rd or 5) << 7 | (value & 31 or 1) << 2, 0x9002 | (rd or 5) << 7 | (value & 31 or 1) << 2)
        group = 0x8C01 | (value & 7) << 7 | self.rng.randrange(4) << 5 | (value >> 3) << 2
        return half(self.rng.choice((*patterns, *moves, group)))

    def odd(self) -> bytes:
        choice = self.rng.random()
        if choice < 0.6:
            return FENCE
        if choice < 0.9:
            return EBREAK
        return self.rng.getrandbits(32).to_bytes(4, "little")


def random_program(rng: random.Random, version: int, isa: Isa = Isa.CKB) -> bytes:
    """An ELF file."""
    generator = Generator(rng, version, isa)
    code = b""
    for register in range(1, 32):
        code += li(register, rng.choice(EDGES) if rng.random() < 0.6 else rng.getrandbits(64))
    code += lui(BASE, 0x21)
    for _ in range(rng.choice((10, 40, 100))):
        code += generator.any()
    return program(code + ECALL, data_size=8192)
