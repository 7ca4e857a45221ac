"""System calls that read cells (RFC 9)."""

from __future__ import annotations

from consensus.script.context import CELL_DATA, Program, ScriptCell
from consensus.script.process import Process
from consensus.script.syscalls.numbers import (
    INDEX_OUT_OF_BOUND,
    ITEM_MISSING,
    SLICE_OUT_OF_BOUND,
    SUCCESS,
    transfer_cycles,
)
from consensus.script.syscalls.partial import load_partially, load_u64, parse_source, store_partially
from vm.constants import FLAG_EXECUTABLE, FLAG_FREEZED, U64_MAX
from vm.errors import External, MemOutOfBound
from vm.registers import A0, A1, A2, A3, A4, A5


def load_cell(process: Process) -> int:
    """A serialised CellOutput (a3 index, a4 source)."""
    cell = _cell(process)
    return INDEX_OUT_OF_BOUND if cell is None else load_partially(process, cell.output.raw)


def load_cell_by_field(process: Process) -> int:
    """One field of a cell (a3 index, a4 source, a5 field)."""
    cell = _cell(process)
    if cell is None:
        return INDEX_OUT_OF_BOUND
    output = cell.output
    match process.machine.get_register(A5):
        case 0:
            return load_u64(process, output.capacity)
        case 1:
            return load_partially(process, cell.data_hash)
        case 2:
            return load_partially(process, output.lock.raw)
        case 3:
            return load_partially(process, output.lock.hash)
        case 4:
            return ITEM_MISSING if output.type_ is None else load_partially(process, output.type_.raw)
        case 5:
            return ITEM_MISSING if output.type_ is None else load_partially(process, output.type_.hash)
        case 6:
            return load_u64(process, output.occupied_capacity(cell.data_size))
        case number:
            raise External(f"CellField parse_from_u64 {number}")


def load_cell_data(process: Process) -> int:
    """The data of a cell (a3 index, a4 source)."""
    cell = _cell(process)
    if cell is None:
        return INDEX_OUT_OF_BOUND
    machine = process.machine
    stored = store_partially(process, cell.data)
    process.pages.data_loaded(machine.get_register(A0), stored)
    machine.add_cycles_unchecked(transfer_cycles(stored))
    return SUCCESS


def load_cell_data_as_code(process: Process) -> int:
    """Map a part of a cell's data (a2 offset, a3 size, a4 index, a5 source) as executable pages.

    They begin at a0 and are a1 bytes long, all of which are charged; what the part does not fill is zero. They can
    never be written again.
    """
    machine = process.machine
    address, memory_size = machine.get_register(A0), machine.get_register(A1)
    offset, size = machine.get_register(A2), machine.get_register(A3)
    index, source = machine.get_register(A4), parse_source(machine.get_register(A5))
    cell = process.context.cell(source, index)
    if cell is None:
        return INDEX_OUT_OF_BOUND
    # Of an empty part no offset is inside the data, not even 0.
    data = cell.data if size else b""
    if offset + size > U64_MAX:
        raise MemOutOfBound
    if offset >= len(data) or offset + size > len(data) or size > memory_size:
        return SLICE_OUT_OF_BOUND
    content = data[offset : offset + size]
    machine.memory.init_pages(address, memory_size, FLAG_EXECUTABLE | FLAG_FREEZED, content, 0)
    process.pages.code_mapped(machine.memory, address, memory_size, Program(source, index, CELL_DATA, offset, size))
    machine.add_cycles_unchecked(transfer_cycles(memory_size))
    return SUCCESS


def _cell(process: Process) -> ScriptCell | None:
    registers = process.machine.registers
    index, source = registers[A3], parse_source(registers[A4])
    return process.context.cell(source, index)
