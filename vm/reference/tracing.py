"""The reference engine with somebody who watches: for traces, breakpoints and profiles."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from vm.constants import U64_MASK
from vm.elf import ProgramMetadata
from vm.isa.block import Block
from vm.isa.instruction import Instruction
from vm.isa.table import OPS
from vm.machine import Machine
from vm.reference.engine import SEMANTICS, ReferenceMachine


class Step(NamedTuple):
    """One instruction, single or fused, at its address.

    `cycles`: what the machine had used before it since it was made, loading and system calls included. Unlike
    `machine.cycles`, which is charged by blocks and which a scheduler may set back, this counts by instructions.
    """

    pc: int
    instruction: Instruction
    cycles: int


class Observer(Protocol):
    """Watches one machine. Must not change it.

    While a step is observed `machine.pc` points behind the block of the step, or, after a jump, to its target.
    """

    def loaded(self, machine: Machine, program: bytes) -> None:
        """The machine holds this ELF file now, and nothing else."""
        ...

    def before(self, machine: Machine, step: Step) -> None:
        """A step begins."""
        ...

    def after(self, machine: Machine, step: Step) -> None:
        """A step is done. Never called for one that failed."""
        ...

    def charged(self, machine: Machine, cycles: int) -> None:
        """Cycles were charged for something other than instructions: loading, system calls."""
        ...


class Observers:
    """Several observers as one, asked in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def loaded(self, machine: Machine, program: bytes) -> None:
        """As `Observer.loaded`."""
        for observer in self._observers:
            observer.loaded(machine, program)

    def before(self, machine: Machine, step: Step) -> None:
        """As `Observer.before`."""
        for observer in self._observers:
            observer.before(machine, step)

    def after(self, machine: Machine, step: Step) -> None:
        """As `Observer.after`."""
        for observer in self._observers:
            observer.after(machine, step)

    def charged(self, machine: Machine, cycles: int) -> None:
        """As `Observer.charged`."""
        for observer in self._observers:
            observer.charged(machine, cycles)


class TracingMachine(ReferenceMachine):
    """Gives the results of `ReferenceMachine`, and tells an observer of every step."""

    def __init__(self, version: int, max_cycles: int, observer: Observer) -> None:
        super().__init__(version, max_cycles)
        self._observer = observer
        self._used = 0  # cycles as Step.cycles counts them

    def load_metadata(self, elf: bytes, metadata: ProgramMetadata) -> int:
        """As `vm.machine.Machine.load_metadata`; the observer is told."""
        size = super().load_metadata(elf, metadata)
        self._observer.loaded(self, elf)
        return size

    def add_cycles_unchecked(self, cycles: int) -> None:
        """As `vm.machine.Machine.add_cycles_unchecked`; the observer is told."""
        super().add_cycles_unchecked(cycles)
        self._used += cycles
        self._observer.charged(self, cycles)

    def _execute(self, block: Block) -> None:
        pc = (self.pc - (block.length & 0xFF)) & U64_MASK  # see _run_block
        for instruction in block.instructions:
            step = Step(pc, instruction, self._used)
            self._observer.before(self, step)
            SEMANTICS[instruction.op](self, instruction)
            self._used += OPS[instruction.op].cost
            self._observer.after(self, step)
            pc += instruction.length
