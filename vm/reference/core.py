"""What the functions of single instructions work on."""

from collections.abc import Callable
from typing import Final

from vm.constants import U64_MASK
from vm.isa.instruction import Instruction
from vm.isa.table import CODE, OPS
from vm.isa.word import sign_extend
from vm.machine import MachineState

Semantics = Callable[["Core", Instruction], None]

_SEMANTICS: Final[dict[int, Semantics]] = {}


class Core(MachineState):
    """Registers, memory and pc. While a block runs, `pc` already points behind it."""

    def write(self, register: int, value: int) -> None:
        """Set a register to `value` modulo 2^64; x0 stays 0."""
        if register:
            self.registers[register] = value & U64_MASK

    def signed(self, register: int) -> int:
        """A register as a signed number."""
        return sign_extend(self.registers[register], 64)

    def signed32(self, register: int) -> int:
        """The low half of a register as a signed number."""
        return sign_extend(self.registers[register], 32)

    def unsigned32(self, register: int) -> int:
        """The low 32 bits of a register, zero-extended."""
        return self.registers[register] & 0xFFFF_FFFF


def semantics(*names: str) -> Callable[[Semantics], Semantics]:
    """Registers a function as the meaning of instructions."""

    def register(function: Semantics) -> Semantics:
        for name in names:
            _SEMANTICS[CODE[name]] = function
        return function

    return register


def semantics_table() -> tuple[Semantics, ...]:
    """The meaning of every instruction, by code. All modules of semantics must have been imported."""
    return tuple(_SEMANTICS[spec.code] for spec in OPS)
