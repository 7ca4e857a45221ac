"""Exec: replace the running program by another (RFC 34), as VM version 1 does it at once and version 2 by scheduler."""

from __future__ import annotations

import struct

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
    MAX_ARGV_BYTES,
    SLICE_OUT_OF_BOUND,
    WRONG_FORMAT,
    transfer_cycles,
)
from consensus.script.syscalls.partial import parse_source
from vm.constants import MEMORY_SIZE, U64_MASK
from vm.errors import External, Unexpected, VmError
from vm.machine import Machine
from vm.memory import Memory
from vm.registers import A0, A1, A2, A3, A4, A5

_U32_MAX = 0xFFFF_FFFF
_POINTERS_AT_ONCE = 4096
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
    data = process.group.data_at(source, index, place)
    if data is None:
        return INDEX_OUT_OF_BOUND
    offset, length = machine.get_register(A3) >> 32, machine.get_register(A3) & _U32_MAX
    if offset >= len(data) or offset + length > len(data):
        return SLICE_OUT_OF_BOUND
    program = Program(source, index, place, offset, length)
    argv = _read_argv(machine, machine.get_register(A4), machine.get_register(A5))
    machine.reset()
    try:
        elf, metadata = process.group.load(program, machine.version)
        machine.add_cycles_unchecked(transfer_cycles(machine.load_metadata(elf, metadata)))
        machine.add_cycles_unchecked(transfer_cycles(machine.initialize_stack(argv)))
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


def read_strings(memory: Memory, argc: int, argv: int, *, each: int, limit: int) -> list[bytes] | None:
    """The strings that an array of pointers names; None if they, and `each` bytes for each, exceed the limit.

    A hostile program may name one string a hundred thousand times for nothing, so work is done in bulk, and no string
    is read twice.
    """
    strings: list[bytes] = []
    known: dict[int, bytes] = {}
    total = distinct = 0
    while len(strings) < argc:
        count = min(argc - len(strings), _POINTERS_AT_ONCE)
        pointers = _read_pointers(memory, (argv + 8 * len(strings)) & U64_MASK, count)
        for pointer in dict.fromkeys(pointers):
            if pointer not in known:
                known[pointer] = memory.load_cstring(pointer)
                distinct += len(known[pointer])
                if distinct > limit:
                    return None
        batch = [known[pointer] for pointer in pointers]
        total += sum(map(len, batch)) + each * len(batch)
        if total > limit:
            return None
        strings += batch
    return strings


def _read_pointers(memory: Memory, address: int, count: int) -> tuple[int, ...]:
    """At most `count` u64, at least one: as many as lie in the memory."""
    inside = min(count, max(MEMORY_SIZE - address, 0) // 8)
    if inside == 0:
        return (memory.load64(address),)
    return struct.unpack(f"<{inside}Q", memory.load_bytes(address, 8 * inside))


def _read_argv(machine: Machine, argc: int, argv: int) -> list[bytes]:
    """The arguments, at most MAX_ARGV_BYTES with 8 bytes for each."""
    strings = read_strings(machine.memory, argc, argv, each=8, limit=MAX_ARGV_BYTES)
    if strings is None:
        raise Unexpected(ARGV_TOO_LONG_TEXT)
    return strings
