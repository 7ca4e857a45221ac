"""Programs made to hurt: every engine gives the same verdict, in bounded time and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from consensus.errors import ScriptError
from consensus.script.scheduler import MachineFactory
from consensus.script.syscalls.numbers import EXEC, MAX_VMS_SPAWNED, SPAWN, WAIT
from consensus.script.verifier import ScriptVerifier
from tests.support.builders.scripts import (
    EPOCHS,
    Chain,
    Env,
    make_cell,
    make_consensus,
    make_transaction,
    resolve,
    script_for,
)
from tests.support.vm.assembler import (
    CODE_BASE,
    DATA_BASE,
    ECALL,
    PAGE,
    branch,
    exit_with,
    half,
    imm,
    jal,
    li,
    lui,
    program,
    reg,
    store,
)
from tests.support.vm.engines import machine_factories
from vm import Machine
from vm.constants import FLAG_EXECUTABLE, FLAG_FREEZED, MEMORY_SIZE
from vm.errors import VmError

T = TypeVar("T")

FACTORIES = machine_factories()
FAST = {name: factory for name, factory in FACTORIES.items() if name != "reference"}
SECONDS = 60.0  # for what takes one or two on a quiet machine
MAX_GROWTH = 256 << 20  # bytes of resident memory

ZERO, RA, SP = 0, 1, 2
A0, A1, A2, A3, A4, A5, A7 = 10, 11, 12, 13, 14, 15, 17
CELL_DEP = 3


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Each of these tests has a limit of time and of memory."""
    started, before = time.monotonic(), resident()
    yield
    assert time.monotonic() - started < SECONDS
    assert resident() - before < MAX_GROWTH


def verdict(code: bytes, version: int, limit: int, *others: bytes) -> Callable[[MachineFactory], str]:
    """Verifies a transaction whose lock is the code, which is cell dep 0: cycles, or the error. `others` follow it."""

    def run(factory: MachineFactory) -> str:
        deps = [make_cell(data) for data in (code, *others)]
        rtx = resolve(make_transaction(), [make_cell(lock=script_for(code, version))], deps)
        verifier = ScriptVerifier(make_consensus(), Chain(), machine_factory=factory)
        try:
            return str(verifier.verify(rtx, Env(EPOCHS[2]), limit))
        except ScriptError as error:
            return str(error)

    return run


def everywhere(run: Callable[[MachineFactory], T], factories: dict[str, MachineFactory] = FACTORIES) -> T:
    """What all engines say."""
    results = {name: run(factory) for name, factory in factories.items()}
    first, *others = results.values()
    assert all(other == first for other in others), results
    return first


# Endless recursion

BARE_RECURSION = program(jal(RA, 0))
MUTUAL_RECURSION = program(jal(RA, 8) + jal(ZERO, 0) + imm("addi", 5, 5, 1) + jal(RA, -12))
STACK_RECURSION = program(imm("addi", SP, SP, -16) + store("sd", RA, SP, 8) + jal(RA, -8))


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("code", [BARE_RECURSION, MUTUAL_RECURSION], ids=["bare", "mutual"])
def test_recursion_without_end(code: bytes, version: int) -> None:
    assert "ExceededMaximumCycles" in everywhere(verdict(code, version, 200_000))
    assert "ExceededMaximumCycles" in everywhere(verdict(code, version, 70_000_000), FAST)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_recursion_until_the_stack_meets_the_code(version: int) -> None:
    assert "MemWriteOnExecutablePage" in everywhere(verdict(STACK_RECURSION, version, 70_000_000), FAST)
    assert "ExceededMaximumCycles" in everywhere(verdict(STACK_RECURSION, version, 200_000))


# All of the memory

TOUCH_ALL = (
    lui(5, DATA_BASE >> 12)
    + lui(6, MEMORY_SIZE >> 12)
    + lui(7, 1)
    + (
        store("sd", 5, 5, 0)
        + imm("ld", 8, 5, 0)
        + reg("add", 9, 9, 8)
        + reg("add", 5, 5, 7)
        + branch("bltu", 5, 6, -16)
    )
)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_each_page_touched(version: int) -> None:
    assert everywhere(verdict(program(TOUCH_ALL + exit_with()), version, 100_000)).isdecimal()


def test_pages_touched_past_the_end() -> None:
    code = TOUCH_ALL + store("sb", 5, 5, -1) + store("sb", 5, 5, 0) + exit_with()
    assert "MemOutOfBound" in everywhere(verdict(program(code), 2, 100_000))


def spawn(index: int) -> bytes:
    """Spawn a cell dep without descriptors; the process id goes to DATA_BASE + 64. The answer is in a0."""
    arguments = li(5, DATA_BASE) + store("sd", ZERO, 5, 0) + store("sd", ZERO, 5, 8)
    arguments += imm("addi", 6, 5, 64) + store("sd", 6, 5, 16) + imm("addi", 6, 5, 96) + store("sd", 6, 5, 24)
    call = li(A0, index) + li(A1, CELL_DEP) + li(A2, 0) + li(A3, 0) + imm("addi", A4, 5, 0) + li(A7, SPAWN)
    return arguments + call + ECALL


def wait_for_it() -> bytes:
    """Wait for the process that was spawned last. Its exit code goes to DATA_BASE + 128, the answer is in a0."""
    return li(5, DATA_BASE) + imm("ld", A0, 5, 64) + imm("addi", A1, 5, 128) + li(A7, WAIT) + ECALL


def test_spawned_processes_touch_each_page() -> None:
    """Each process touches all of its memory, then spawns the next and waits, until there may be no more."""
    failed = exit_with(MAX_VMS_SPAWNED)
    code = TOUCH_ALL + spawn(0) + branch("beq", A0, ZERO, 4 + len(failed)) + failed + wait_for_it() + exit_with()
    result = everywhere(verdict(program(code), 2, 70_000_000))
    assert result.isdecimal()
    assert int(result) > 17 * 100_000


# Jumps into the middle of instructions


@pytest.mark.parametrize("version", [0, 1, 2])
def test_entries_at_every_half_of_instructions(version: int) -> None:
    """lui x0 whose upper half is a compressed addi: the same bytes are two programs, entered at 400 places."""
    inner = int.from_bytes(half(0x0001 | 7 << 7 | 1 << 2), "little")  # c.addi x7, 1
    body = (0x37 | inner << 16).to_bytes(4, "little") * 200 + imm("jalr", ZERO, RA, 0)
    head = li(5, CODE_BASE + PAGE) + li(6, CODE_BASE + PAGE + 800)
    loop = imm("jalr", RA, 5, 0) + imm("addi", 5, 5, 2) + branch("bltu", 5, 6, -8)
    code = head + loop + ECALL
    code = code + bytes(PAGE - len(code)) + body

    def run(factory: MachineFactory) -> tuple[int, int]:
        machine = factory(version, 1_000_000)
        machine.load_program(program(code), [])
        machine.run()
        return machine.get_register(7), machine.cycles

    counted, _ = everywhere(run)
    # Behind one c.addi comes the lower half of the next lui, which begins another lui over the c.addi after it.
    assert counted == 200


# Code that changes


@pytest.mark.parametrize("version", [0, 1, 2])
def test_code_rewritten_between_two_executions(version: int) -> None:
    """The same addresses, again and again with other code: by exec, and by code that is mapped at run time."""

    def run(factory: MachineFactory) -> list[tuple[int, int]]:
        machine = factory(version, 10_000_000)
        seen = []
        for number in range(30):
            machine.reset()
            target = DATA_BASE + 2 * PAGE
            stub = li(6, number) + li(5, target) + imm("jalr", RA, 5, 0) + ECALL
            machine.load_program(program(stub), [])
            mapped = imm("addi", 6, 6, number) * (1 + number % 3) + imm("jalr", ZERO, RA, 0)
            machine.memory.init_pages(target, PAGE, FLAG_EXECUTABLE | FLAG_FREEZED, mapped, 0)
            machine.run()
            seen.append((machine.get_register(6), machine.cycles))
        return seen

    assert [value for value, _ in everywhere(run)] == [number * (2 + number % 3) for number in range(30)]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_programs_cannot_rewrite_code_themselves(version: int) -> None:
    own = program(li(5, CODE_BASE) + imm("ld", 6, 5, 0) + store("sd", 6, 5, 0) + exit_with())
    assert "MemWriteOnExecutablePage" in everywhere(verdict(own, version, 10_000))
    written = program(li(5, DATA_BASE) + imm("addi", 6, ZERO, 0x73) + store("sw", 6, 5, 0) + imm("jalr", ZERO, 5, 0))
    assert "MemWriteOnExecutablePage" in everywhere(verdict(written, version, 10_000))


def shifting(machine: Machine, size: int, shifts: int) -> str:
    """`size` bytes of code, entered at ever other addresses, so that its blocks never fall together; then a reset."""
    base = 4 * DATA_BASE
    loop = imm("jalr", RA, 5, 0) + imm("addi", 5, 5, 2) + branch("bltu", 5, 6, -8) + ECALL
    body = half(0x0001 | 7 << 7 | 1 << 2) * (size // 2) + imm("jalr", ZERO, RA, 0)  # c.addi x7, 1
    length = -(-len(body) // PAGE) * PAGE
    for offset in range(3):
        machine.reset()
        machine.load_program(program(li(5, base + 2 * offset) + li(6, base + 2 * (offset + shifts)) + loop), [])
        machine.memory.init_pages(base, length, FLAG_EXECUTABLE | FLAG_FREEZED, body, 0)
        try:
            machine.run()
        except VmError as error:
            return str(error)
    return f"{machine.get_register(7)} {machine.cycles}"


@pytest.mark.parametrize("version", [0, 1, 2])
def test_code_at_shifting_addresses(version: int) -> None:
    small = everywhere(lambda factory: shifting(factory(version, 10_000_000), 2_000, 20))
    assert small.split()[0] == str(sum(1_000 - 2 - shift for shift in range(20)))
    large = everywhere(lambda factory: shifting(factory(version, 100_000_000), 600_000, 40), FAST)
    assert large.split()[0] == str(sum(300_000 - 2 - shift for shift in range(40)))


# Processes without end


def exec_self() -> bytes:
    """Replace the program by cell dep 0."""
    arguments = li(A0, 0) + li(A1, CELL_DEP) + li(A2, 0) + li(A3, 0) + li(A4, 0) + li(A5, 0)
    return arguments + li(A7, EXEC) + ECALL + exit_with(1)


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("touch", [b"", TOUCH_ALL], ids=["bare", "touching"])
def test_exec_without_end(version: int, touch: bytes) -> None:
    bomb = program(touch + exec_self())
    assert "ExceededMaximumCycles" in everywhere(verdict(bomb, version, 1_000_000))
    assert "ExceededMaximumCycles" in everywhere(verdict(bomb, version, 8_000_000), FAST)


def test_spawn_without_end() -> None:
    """A tree: each process spawns as many of its kind as it may, and waits for the last.

    Those that may spawn none wait for number 0, which is the first of all: in the end everybody waits.
    """
    code = spawn(0)
    bomb = program(code + branch("beq", A0, ZERO, -len(code)) + wait_for_it() + exit_with())
    assert "A deadlock situation has been reached!" in everywhere(verdict(bomb, 2, 70_000_000))


@pytest.mark.slow
def test_processes_that_end_at_once_without_end() -> None:
    loop = spawn(1) + wait_for_it()
    bomb, child = program(loop + jal(ZERO, -len(loop))), program(TOUCH_ALL + exit_with())
    assert "ExceededMaximumCycles" in everywhere(verdict(bomb, 2, 4_000_000, child))
    assert "ExceededMaximumCycles" in everywhere(verdict(bomb, 2, 40_000_000, child), FAST)
