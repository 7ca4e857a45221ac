"""A few RISC-V instructions and an ELF file around them: enough for scripts that make system calls.

program = Program(data=b"hello")
program.syscall(DEBUG, DATA)
program.exit(0)
code = program.elf()
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.vm.assembler import PAGE, PF_R, PF_W, PF_X, Segment, elf
from vm.registers import A0, A7, ZERO

CODE = 0x10000
DATA = 0x20000
DATA_SIZE = 0x4000
T0, T1, T2 = 5, 6, 7
S0, S1 = 8, 9
EXIT = 93


def make_elf(entry: int, segments: Sequence[Segment]) -> bytes:
    """A 64-bit RISC-V executable; each content begins a page of the file."""
    return elf(segments, entry, align=PAGE)


@dataclass
class Program:
    """Instructions one behind the other; `data` is writable memory at DATA."""

    data: bytes = b""
    words: list[int] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    _jumps: list[tuple[int, str]] = field(default_factory=list)

    def word(self, value: int) -> None:
        self.words.append(value & 0xFFFF_FFFF)

    def addi(self, rd: int, rs1: int, value: int) -> None:
        self.word((value & 0xFFF) << 20 | rs1 << 15 | rd << 7 | 0x13)

    def load_immediate(self, rd: int, value: int) -> None:
        """Any 64-bit number."""
        value = (value + (1 << 63)) % (1 << 64) - (1 << 63)
        low = (value + 0x800) % 0x1000 - 0x800
        if low == value:
            self.addi(rd, ZERO, low)
            return
        self.load_immediate(rd, (value - low) >> 12)
        self.word(12 << 20 | rd << 15 | 1 << 12 | rd << 7 | 0x13)  # slli
        if low:
            self.addi(rd, rd, low)

    def load64(self, rd: int, address: int) -> None:
        """Through t2."""
        self.load_immediate(T2, address)
        self.word(T2 << 15 | 3 << 12 | rd << 7 | 0x03)

    def load_byte(self, rd: int, address: int) -> None:
        """Signed; through t2."""
        self.load_immediate(T2, address)
        self.word(T2 << 15 | rd << 7 | 0x03)

    def store64(self, rs2: int, address: int) -> None:
        """Through t2."""
        self.load_immediate(T2, address)
        self.word(rs2 << 20 | T2 << 15 | 3 << 12 | 0x23)

    def set64(self, address: int, value: int) -> None:
        """Through t1 and t2."""
        self.load_immediate(T1, value)
        self.store64(T1, address)

    def label(self, name: str) -> None:
        self.labels[name] = len(self.words)

    def jump(self, name: str) -> None:
        self._jumps.append((len(self.words), name))
        self.word(0x6F)

    def jump_register(self, rs1: int) -> None:
        self.word(rs1 << 15 | 1 << 7 | 0x67)

    def syscall(self, number: int, *args: int) -> None:
        for index, value in enumerate(args):
            self.load_immediate(A0 + index, value)
        self.load_immediate(A7, number)
        self.word(0x73)

    def exit(self, code: int) -> None:
        self.syscall(EXIT, code)

    def exit_with_a0(self) -> None:
        self.syscall(EXIT)

    def expect(self, register: int, value: int, code: int) -> None:
        """Exit with `code` unless the register has the value. Through t0."""
        self.load_immediate(T0, value)
        skip = f"expect{len(self.words)}"
        self._branch_equal(register, T0, skip)
        self.exit(code)
        self.label(skip)

    def check(self, number: int, *args: int, answer: int = 0, code: int) -> None:
        """A system call whose answer must be as given."""
        self.syscall(number, *args)
        self.expect(A0, answer, code)

    def _branch_equal(self, rs1: int, rs2: int, name: str) -> None:
        self._jumps.append((len(self.words), name))
        self.word(rs2 << 20 | rs1 << 15 | 0x63)

    def branch_less(self, rs1: int, rs2: int, name: str) -> None:
        """Unsigned."""
        self._jumps.append((len(self.words), name))
        self.word(rs2 << 20 | rs1 << 15 | 6 << 12 | 0x63)

    def code(self) -> bytes:
        words = list(self.words)
        for at, name in self._jumps:
            distance = (self.labels[name] - at) * 4
            if words[at] & 0x7F == 0x6F:
                words[at] |= (
                    (distance >> 20 & 1) << 31
                    | (distance >> 1 & 0x3FF) << 21
                    | (distance >> 11 & 1) << 20
                    | (distance >> 12 & 0xFF) << 12
                )
            else:
                words[at] |= (
                    (distance >> 12 & 1) << 31
                    | (distance >> 5 & 0x3F) << 25
                    | (distance >> 1 & 0xF) << 8
                    | (distance >> 11 & 1) << 7
                )
        return struct.pack(f"<{len(words)}I", *words)

    def elf(self) -> bytes:
        code = self.code()
        return make_elf(
            CODE,
            [
                Segment(CODE, code, PF_R | PF_X, len(code)),
                Segment(DATA, self.data, PF_R | PF_W, DATA_SIZE),
            ],
        )
