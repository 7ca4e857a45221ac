"""How system calls hand out data (RFC 9, "partial loading")."""

from __future__ import annotations

from consensus.script.context import CELL_DEP, GROUP_FLAG, HEADER_DEP, INPUT, OUTPUT
from consensus.script.process import Process
from consensus.script.syscalls.numbers import SUCCESS, transfer_cycles
from vm.errors import External
from vm.registers import A0, A1, A2

_ENTRY_MASK = GROUP_FLAG - 1
_SOURCES = frozenset({INPUT, OUTPUT, CELL_DEP, HEADER_DEP})


def load_partially(process: Process, data: bytes) -> int:
    """`store_partially`, and charge the bytes that were stored. Returns SUCCESS."""
    process.machine.add_cycles_unchecked(transfer_cycles(store_partially(process, data)))
    return SUCCESS


def store_partially(process: Process, data: bytes) -> int:
    """Store `data` from an offset (a2) at an address (a0), as many bytes as the u64 at a1 allows; returns how many.

    That u64 then tells how many there would have been. An offset behind the end counts as the end.
    """
    machine = process.machine
    memory, registers = machine.memory, machine.registers
    address, size_address = registers[A0], registers[A1]
    offset = min(registers[A2], len(data))
    size = memory.load64(size_address)
    remaining = len(data) - offset
    memory.store64(size_address, remaining)
    stored = min(size, remaining)
    memory.store_bytes(address, data[offset : offset + stored])
    return stored


def load_u64(process: Process, value: int) -> int:
    """`load_partially` for a number."""
    return load_partially(process, value.to_bytes(8, "little"))


def parse_source(value: int) -> int:
    """One of the sources of consensus.script.context. Raises External if there is no such source.

    The top byte means the group if it is exactly the flag; any other value of it means the whole transaction.
    """
    entry = value & _ENTRY_MASK
    if entry not in _SOURCES:
        raise External(f"SourceEntry parse_from_u64 {entry}")
    is_group = value & ~_ENTRY_MASK == GROUP_FLAG
    return entry | GROUP_FLAG if is_group else entry
