"""Observers that write text: every instruction, or the registers at breakpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ckb_node.runtime.errors import CommandError
from vm.isa.text import instruction_text
from vm.machine import Machine
from vm.reference.tracing import Step
from vm.registers import ABI_NAMES
from vm.symbols import SymbolTable, read_symbols

Write = Callable[[str], object]
"""Takes text as it comes, line ends included."""

_MAX_ADDRESS = 1 << 64
_REGISTERS_A_LINE = 4


@dataclass
class Budget:
    """How many lines or register dumps may still be written, by all processes of all groups together."""

    limit: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.limit

    def take(self) -> bool:
        """Whether there is room for one more entry."""
        self.left -= 1
        return self.left >= 0


class Tracer:
    """Writes a line for each instruction: cycles before it, address, function, text, registers that changed."""

    def __init__(self, process: int, write: Write, budget: Budget) -> None:
        self._process, self._write, self._budget = process, write, budget
        self._symbols = SymbolTable([])
        self._registers: list[int] = []
        self._line: str | None = None  # begun, while its instruction runs

    def loaded(self, machine: Machine, program: bytes) -> None:
        self._symbols = read_symbols(program)

    def before(self, machine: Machine, step: Step) -> None:
        if self._budget.take():
            text = instruction_text(step.instruction, step.pc)
            place = self._symbols.place(step.pc)
            self._line = f"{self._process} {step.cycles:>9} {step.pc:#08x} {place:<24} {text:<28}"
            self._registers = registers_of(machine)
        elif self._budget.left == -1:
            self._write(f"... the trace ends after {self._budget.limit} instructions\n")

    def after(self, machine: Machine, step: Step) -> None:
        if self._line is None:
            return
        pairs = enumerate(zip(registers_of(machine), self._registers, strict=True))
        changes = [f"{ABI_NAMES[index]}={new:#x}" for index, (new, old) in pairs if new != old]
        self._end_line(" ".join(changes))

    def charged(self, machine: Machine, cycles: int) -> None:
        pass

    def finish(self) -> None:
        """The run is over: write what is left of an instruction that failed."""
        if self._line is not None:
            self._end_line("failed")

    def _end_line(self, rest: str) -> None:
        self._write(f"{self._line} {rest}".rstrip() + "\n")
        self._line = None


class Breakpoints:
    """What the user asked for, and whether it was ever found."""

    def __init__(self, places: Sequence[str]) -> None:
        self._fixed = {address: place for place in places if (address := _address(place)) is not None}
        self._names = [place for place in places if _address(place) is None]
        self._found: set[str] = set()

    def resolve(self, symbols: SymbolTable) -> dict[int, str]:
        """Address → what the user calls it, in one program."""
        resolved = dict(self._fixed)
        for name in self._names:
            for address in symbols.addresses(name):
                resolved[address] = name
                self._found.add(name)
        return resolved

    @property
    def not_found(self) -> list[str]:
        """Names that no program so far has."""
        return [name for name in self._names if name not in self._found]


class BreakpointPrinter:
    """Writes all registers when an instruction at a breakpoint is about to run."""

    def __init__(self, process: int, breakpoints: Breakpoints, write: Write, budget: Budget) -> None:
        self._process, self._breakpoints, self._write, self._budget = process, breakpoints, write, budget
        self._symbols = SymbolTable([])
        self._addresses: dict[int, str] = breakpoints.resolve(self._symbols)

    def loaded(self, machine: Machine, program: bytes) -> None:
        self._symbols = read_symbols(program)
        self._addresses = self._breakpoints.resolve(self._symbols)

    def before(self, machine: Machine, step: Step) -> None:
        # Fused instructions run as one step: a breakpoint within them stops before the first.
        for address in range(step.pc, step.pc + step.instruction.length, 2):
            if address in self._addresses and self._budget.take():
                self._print(machine, step, self._addresses[address])

    def after(self, machine: Machine, step: Step) -> None:
        pass

    def charged(self, machine: Machine, cycles: int) -> None:
        pass

    def _print(self, machine: Machine, step: Step, name: str) -> None:
        place = self._symbols.place(step.pc)
        lines = [f"break {name}: process {self._process}, {step.cycles} cycles, pc {step.pc:#x} {place}"]
        cells = [f"{name:>4} {value:#018x}" for name, value in zip(ABI_NAMES, registers_of(machine), strict=True)]
        lines += [" ".join(cells[at : at + _REGISTERS_A_LINE]) for at in range(0, len(cells), _REGISTERS_A_LINE)]
        self._write("\n".join(lines) + "\n")


def registers_of(machine: Machine) -> list[int]:
    """All registers."""
    return [machine.get_register(index) for index in range(len(ABI_NAMES))]


def _address(place: str) -> int | None:
    """The number of `0x…`; None for a name. CommandError if it is no address."""
    if not place.lower().startswith("0x"):
        return None
    try:
        address = int(place, 16)
    except ValueError:
        raise CommandError(f"--break {place[:80]}: no hexadecimal address") from None
    if address >= _MAX_ADDRESS:
        raise CommandError(f"--break {place[:80]}: an address has at most 64 bits")
    return address
