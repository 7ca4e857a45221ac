"""What programs pass to each other and a stack cannot hold: the error, and what version 1 goes on with."""

from __future__ import annotations

import pytest

from consensus.errors import CkbError
from consensus.script.syscalls.numbers import EXEC, SPAWN
from consensus.script.verifier import ScriptVerifier
from tests.support.builders.scripts import Chain, Env, make_cell, make_consensus, make_transaction, resolve, script_for
from tests.support.vm.assembler import PF_R, PF_W, PF_X, Segment
from tests.support.vm.script_programs import CODE, DATA, S0, T0, T1, Program, make_elf
from vm.registers import A0, SP

STACK_TOP, PAGE, MIB = 4 << 20, 4096, 1 << 20
TABLE = DATA + 64
STRING = 0x100000
BEHIND_MEMORY = STACK_TOP + 8
LIMIT = 10_000_000


def run(caller: Program, callee: bytes, version: int = 2) -> str:
    """The text of the error, or of the cycles. The callee is cell dep 1."""
    code = caller.elf()
    deps = [make_cell(code), make_cell(callee)]
    rtx = resolve(make_transaction(), [make_cell(lock=script_for(code, version))], deps)
    try:
        return str(ScriptVerifier(make_consensus(), Chain()).verify(rtx, Env(10), LIMIT))
    except CkbError as error:
        return str(error)


def program(code: Program, *more: Segment) -> bytes:
    own = code.code()
    return make_elf(CODE, [Segment(CODE, own, PF_R | PF_X, len(own)), Segment(DATA, b"", PF_R | PF_W, 0x1000), *more])


def executable(page: int) -> Segment:
    """The page, counted from the end of the memory."""
    return Segment(STACK_TOP - page * PAGE, bytes(4), PF_R | PF_X, 4)


def passing(call: int, sizes: list[int], more: list[int] | None = None) -> Program:
    """Calls dep 1 with strings of `sizes`, which end together, and with the pointers `more`."""
    p = Program(data=bytes(0x800))
    p.load_immediate(S0, 0x7878787878787878)
    p.load_immediate(T0, STRING)
    p.load_immediate(T1, STRING + max(sizes, default=0) + 8)
    p.label("fill")
    p.word(S0 << 20 | T0 << 15 | 3 << 12 | 0x23)  # sd s0, 0(t0)
    p.addi(T0, T0, 8)
    p.branch_less(T0, T1, "fill")
    end = STRING + max(sizes, default=0) // 8 * 8 + 8
    p.set64(end, 0)
    pointers = [end - size for size in sizes] + (more or [])
    for index, pointer in enumerate(pointers):
        p.set64(TABLE + 8 * index, pointer)
    if call == EXEC:
        p.syscall(EXEC, 1, 3, 0, 0, len(pointers), TABLE)
    else:
        for offset, value in ((0, len(pointers)), (8, TABLE), (16, DATA), (24, 0)):
            p.set64(DATA + offset, value)
        p.syscall(SPAWN, 1, 3, 0, 0, DATA)
    p.exit(9)
    return p


@pytest.mark.parametrize("call", [EXEC, SPAWN])
@pytest.mark.parametrize(
    ("sizes", "more", "pages", "error"),
    [
        ([MIB], [], [], "MemOutOfStack"),
        ([MIB], [], [200], "MemWriteOnExecutablePage"),
        ([MIB], [], [1000], "MemOutOfStack"),
        ([10], [BEHIND_MEMORY], [], "MemOutOfBound"),
        ([10], [BEHIND_MEMORY], [1], "MemWriteOnExecutablePage"),
        ([10], [BEHIND_MEMORY], [2], "MemOutOfBound"),
        ([MIB], [BEHIND_MEMORY], [], "MemOutOfStack"),
        ([MIB - 1], [BEHIND_MEMORY], [], "MemOutOfBound"),
        ([MIB - 1, 2 * MIB + MIB // 2], [], [], "MemOutOfStack"),
        ([2 * MIB + MIB // 2, 2 * MIB], [], [], "MemOutOfStack"),
        ([MIB - 16, 2 * MIB + MIB // 2], [], [880], "MemWriteOnExecutablePage"),
    ],
)
def test_version_2_fails_with_what_comes_first(
    call: int, sizes: list[int], more: list[int], pages: list[int], error: str
) -> None:
    """The program is loaded, then each argument is read, stored, and measured, before the next one is read."""
    callee = program(Program(), *map(executable, pages))
    assert run(passing(call, sizes, more), callee).endswith(f"VM Internal Error: {error} }}")


@pytest.mark.parametrize("call", [EXEC, SPAWN])
def test_version_2_loads_the_program_before_it_reads_arguments(call: int) -> None:
    frozen = Segment(0x200000, b"x", PF_R, 1)
    for sizes, more in (([MIB], []), ([], [BEHIND_MEMORY])):
        assert "MemWriteOnFreezedPage" in run(passing(call, sizes, more), program(Program(), frozen, frozen))
        assert "ElfParseError" in run(passing(call, sizes, more), b"no program, as anybody can see")


def test_version_1_goes_on_with_the_arguments_above_an_executable_page() -> None:
    callee = Program()
    callee.expect(A0, 4, 1)
    callee.expect(SP, STACK_TOP - 1001, 2)
    callee.load64(S0, STACK_TOP - 1001)
    callee.expect(S0, 0x7878787878787878, 3)
    callee.load_byte(S0, STACK_TOP - 1002)
    callee.expect(S0, 0, 4)
    callee.exit(5)
    assert "error code 5 on" in run(passing(EXEC, [1000, 4000, 10]), program(callee, executable(2)), version=1)


def test_version_1_goes_on_with_the_words_above_an_executable_page() -> None:
    """The strings end 16 bytes above the page: two words go there, the last argument's address and 0."""
    callee = Program()
    callee.expect(A0, 4, 1)
    callee.expect(SP, STACK_TOP - PAGE, 2)
    callee.load64(S0, STACK_TOP - PAGE)
    callee.expect(S0, STACK_TOP - PAGE + 16, 3)
    callee.load64(S0, STACK_TOP - PAGE + 8)
    callee.expect(S0, 0, 4)
    callee.exit(5)
    caller = passing(EXEC, [1000, PAGE - 16 - 1001 - 1])
    assert "error code 5 on" in run(caller, program(callee, executable(2)), version=1)
