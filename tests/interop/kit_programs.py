"""Tiny scripts for both programs' machines: they read, map, execute and spawn."""

from __future__ import annotations

from tests.support.vm.script_programs import DATA, Program
from vm.registers import A0

LOAD_HEADER, LOAD_INPUT, EXEC, SPAWN, WAIT, CURRENT_CYCLES, VM_VERSION = 2072, 2073, 2043, 2601, 2602, 2042, 2041
CELL_DEP, HEADER_DEP, INPUT = 3, 4, 1
TMP, IDS, SPAWN_ARGS, BUFFER = DATA, DATA + 0x40, DATA + 0x80, DATA + 0x100


def exits_with(code: int) -> bytes:
    program = Program()
    program.exit(code)
    return program.elf()


def reads_header_dep() -> bytes:
    """Passes when the header of the first header dep can be read."""
    program = Program()
    program.set64(TMP, 0x200)
    program.check(LOAD_HEADER, BUFFER, TMP, 0, 0, HEADER_DEP, code=1)
    program.exit(0)
    return program.elf()


def executes(dep: int) -> bytes:
    """Becomes the program in a cell dep."""
    program = Program()
    program.syscall(EXEC, dep, CELL_DEP, 0, 0, 0, 0)
    program.exit(1)
    return program.elf()


def spawns(dep: int) -> bytes:
    """Starts the program in a cell dep and ends as that ends."""
    program = Program()
    program.set64(TMP, 0)
    for offset, value in ((0, 0), (8, 0), (16, IDS), (24, TMP)):
        program.set64(SPAWN_ARGS + offset, value)
    program.check(SPAWN, dep, CELL_DEP, 0, 0, SPAWN_ARGS, code=2)
    program.load64(A0, IDS)
    program.load_immediate(A0 + 1, BUFFER)
    program.check(WAIT, code=3)
    program.load_byte(A0, BUFFER)
    program.exit_with_a0()
    return program.elf()


def wants_version(version: int) -> bytes:
    """Passes on this version of the machine only."""
    program = Program()
    program.check(VM_VERSION, answer=version, code=4)
    program.exit(0)
    return program.elf()
