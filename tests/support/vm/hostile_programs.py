"""Scripts that make one system call for ever, each set up as badly as we know how."""

from __future__ import annotations

from typing import Self

from consensus.script.syscalls import numbers as call
from tests.support.vm.assembler import PF_R, PF_W, PF_X, Segment
from tests.support.vm.script_programs import DATA, S0, S1, T0, T1, T2, Program, make_elf
from vm.registers import A0, A7, SP
from vm.stack import STACK_BOTTOM

LIST, LIST_END = 0x40000, 0x3E0000
TABLE = 0x100000
CELL_COUNT = 200
T3 = 28
HEADER_SIZE, PROGRAM_HEADER_SIZE = 64, 56
VARIED_LENGTHS = 1024


class Endless:
    """A program: what is set up first, then a loop of one call."""

    def __init__(self) -> None:
        self.program = Program(data=bytes(512))

    def fill(self, start: int, end: int, word: int) -> Self:
        """Put a word everywhere in [start, end)."""
        p, label = self.program, f"fill{len(self.program.words)}"
        p.load_immediate(T0, start)
        p.load_immediate(T1, end)
        p.load_immediate(T3, word)
        p.label(label)
        store64(p, T3, T0, 0)
        p.addi(T0, T0, 8)
        p.branch_less(T0, T1, label)
        return self

    def touch(self, pages: int) -> Self:
        """Store to so many pages."""
        p, label = self.program, f"touch{len(self.program.words)}"
        p.load_immediate(T0, LIST)
        p.load_immediate(T1, LIST + 4096 * pages)
        p.load_immediate(T3, 4096)
        p.label(label)
        store64(p, T3, T0, 0)
        p.word(T3 << 20 | T0 << 15 | T0 << 7 | 0x33)
        p.branch_less(T0, T1, label)
        return self

    def call(self, number: int, *arguments: int) -> Self:
        """Only a0 is set anew for each call."""
        p = self.program
        for index, value in enumerate(arguments[1:], 1):
            p.load_immediate(A0 + index, value)
        p.load_immediate(A7, number)
        p.load_immediate(S0, arguments[0] if arguments else 0)
        p.label("again")
        p.addi(A0, S0, 0)
        p.word(0x73)
        p.jump("again")
        return self

    def load(self, number: int, room: int, offset: int, *arguments: int) -> Self:
        """A partial load into LIST."""
        p = self.program
        for index, value in enumerate((DATA + 32, offset, *arguments), 1):
            p.load_immediate(A0 + index, value)
        p.load_immediate(A7, number)
        p.load_immediate(S0, LIST)
        p.load_immediate(S1, room)
        p.label("again")
        p.store64(S1, DATA + 32)
        p.addi(A0, S0, 0)
        p.word(0x73)
        p.jump("again")
        return self

    def load_many(self, number: int, room: int, source: int = 1) -> Self:
        """A partial load of the next item each time."""
        p = self.program
        for index, value in enumerate((DATA + 32, 0, 0, source), 1):
            p.load_immediate(A0 + index, value)
        p.load_immediate(A7, number)
        p.load_immediate(S0, LIST)
        p.load_immediate(S1, room)
        p.load_immediate(T1, CELL_COUNT)
        p.label("anew")
        p.load_immediate(A0 + 3, 0)
        p.label("again")
        p.store64(S1, DATA + 32)
        p.addi(A0, S0, 0)
        p.word(0x73)
        p.addi(A0 + 3, A0 + 3, 1)
        p.branch_less(A0 + 3, T1, "again")
        p.jump("anew")
        return self

    def code(self) -> bytes:
        return self.program.elf()


def store64(p: Program, source: int, base: int, offset: int) -> None:
    p.word((offset >> 5 & 0x7F) << 25 | source << 20 | base << 15 | 3 << 12 | (offset & 0x1F) << 7 | 0x23)


def _spawn_block(p: Program, fds: int) -> None:
    for offset, value in ((0, 0), (8, 0), (16, DATA + 64), (24, fds)):
        p.set64(DATA + offset, value)


def with_list(index: int, offset: int, *, bounds: int = 0, moving: int = 0) -> bytes:
    """Spawn with a list of descriptors that fills the memory. Each time a word of so many pages is stored to first."""
    endless = Endless().fill(LIST, LIST_END, 0x0101010101010101)
    p = endless.program
    _spawn_block(p, LIST + offset)
    if not moving:
        return endless.call(call.SPAWN, index, 3, 0, bounds, DATA).code()
    for position, value in enumerate((index, 3, 0, bounds, DATA)):
        p.load_immediate(A0 + position, value)
    p.load_immediate(S0, index)
    p.load_immediate(A7, call.SPAWN)
    p.load_immediate(S1, LIST + 4096 * 2)
    p.load_immediate(T1, LIST + 4096 * (moving + 2))
    p.load_immediate(T3, 4096)
    p.load_immediate(T2, 0)
    p.label("again")
    p.addi(T0, S1, 0)
    p.label("touch")
    store64(p, T3, T0, 8)
    p.word(T3 << 20 | T0 << 15 | T0 << 7 | 0x33)
    p.branch_less(T0, T1, "touch")
    p.addi(A0, S0, 0)
    p.word(0x73)
    p.jump("again")
    return p.elf()


def _branch_if_root(p: Program, label: str) -> None:
    p.syscall(call.PROCESS_ID)
    p.load_immediate(T0, 0)
    p._branch_equal(A0, T0, label)


def inheriting(step: int) -> bytes:
    """A child with a list of descriptors that fills its memory asks for it for ever, each time `step` bytes further."""
    p = Program(data=bytes(512))
    _branch_if_root(p, "root")
    p.load_immediate(A0 + 1, DATA + 32)
    p.load_immediate(A7, call.INHERITED_FD)
    p.load_immediate(S0, LIST)
    p.load_immediate(S1, 1 << 40)
    p.load_immediate(T1, LIST + 4096)
    p.label("again")
    p.store64(S1, DATA + 32)
    p.addi(A0, S0, 0)
    p.word(0x73)
    p.addi(S0, S0, step)
    p.branch_less(S0, T1, "again")
    p.load_immediate(S0, LIST)
    p.jump("again")
    p.label("root")
    _list_of_two_pipes(p)
    p.syscall(call.SPAWN, 1, 3, 0, 0, DATA)
    p.syscall(call.WAIT, 1, DATA + 64)
    p.exit(0)
    return p.elf()


def _list_of_two_pipes(p: Program) -> None:
    """Descriptors of two pipes by turns, all over the memory."""
    p.syscall(call.PIPE, DATA + 128)
    p.syscall(call.PIPE, DATA + 144)
    p.load64(S0, DATA + 128)
    p.load64(S1, DATA + 144)
    p.load_immediate(T0, LIST)
    p.load_immediate(T1, LIST_END)
    p.label("pairs")
    store64(p, S0, T0, 0)
    store64(p, S1, T0, 8)
    p.addi(T0, T0, 16)
    p.branch_less(T0, T1, "pairs")
    _spawn_block(p, LIST)


def spawning(*, with_list_of_fds: bool = False) -> bytes:
    """Spawn a process that ends at once (with a list: whose descriptors are gone then, so it is a list once only)."""
    p = Program(data=bytes(512))
    _branch_if_root(p, "root")
    p.exit(0)
    p.label("root")
    if with_list_of_fds:
        p.label("again")
        _list_of_two_pipes(p)
    else:
        _spawn_block(p, 0)
        p.label("again")
    p.syscall(call.SPAWN, 1, 3, 0, 0, DATA)
    p.jump("again")
    return p.elf()


def talking(size: int, waiting: int) -> bytes:
    """The root writes to a child for ever, while others wait."""
    p = Program(data=bytes(512))
    _branch_if_root(p, "root")
    p.set64(DATA + 32, 8)
    p.syscall(call.INHERITED_FD, DATA + 128, DATA + 32)
    p.load64(S0, DATA + 128)
    p.load64(S1, DATA + 32)
    p.load_immediate(T0, 0)
    p._branch_equal(S1, T0, "wait")
    _transfer_for_ever(p, call.READ, "read", size)
    p.label("wait")
    p.syscall(call.WAIT, 0, DATA + 64)
    p.label("root")
    _spawn_block(p, 0)
    for _ in range(waiting):
        p.syscall(call.SPAWN, 1, 3, 0, 0, DATA)
    p.syscall(call.PIPE, DATA + 128)
    p.load64(S0, DATA + 128)
    p.store64(S0, DATA + 256)
    p.set64(DATA + 264, 0)
    _spawn_block(p, DATA + 256)
    p.syscall(call.SPAWN, 1, 3, 0, 0, DATA)
    p.load64(S0, DATA + 136)
    _transfer_for_ever(p, call.WRITE, "write", size)
    return p.elf()


def _transfer_for_ever(p: Program, number: int, label: str, size: int) -> None:
    p.load_immediate(A0 + 1, LIST)
    p.load_immediate(A0 + 2, DATA + 32)
    p.load_immediate(A7, number)
    p.load_immediate(S1, size)
    p.label(label)
    p.store64(S1, DATA + 32)
    p.addi(A0, S0, 0)
    p.word(0x73)
    p.jump(label)


def padded(code: bytes, size: int) -> bytes:
    """With so many bytes that nobody loads."""
    return code + bytes(size - len(code))


def many_headers(code: bytes, count: int, size: int, content: int = 0) -> bytes:
    """The program, and many more segments of the same pages: `size` bytes of memory each, `content` of them read from
    the beginning of the file."""
    own = int.from_bytes(code[56:58], "little")
    headers = code[HEADER_SIZE : HEADER_SIZE + own * PROGRAM_HEADER_SIZE]
    more = bytearray(headers[PROGRAM_HEADER_SIZE:])  # of the data
    more[16:24] = (0x100000).to_bytes(8, "little")
    more[8:16] = bytes(8)
    more[32:40], more[40:48] = content.to_bytes(8, "little"), size.to_bytes(8, "little")
    at = len(code)
    head = bytearray(code)
    head[32:40] = at.to_bytes(8, "little")
    head[56:58] = (own + count).to_bytes(2, "little")
    return bytes(head) + headers + bytes(more) * count


def exec_with_arguments(count: int) -> bytes:
    """Exec itself with so many empty arguments, whose addresses are all 0."""
    return Endless().call(call.EXEC, 0, 3, 0, 0, count, 0x200000).code()


def exec_onto_code(count: int) -> bytes:
    """The same with its code where the stack ends, so that some of the words cannot be stored."""
    code = Endless().call(call.EXEC, 0, 3, 0, 0, count, 0x200000).program.code()
    return make_elf(STACK_BOTTOM, [Segment(STACK_BOTTOM, code, PF_R | PF_X, len(code))])


def exec_with_what_is_left(count: int, size: int) -> bytes:
    """Exec itself with `count` arguments, the first of `size` bytes, which do not fit the stack.

    So it begins again with them left below the end of the memory, and passes those on.
    """
    endless = Endless()
    _branch_if_arguments_are_left(endless.program)
    if size:
        endless.fill(LIST, LIST + size, 0x4141414141414141)
        endless.program.set64(DATA, LIST)
    return _exec_with_what_is_left(endless.program, count, DATA)


def exec_with_mixed_sizes(count: int, sizes: tuple[int, int]) -> bytes:
    """The same with arguments of two sizes, which follow each other at random; none exceeds 62 bytes."""
    endless, distance = Endless(), 64
    p = endless.program
    _branch_if_arguments_are_left(p)
    endless.fill(LIST, LIST + 2 * distance, 0x4141414141414141)
    for index, size in enumerate(sizes):
        p.load_immediate(T0, LIST + distance * index + size)
        p.word(T0 << 15 | 0x23)  # sb zero, 0(t0)
    for register, value in ((T0, TABLE), (T1, TABLE + 8 * count), (T2, 6364136223846793005), (S0, 1), (S1, LIST)):
        p.load_immediate(register, value)
    p.label("next")
    p.word(1 << 25 | T2 << 20 | S0 << 15 | S0 << 7 | 0x33)  # mul s0, s0, t2
    p.addi(S0, S0, 1)
    p.word(40 << 20 | S0 << 15 | 5 << 12 | T3 << 7 | 0x13)  # srli t3, s0, 40
    p.word(distance << 20 | T3 << 15 | 7 << 12 | T3 << 7 | 0x13)  # andi
    p.word(S1 << 20 | T3 << 15 | T3 << 7 | 0x33)  # add
    store64(p, T3, T0, 0)
    p.addi(T0, T0, 8)
    p.branch_less(T0, T1, "next")
    return _exec_with_what_is_left(p, count, TABLE)


def _branch_if_arguments_are_left(p: Program) -> None:
    p.load_immediate(T0, STACK_BOTTOM)
    p.branch_less(SP, T0, "left")


def _exec_with_what_is_left(p: Program, count: int, table: int) -> bytes:
    p.syscall(call.EXEC, 0, 3, 0, 0, count, table)
    p.label("left")
    for index, value in enumerate((0, 3, 0, 0, count)):
        p.load_immediate(A0 + index, value)
    p.addi(A0 + 5, SP, 8)
    p.load_immediate(A7, call.EXEC)
    p.word(0x73)
    p.exit(1)
    return p.elf()


def segments_that_fail(size: int) -> bytes:
    """Cell dep 1, which execs itself: code at address 0, much data, then a page that is frozen already.

    The machine goes on at address 0.
    """
    p = Endless().call(call.EXEC, 1, 3, 0, 0, 0, 0).program
    code = p.code()
    return make_elf(
        0,
        [
            Segment(0, code, PF_R | PF_X, len(code)),
            Segment(LIST, bytes([1]) * size, PF_R | PF_W, size),
            Segment(0, b"", PF_R | PF_X, 4096),
        ],
    )


def exec_with_varied_length(count: int, size: int, content: int = 0) -> bytes:
    """`many_headers` that exec themselves as a program of another length each time, so that nothing is known of it.

    The length goes by the cycles used so far; the cell has enough bytes behind the program.
    """
    length = len(many_headers(_exec_of_length((1 << 19) + 1), count, size, content))
    return padded(many_headers(_exec_of_length(length), count, size, content), length + VARIED_LENGTHS)


def _exec_of_length(length: int) -> bytes:
    """`length` must have as many instructions to load as another one has: 2^12 to 2^31 and no multiple of 2^12."""
    p = Program(data=bytes(512))
    p.syscall(call.CURRENT_CYCLES)
    p.word(VARIED_LENGTHS - 1 << 20 | A0 << 15 | 7 << 12 | A0 << 7 | 0x13)
    p.load_immediate(T0, length)
    p.word(T0 << 20 | A0 << 15 | (A0 + 3) << 7 | 0x33)
    for index, value in ((0, 0), (1, 3), (2, 0), (4, 0), (5, 0)):
        p.load_immediate(A0 + index, value)
    p.load_immediate(A7, call.EXEC)
    p.word(0x73)
    p.exit(1)
    return p.elf()
