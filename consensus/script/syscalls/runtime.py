"""System calls about the running program itself: version, cycles, debug output (RFC 9, RFC 34, RFC 50)."""

from __future__ import annotations

from consensus.script.process import Process
from consensus.script.syscalls.numbers import transfer_cycles
from vm.constants import U64_MAX
from vm.errors import CyclesOverflow, External
from vm.registers import A0


def vm_version(process: Process) -> int:
    """Version of the VM."""
    return process.machine.version


def current_cycles(process: Process) -> int:
    """Cycles that the group has used; without the cost of process switches since the last turn: this is consensus."""
    cycles = process.cycles_before + process.machine.cycles
    if cycles > U64_MAX:
        raise CyclesOverflow
    return cycles


def process_id(process: Process) -> int:
    """Id of the process; the first one of a group is 0."""
    return process.id


def debug(process: Process) -> None:
    """Print the string at a0. It must be UTF-8 even if there is no printer."""
    text = process.machine.memory.load_cstring(process.machine.get_register(A0))
    process.machine.add_cycles_unchecked(transfer_cycles(len(text)))
    try:
        message = text.decode()
    except UnicodeDecodeError as error:
        raise External(f"String from buffer {error.reason} at {error.start}") from None
    if process.context.debug is not None:
        process.context.debug(process.context.group.script.hash, message)
