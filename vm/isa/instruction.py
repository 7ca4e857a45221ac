"""A decoded instruction."""

from typing import NamedTuple

from vm.isa.table import OPS


class Instruction(NamedTuple):
    """Operands of one instruction, single or fused.

    `op` is a code of `vm.isa.table`; registers are 0..31 and 0 where the instruction has none; `imm` is signed and
    fits 32 bits; `length` is in bytes and covers all words of a fused instruction.
    """

    op: int
    rd: int
    rs1: int
    rs2: int
    imm: int
    length: int
    rs3: int = 0
    rs4: int = 0

    @property
    def name(self) -> str:
        """Name of the op in `vm.isa.table`."""
        return OPS[self.op].name
