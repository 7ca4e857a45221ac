"""Helpers to run small programs."""

from dataclasses import dataclass

from tests.support.vm.assembler import program
from vm import Machine, create_machine
from vm.errors import VmError

LIMIT = 10_000_000


@dataclass(frozen=True)
class Outcome:
    """The state when a machine stopped. `error` is the text of the error, or None at an ecall.

    After an error the pc is not compared: a broken machine has none.
    """

    error: str | None
    cycles: int
    registers: tuple[int, ...]
    pc: int | None
    memory: bytes


def loaded(elf: bytes, version: int, engine: str, max_cycles: int = LIMIT) -> Machine:
    """A machine with a program and no arguments."""
    machine = create_machine(version, max_cycles, engine)
    machine.load_program(elf, [])
    return machine


def run_code(code: bytes, version: int, engine: str, data: bytes = b"") -> Machine:
    """Run code until its first ecall."""
    machine = loaded(program(code, data), version, engine)
    machine.run()
    return machine


def outcome(machine: Machine) -> Outcome:
    """Run until the first ecall or error, and look at everything."""
    error = None
    try:
        machine.run()
    except VmError as raised:
        error = str(raised)
    return Outcome(
        error,
        machine.cycles,
        tuple(machine.get_register(index) for index in range(32)),
        machine.pc if error is None else None,
        machine.memory.load_bytes(0, 4 << 20),
    )
