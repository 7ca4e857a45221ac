"""System calls that read the transaction: itself, its script, inputs and witnesses (RFC 9)."""

from __future__ import annotations

from consensus.script.context import item_at
from consensus.script.process import Process
from consensus.script.syscalls.numbers import INDEX_OUT_OF_BOUND
from consensus.script.syscalls.partial import load_partially, load_u64, parse_source
from consensus.types.blockchain import CellInput
from vm.errors import External
from vm.registers import A3, A4, A5


def load_transaction(process: Process) -> int:
    """The serialised transaction with its witnesses."""
    return load_partially(process, process.context.transaction.transaction.raw)


def load_tx_hash(process: Process) -> int:
    """The transaction hash."""
    return load_partially(process, process.context.transaction.transaction.hash)


def load_script(process: Process) -> int:
    """The serialised script that runs."""
    return load_partially(process, process.context.group.script.raw)


def load_script_hash(process: Process) -> int:
    """Hash of the script that runs."""
    return load_partially(process, process.context.group.script.hash)


def load_input(process: Process) -> int:
    """A serialised CellInput (a3 index, a4 source)."""
    cell_input = _input(process)
    return INDEX_OUT_OF_BOUND if cell_input is None else load_partially(process, cell_input.raw)


def load_input_by_field(process: Process) -> int:
    """One field of a CellInput (a3 index, a4 source, a5 field)."""
    cell_input = _input(process)
    if cell_input is None:
        return INDEX_OUT_OF_BOUND
    match process.machine.get_register(A5):
        case 0:
            return load_partially(process, cell_input.previous_output.raw)
        case 1:
            return load_u64(process, cell_input.since)
        case number:
            raise External(f"InputField parse_from_u64 {number}")


def load_witness(process: Process) -> int:
    """The bytes of a witness (a3 index, a4 source)."""
    registers = process.machine.registers
    index, source = registers[A3], parse_source(registers[A4])
    witness = item_at(process.context.witnesses, source, index)
    return INDEX_OUT_OF_BOUND if witness is None else load_partially(process, witness)


def _input(process: Process) -> CellInput | None:
    registers = process.machine.registers
    index, source = registers[A3], parse_source(registers[A4])
    return item_at(process.context.inputs, source, index)
