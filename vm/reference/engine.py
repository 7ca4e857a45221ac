"""The run loop of the reference engine."""

from collections.abc import Sequence
from typing import Final

from vm.constants import MEMORY_SIZE, PAGE_COUNT, STATE_WORDS, U64_MASK, VERSION2
from vm.errors import MemOutOfBound, Unexpected
from vm.isa.block import Block, decode_block
from vm.isa.profile import Isa
from vm.isa.table import CODE
from vm.memory import Memory
from vm.reference import atomic, bitmanip, carry, control, integer, load_store, multiply
from vm.reference.core import Core, semantics_table

_MODULES: Final = (atomic, bitmanip, carry, control, integer, load_store, multiply)  # they fill the table of semantics
SEMANTICS: Final = semantics_table()
"""The meaning of every instruction, by code."""
_ECALL: Final = CODE["ecall"]

SLOT_COUNT: Final = 8192


def block_slot(pc: int) -> int:
    """Where the block at `pc` is cached. Observable before version 2, see `ReferenceMachine._block_at`."""
    return pc >> 2 & (SLOT_COUNT - 1)


class ReferenceMachine(Core):
    """Decodes a block, charges it, executes its instructions one by one. Follows `vm.machine.Machine`."""

    def __init__(self, version: int, max_cycles: int, isa: Isa = Isa.CKB) -> None:
        memory = Memory(bytearray(MEMORY_SIZE), bytearray(PAGE_COUNT))
        super().__init__(version, max_cycles, [0] * STATE_WORDS, memory)
        self.isa = isa
        self._blocks: dict[int, Block] = {}
        self._slots = [0] * SLOT_COUNT  # 1 + address of the block that was entered last in each slot

    def reset(self, overwritten: Sequence[slice] = ()) -> None:
        """As `vm.machine.Machine.reset`; decoded blocks are forgotten too."""
        super().reset(overwritten)
        self._blocks.clear()
        self._slots = [0] * SLOT_COUNT

    def run(self) -> None:
        """As `vm.machine.Machine.run`."""
        while not self._run_block():
            pass

    def _run_block(self) -> bool:
        """Run the block at pc. Whether it ended with an ecall."""
        block = self._block_at(self.pc)
        # Frozen behaviour: a block's length is kept in 8 bits. Fused instructions can make a block longer; then
        # everything that is relative to its end, and what follows it, lies 256 bytes lower.
        length = block.length & 0xFF
        if length == 0:
            raise Unexpected("a block of 256 bytes is never entered")
        self.add_cycles(block.cost)
        self.pc = (self.pc + length) & U64_MASK
        self._execute(block)
        return block.instructions[-1].op == _ECALL

    def _execute(self, block: Block) -> None:
        """The instructions of a block that is charged already; pc points behind it."""
        for instruction in block.instructions:
            SEMANTICS[instruction.op](self, instruction)

    def _block_at(self, pc: int) -> Block:
        if pc < MEMORY_SIZE:
            block = self._decoded(pc)
            self._slots[block_slot(pc)] = pc + 1
            return block
        # Frozen behaviour of versions 0 and 1: blocks are cached by the low half of their address, so a jump far
        # outside of the memory runs the block with the same low half if it happens to be cached.
        low = pc & 0xFFFF_FFFF
        if self.version < VERSION2 and self._slots[block_slot(pc)] == low + 1:
            return self._decoded(low)
        raise MemOutOfBound

    def _decoded(self, pc: int) -> Block:
        block = self._blocks.get(pc)
        if block is None:
            block = self._blocks[pc] = decode_block(self.memory, pc, self.version, self.isa)
        return block
