"""Exec: replace the running program by another (RFC 34), as VM version 1 does it at once and version 2 by scheduler."""

from __future__ import annotations

from consensus.script.context import (
    CELL_DATA,
    CELL_DEP,
    GROUP_INPUT,
    GROUP_OUTPUT,
    INPUT,
    OUTPUT,
    WITNESS,
    Program,
)
from consensus.script.errors import ARGV_TOO_LONG_TEXT
from consensus.script.process import ExecRequest, Process
from consensus.script.syscalls.numbers import (
    INDEX_OUT_OF_BOUND,
    SLICE_OUT_OF_BOUND,
    WRONG_FORMAT,
    transfer_cycles,
)
from consensus.script.syscalls.partial import parse_source
from vm.errors import External, Unexpected, VmError
from vm.machine import Machine
from vm.registers import A0, A1, A2, A3, A4, A5

_U32_MAX = 0xFFFF_FFFF
_POINTER_SIZE = 8
_PROGRAM_SOURCES = frozenset(
    {(source, CELL_DATA) for source in (INPUT, OUTPUT, CELL_DEP, GROUP_INPUT, GROUP_OUTPUT)}
    | {(source, WITNESS) for source in (INPUT, OUTPUT, GROUP_INPUT, GROUP_OUTPUT)}
)


def exec_v1(process: Process) -> int | None:
    """a0 index, a1 source, a2 place, a3 offset << 32 | length, a4 argc, a5 argv.

    When it works the new program runs on in the same machine, which is otherwise as new. When the program cannot be
    loaded the old one is gone already: the machine goes on with WRONG_FORMAT in a0, at the entry if the stack was at
    fault, else at address 0.
    """
    machine = process.machine
    index, source = machine.get_register(A0), parse_source(machine.get_register(A1))
    place = machine.get_register(A2)
    if place not in {CELL_DATA, WITNESS}:
        raise External(f"Place parse_from_u64 {place}")
    data = process.context.data_at(source, index, place)
    if data is None:
        return INDEX_OUT_OF_BOUND
    offset, length = machine.get_register(A3) >> 32, machine.get_register(A3) & _U32_MAX
    if offset >= len(data) or offset + length > len(data):
        return SLICE_OUT_OF_BOUND
    program = Program(source, index, place, offset, length)
    args = machine.memory.gather_arguments(machine.get_register(A4), machine.get_register(A5), each=_POINTER_SIZE)
    if isinstance(args, int):
        raise Unexpected(ARGV_TOO_LONG_TEXT)
    try:
        elf, metadata = process.context.load(program, machine.version)
    except VmError:
        machine.reset()
        return WRONG_FORMAT
    machine.reset_for(metadata, args)
    try:
        machine.add_cycles_unchecked(transfer_cycles(machine.load_metadata(elf, metadata)))
        machine.add_cycles_unchecked(transfer_cycles(machine.initialize_stack(args)))
    except VmError:
        return WRONG_FORMAT
    return None


def exec_v2(process: Process) -> ExecRequest | int:
    """Arguments as in `exec_v1`. A program that cannot be loaded is the end of the script."""
    machine = process.machine
    program = program_at(machine, machine.get_register(A1))
    if program is None:
        return INDEX_OUT_OF_BOUND
    return ExecRequest(program, machine.get_register(A4), machine.get_register(A5))


def program_at(machine: Machine, source: int) -> Program | None:
    """The program that a0 index, a2 place and a3 bounds name; None if there can be no such program."""
    index, place, bounds = machine.get_register(A0), machine.get_register(A2), machine.get_register(A3)
    if (source, place) not in _PROGRAM_SOURCES or index > _U32_MAX:
        return None
    return Program(source, index, place, offset=bounds >> 32, length=bounds & _U32_MAX)
