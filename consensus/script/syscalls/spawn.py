"""System calls of processes that talk through pipes (RFC 50). They end the turn, and the scheduler answers."""

from __future__ import annotations

from consensus.script.fds import is_read_end
from consensus.script.process import (
    CloseRequest,
    InheritedFdRequest,
    PipeRequest,
    Process,
    ReadRequest,
    SpawnRequest,
    WaitRequest,
    WriteRequest,
)
from consensus.script.syscalls.execute import program_at
from consensus.script.syscalls.numbers import (
    INDEX_OUT_OF_BOUND,
    INVALID_FD,
    SLICE_OUT_OF_BOUND,
    SPAWN_CYCLES,
    YIELD_CYCLES,
)
from consensus.script.syscalls.partial import parse_source
from vm.constants import U64_MASK
from vm.errors import MemOutOfBound
from vm.registers import A0, A1, A2, A4


def spawn(process: Process) -> SpawnRequest | int:
    """a0 index, a1 source, a2 place, a3 offset << 32 | length, a4 address of {argc, argv, process_id*, fds*}."""
    machine = process.machine
    memory = machine.memory
    program = program_at(machine, parse_source(machine.get_register(A1)))
    if program is None:
        return INDEX_OUT_OF_BOUND
    block = machine.get_register(A4)
    argc, argv, process_id_address, fds_address = (memory.load64((block + at) & U64_MASK) for at in (0, 8, 16, 24))
    # The list is read before anything is charged and may fill the memory, so only its end is searched for here.
    if fds_address and not memory.has_zero_word(fds_address):
        raise MemOutOfBound
    data = process.context.data_at(program.source, program.index, program.place)
    if data is None:
        return INDEX_OUT_OF_BOUND
    if program.offset >= len(data) or program.offset + program.length > len(data):
        return SLICE_OUT_OF_BOUND
    machine.add_cycles_unchecked(SPAWN_CYCLES + YIELD_CYCLES)
    return SpawnRequest(program, argc, argv, fds_address, process_id_address)


def wait(process: Process) -> WaitRequest:
    """a0 process id, a1 address of the exit code (one byte)."""
    machine = process.machine
    machine.add_cycles_unchecked(YIELD_CYCLES)
    return WaitRequest(machine.get_register(A0), machine.get_register(A1))


def pipe(process: Process) -> PipeRequest:
    """a0 address of two u64: the read end and the write end."""
    process.machine.add_cycles_unchecked(YIELD_CYCLES)
    return PipeRequest(process.machine.get_register(A0))


def read(process: Process) -> ReadRequest | int:
    """a0 file descriptor, a1 buffer, a2 address of its length."""
    machine = process.machine
    fd, buffer, length_address = machine.get_register(A0), machine.get_register(A1), machine.get_register(A2)
    length = machine.memory.load64(length_address)
    if not is_read_end(fd):
        return INVALID_FD
    machine.add_cycles_unchecked(YIELD_CYCLES)
    return ReadRequest(fd, length, buffer, length_address)


def write(process: Process) -> WriteRequest | int:
    """a0 file descriptor, a1 buffer, a2 address of its length."""
    machine = process.machine
    fd, buffer, length_address = machine.get_register(A0), machine.get_register(A1), machine.get_register(A2)
    length = machine.memory.load64(length_address)
    if is_read_end(fd):
        return INVALID_FD
    machine.add_cycles_unchecked(YIELD_CYCLES)
    return WriteRequest(fd, length, buffer, length_address)


def inherited_fd(process: Process) -> InheritedFdRequest:
    """a0 address of file descriptors (u64 each), a1 address of how many fit."""
    machine = process.machine
    machine.add_cycles_unchecked(YIELD_CYCLES)
    return InheritedFdRequest(machine.get_register(A0), machine.get_register(A1))


def close(process: Process) -> CloseRequest:
    """a0 file descriptor."""
    process.machine.add_cycles_unchecked(YIELD_CYCLES)
    return CloseRequest(process.machine.get_register(A0))
