"""Random programs with much control flow: functions, loops, recursion, jump tables, returns past callers, ecalls.

They end, or run into a cycle limit; where random values lead them astray they fail, on every engine alike.
"""

import random
import struct

from tests.support.vm.assembler import (
    BRANCH_OPS,
    CODE_BASE,
    DATA_BASE,
    ECALL,
    FENCE,
    auipc,
    branch,
    half,
    imm,
    jal,
    lui,
    program,
    reg,
    store,
)
from tests.support.vm.random_programs import Generator
from vm.isa.profile import Isa

ZERO, RA, SP, GP = 0, 1, 2, 3
COUNTER, DEPTH = 18, 19  # s2 is a loop counter, s3 the depth of recursion; the bodies leave them alone
TARGET = 20
FRAME = 32
JUMP_BUFFER = 1024  # offset in the data: ra and sp of the first function


class FlowGenerator:
    """Lays out functions one behind the other; jumps between them are filled in at the end."""

    def __init__(self, rng: random.Random, version: int, isa: Isa, functions: int) -> None:
        self.rng, self.count = rng, functions
        self.body = Generator(rng, version, isa)
        self.plain_kinds = [self.body.register_op, self.body.immediate, self.body.shift, self.body.memory]
        if isa is Isa.CKB_WITH_ATOMICS:
            self.plain_kinds += [self.body.atomic_op] * 2
        self.code = bytearray()
        self.starts: list[int] = []
        self.calls: list[tuple[int, int, int]] = []  # position, link, callee
        self.tables: list[tuple[int, list[int]]] = []

    def emit(self, code: bytes) -> None:
        self.code += code

    def some(self, most: int) -> None:
        for _ in range(self.rng.randrange(most)):
            self.emit(self.plain())

    def plain(self) -> bytes:
        """Instructions that go on behind themselves."""
        make = self.rng.choice(self.plain_kinds)
        return self.rng.choice((make, make, self.body.carry, self.body.wide, self.body.constant))()

    def call(self, callee: int, link: int = RA) -> None:
        if self.rng.random() < 0.3:
            self.emit(auipc(link, 0) + imm("jalr", link, link, 0))
            self.calls.append((len(self.code) - 8, -link, callee))
        else:
            self.calls.append((len(self.code), link, callee))
            self.emit(FENCE)

    def function(self, index: int) -> None:
        self.starts.append(len(self.code))
        self.emit(imm("addi", SP, SP, -FRAME) + store("sd", RA, SP, 0) + store("sd", COUNTER, SP, 8))
        for _ in range(self.rng.randrange(1, 5)):
            self.rng.choice((self.loop, self.diamond, self.calling, self.table, self.recursion, self.odd))(index)
        self.emit(imm("ld", COUNTER, SP, 8) + imm("ld", RA, SP, 0) + imm("addi", SP, SP, FRAME))
        self.emit(imm("jalr", ZERO, RA, 0))

    def loop(self, index: int) -> None:
        self.some(4)
        self.emit(imm("addi", COUNTER, ZERO, self.rng.choice((1, 3, 40))))
        head = len(self.code)
        self.some(20)
        if self.rng.random() < 0.3:
            self.emit(imm("addi", DEPTH, DEPTH, 1))
            self.calling(index)
        self.emit(imm("addi", COUNTER, COUNTER, -1))
        self.emit(branch("bne", COUNTER, ZERO, head - len(self.code)))

    def diamond(self, _: int) -> None:
        parts = []
        for _ in range(2):
            start = len(self.code)
            self.some(6)
            parts.append(bytes(self.code[start:]))
            del self.code[start:]
        condition = self.rng.choice(list(BRANCH_OPS))
        distance = 4 + len(parts[0]) + 4
        self.emit(branch(condition, self.body.register(), self.body.register(), distance) + parts[0])
        self.emit(jal(ZERO, 4 + len(parts[1])) + parts[1])

    def calling(self, index: int) -> None:
        if index + 1 < self.count:
            self.call(self.rng.randrange(index + 1, self.count), self.rng.choice((RA, RA, RA, 5)))

    def recursion(self, index: int) -> None:
        """Call a function at or above this one, as long as the depth allows it."""
        self.emit(branch("bge", ZERO, DEPTH, 24) + imm("addi", DEPTH, DEPTH, -1))
        self.emit(FENCE)
        start = len(self.code)
        self.calls.append((start, RA, self.rng.randrange(index + 1)))
        self.emit(FENCE + FENCE + FENCE)

    def table(self, _: int) -> None:
        """A switch over four cases by a register."""
        self.emit(imm("andi", TARGET, self.body.register(), 3) + imm("slli", TARGET, TARGET, 2))
        at = len(self.code)
        self.emit(auipc(21, 0) + reg("add", TARGET, TARGET, 21) + imm("lw", TARGET, TARGET, 24))
        self.emit(imm("addi", 21, 21, 24) + reg("add", TARGET, TARGET, 21) + imm("jalr", ZERO, TARGET, 0))
        cases: list[int] = []
        table = len(self.code)
        self.emit(bytes(16))
        ends = []
        for _ in range(4):
            cases.append(len(self.code))
            self.some(5)
            ends.append(len(self.code))
            self.emit(FENCE)
        for end in ends:
            self.code[end : end + 4] = jal(ZERO, len(self.code) - end)
        self.code[table : table + 16] = struct.pack("<4i", *(case - table for case in cases))
        assert table == at + 24

    def odd(self, _: int) -> None:
        """Rare things: an ecall, a return past all callers, a jump into the middle of an instruction."""
        match self.rng.randrange(4):
            case 0 | 1:
                self.emit(ECALL)
            case 2:
                skip = branch(self.rng.choice(("beq", "bltu")), self.body.register(), self.body.register(), 16)
                self.emit(skip + imm("ld", RA, GP, JUMP_BUFFER) + imm("ld", SP, GP, JUMP_BUFFER + 8))
                self.emit(imm("jalr", ZERO, RA, 0))
            case _:
                # lui x0, whose upper half is a compressed addi
                inner = int.from_bytes(half(0x0001 | 7 << 7 | 1 << 2), "little")
                self.emit(branch(self.rng.choice(list(BRANCH_OPS)), self.body.register(), self.body.register(), 6))
                self.emit((0x37 | inner << 16).to_bytes(4, "little"))

    def link(self) -> None:
        for position, link, callee in self.calls:
            distance = self.starts[callee] - position
            if link > 0:
                self.code[position : position + 4] = jal(link, distance)
            else:
                high = distance + 0x800 >> 12
                code = auipc(-link, high) + imm("jalr", -link, -link, distance - (high << 12))
                self.code[position : position + 8] = code


def random_flow(rng: random.Random, version: int, isa: Isa = Isa.CKB) -> bytes:
    """An ELF file."""
    generator = FlowGenerator(rng, version, isa, rng.choice((1, 3, 8)))
    generator.emit(lui(GP, 0x21) + imm("addi", DEPTH, ZERO, rng.choice((0, 5, 400))))
    for register in range(5, 18):
        generator.emit(imm("addi", register, ZERO, rng.randrange(-2048, 2048)) + imm("slli", register, register, 7))
    landing = len(generator.code)
    generator.emit(auipc(RA, 0) + imm("addi", RA, RA, 24) + store("sd", RA, GP, JUMP_BUFFER))
    generator.emit(store("sd", SP, GP, JUMP_BUFFER + 8))
    generator.calls.append((len(generator.code), RA, 0))
    generator.emit(FENCE + FENCE)  # the return address of the call, and 24 bytes behind the auipc
    assert len(generator.code) == landing + 24
    generator.emit(ECALL + imm("addi", 17, ZERO, 93) + ECALL)
    for index in range(generator.count):
        generator.function(index)
    generator.link()
    assert len(generator.code) < DATA_BASE - CODE_BASE
    return program(bytes(generator.code), data_size=8192)
