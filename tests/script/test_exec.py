"""Exec in VM 1 (at once, in the same machine) and in VM 2 (by the scheduler): RFC 34, RFC 50."""

from __future__ import annotations

import pytest

from consensus.errors import CkbError
from consensus.script.verifier import ScriptVerifier
from consensus.types.core import ResolvedTransaction
from tests.support.builders.scripts import (
    Chain,
    Env,
    make_cell,
    make_consensus,
    make_output,
    make_transaction,
    resolve,
    script_for,
)
from tests.support.vm.assembler import PF_R, PF_X, Segment
from tests.support.vm.script_programs import CODE, DATA, S0, S1, Program, make_elf
from vm.registers import A0, SP

EXEC, CURRENT_CYCLES = 2043, 2042
GROUP = 1 << 56
NO_LIMIT = (1 << 64) - 1
STACK_TOP = 4 << 20


def run(rtx: ResolvedTransaction, limit: int = NO_LIMIT) -> int | str:
    try:
        return ScriptVerifier(make_consensus(), Chain()).verify(rtx, Env(10), limit)
    except CkbError as error:
        return str(error)


def calling(version: int, caller: Program, callee: bytes, witnesses: list[bytes] | None = None) -> ResolvedTransaction:
    """The caller is cell dep 0 and the lock, the callee is cell dep 1."""
    code = caller.elf()
    return resolve(
        make_transaction(witnesses=witnesses or []),
        [make_cell(lock=script_for(code, version))],
        [make_cell(code), make_cell(callee)],
    )


def exiting(code: int) -> bytes:
    program = Program()
    program.exit(code)
    return program.elf()


def exec_and_return_a0(index: int, source: int, place: int, bounds: int, argc: int = 0, argv: int = 0) -> Program:
    """Exits with what exec answers, if it answers."""
    program = Program()
    program.syscall(EXEC, index, source, place, bounds, argc, argv)
    program.exit_with_a0()
    return program


@pytest.mark.parametrize("version", [1, 2])
def test_the_new_program_decides(version: int) -> None:
    caller = exec_and_return_a0(1, 3, 0, 0)
    assert "error code 42 on" in str(run(calling(version, caller, exiting(42))))
    assert isinstance(run(calling(version, caller, exiting(0))), int)


def test_version_0_has_no_exec() -> None:
    assert "InvalidEcall(2043)" in str(run(calling(0, exec_and_return_a0(1, 3, 0, 0), exiting(0))))


@pytest.mark.parametrize("version", [1, 2])
def test_the_new_program_starts_with_a_new_machine(version: int) -> None:
    callee = Program()
    callee.expect(S0, 0, 1)
    callee.expect(SP, STACK_TOP - 16, 2)
    callee.load64(S1, DATA + 0x2000)
    callee.expect(S1, 0, 3)
    callee.exit(0)
    caller = Program()
    caller.load_immediate(S0, 5)
    caller.set64(DATA + 0x2000, 77)
    caller.set64(STACK_TOP - 16, 77)
    caller.syscall(EXEC, 1, 3, 0, 0, 0, 0)
    caller.exit(9)
    assert isinstance(run(calling(version, caller, callee.elf())), int)


@pytest.mark.parametrize("version", [1, 2])
def test_arguments_are_copied_to_the_new_stack(version: int) -> None:
    callee = Program()
    callee.load64(S0, STACK_TOP - 48)
    callee.expect(S0, 2, 1)  # argc at sp
    callee.expect(SP, STACK_TOP - 48, 2)
    callee.load64(S0, STACK_TOP - 8)
    callee.expect(S0, int.from_bytes(b"abc\0one\0", "little"), 3)
    callee.exit(0)
    caller = Program(data=b"one\0abc\0")
    caller.set64(DATA + 16, DATA)
    caller.set64(DATA + 24, DATA + 4)
    caller.syscall(EXEC, 1, 3, 0, 0, 2, DATA + 16)
    caller.exit(9)
    assert isinstance(run(calling(version, caller, callee.elf())), int), run(calling(version, caller, callee.elf()))


@pytest.mark.parametrize("version", [1, 2])
def test_cycles_go_on(version: int) -> None:
    """75 000 more in version 2; then the price of loading."""
    callee = Program()
    callee.syscall(CURRENT_CYCLES)
    callee.exit(0)
    code = callee.elf()
    rtx = calling(version, exec_and_return_a0(1, 3, 0, 0), code)
    total = run(rtx)
    assert isinstance(total, int)
    code_size, stack = len(callee.code()), 16
    alone = run(resolve(make_transaction(), [make_cell(lock=script_for(code, version))], [make_cell(code)]))
    assert isinstance(alone, int)
    caller = exec_and_return_a0(1, 3, 0, 0)
    caller_bytes = len(caller.code())
    before = (caller_bytes + 16) // 4 + 7 + 500
    loading = -(-code_size // 4) + stack // 4 if version == 1 else -(-(code_size + stack) // 4)
    extra = 75_000 if version == 2 else 0
    assert total == before + extra + loading + (alone - -(-(code_size + stack) // 4))


ANSWERS = [
    # index, source, place, bounds: VM 1, VM 2
    ((2, 3, 0, 0), "error code 1 on", "SnapshotDataLoadError"),
    ((1, 4, 0, 0), "error code 1 on", "error code 1 on"),
    ((1, GROUP | 3, 0, 0), "error code 1 on", "error code 1 on"),
    ((0, 3, 1, 0), "error code 1 on", "error code 1 on"),
    ((0, 1, 1, 0), "error code 1 on", "SnapshotDataLoadError"),
    ((1 << 32, 3, 0, 0), "error code 1 on", "error code 1 on"),
    ((1, 9, 0, 0), "SourceEntry parse_from_u64 9", "error code 1 on"),
    ((1, 3, 2, 0), "Place parse_from_u64 2", "error code 1 on"),
    ((1, 2 << 56 | 3, 0, 0), "success", "error code 1 on"),
    ((1, 3, 0, 1 << 62), "error code 3 on", "ElfParseError"),
    ((1, 3, 0, 0xFFFF_FFFF), "error code 3 on", "success"),
    ((1, 3, 0, 1), "MemWriteOnExecutablePage", "ElfParseError"),
    ((0, 1, 0, 0), "error code 3 on", "ElfParseError"),  # a cell without data
]


@pytest.mark.parametrize(("arguments", "in_version_1", "in_version_2"), ANSWERS)
def test_programs_that_are_not_there(
    arguments: tuple[int, int, int, int], in_version_1: str, in_version_2: str
) -> None:
    for version, expected in ((1, in_version_1), (2, in_version_2)):
        result = run(calling(version, exec_and_return_a0(*arguments), exiting(0)))
        assert (expected in str(result)) if expected != "success" else isinstance(result, int), (version, result)


def test_a_program_out_of_an_output_and_out_of_a_witness_with_bounds() -> None:
    callee = exiting(0)
    witness = b"padding" + callee + b"tail"
    for version in (1, 2):
        caller = exec_and_return_a0(0, 1, 1, 7 << 32 | len(callee))
        assert isinstance(run(calling(version, caller, b"", [witness])), int)
        caller_code = exec_and_return_a0(0, 2, 0, 0).elf()
        transaction = make_transaction(outputs=[make_output()], outputs_data=[callee])
        rtx = resolve(transaction, [make_cell(lock=script_for(caller_code, version))], [make_cell(caller_code)])
        assert isinstance(run(rtx), int)


def string_caller(sizes: list[int]) -> Program:
    """Calls with strings of these sizes, all cut from one run of x at 3 MiB downwards (the stack is above)."""
    program = Program()
    base = 0x100000
    end = base + max(sizes)
    # Fill [base, end) eight bytes at a time, with a loop.
    program.load_immediate(5, base)
    program.load_immediate(6, end)
    program.load_immediate(7, int.from_bytes(b"x" * 8, "little"))
    program.label("fill")
    program.word(7 << 20 | 5 << 15 | 3 << 12 | 0x23)  # sd t2, 0(t0)
    program.addi(5, 5, 8)
    program.branch_less(5, 6, "fill")
    program.set64(end - end % 8, 0)
    for number, size in enumerate(sizes):
        program.set64(DATA + 8 * number, end - end % 8 - size)
    program.syscall(EXEC, 1, 3, 0, 0, len(sizes), DATA)
    program.exit(9)
    return program


def test_version_1_limits_arguments_to_one_mib_with_8_bytes_for_each() -> None:
    mib = 1 << 20
    too_long = run(calling(1, string_caller([mib - 8 + 1 + 7]), exiting(0)))
    assert 'Unexpected("@@@VM@@@UNEXPECTED@@@ARGV@@@TOOLONG@@@")' in str(too_long)


def test_version_1_goes_on_with_wrong_format_at_the_entry_when_the_stack_is_too_small() -> None:
    """Within the limit of arguments, but with argc and pointers more than the stack: a0 is 4, sp is below it."""
    callee = Program()
    callee.expect(A0, 4, 1)
    callee.exit(5)
    size = (1 << 20) - 8
    assert "error code 5 on" in str(run(calling(1, string_caller([size]), callee.elf())))
    assert "MemOutOfStack" in str(run(calling(2, string_caller([size]), callee.elf())))


@pytest.mark.parametrize("version", [1, 2])
def test_many_small_arguments(version: int) -> None:
    callee = Program()
    callee.load64(S0, 0)
    callee.exit(0)
    caller = Program(data=b"\0" * 8)
    caller.syscall(EXEC, 1, 3, 0, 0, 1000, DATA + 8)
    caller.exit(9)
    # All pointers are 0, where the memory is zero too: a thousand empty strings.
    assert isinstance(run(calling(version, caller, callee.elf())), int)


@pytest.mark.parametrize("version", [1, 2])
def test_a_hostile_count_of_arguments_ends_soon(version: int) -> None:
    caller = Program()
    caller.syscall(EXEC, 1, 3, 0, 0, (1 << 64) - 1, DATA)
    caller.exit(9)
    result = str(run(calling(version, caller, exiting(0))))
    assert "TOOLONG" in result or "MemOutOfStack" in result or "MemOutOfBound" in result


def test_version_1_runs_on_at_address_0_when_a_later_segment_cannot_be_loaded() -> None:
    """The first segment is loaded, at address 0; the second overlaps it, which is refused. a0 is 4, pc is 0."""
    first = Program()
    first.expect(A0, 4, 1)
    first.exit(6)
    code = first.code()
    callee = make_elf(CODE, [Segment(0, code, PF_R | PF_X, len(code)), Segment(0, code, PF_R | PF_X, len(code))])
    assert "error code 6 on" in str(run(calling(1, exec_and_return_a0(1, 3, 0, 0), callee)))
    assert "MemWriteOnFreezedPage" in str(run(calling(2, exec_and_return_a0(1, 3, 0, 0), callee)))


@pytest.mark.parametrize(("sizes", "sp"), [([4000, 5000], 0x400000 - 4001), ([3000] * 5, 0x400000 - 3001)])
def test_version_1_goes_on_with_the_stack_as_far_as_it_was_laid_out(sizes: list[int], sp: int) -> None:
    """The new program's code lies where its arguments should go; after the failure sp is behind the last that fit."""
    callee = Program()
    callee.expect(A0, 4, 1)
    callee.expect(SP, sp, 2)
    callee.exit(0)
    code = callee.code()
    elf = make_elf(0x3FE000, [Segment(0x3FE000, code, PF_R | PF_X, len(code))])
    assert isinstance(run(calling(1, string_caller(sizes), elf)), int)
