"""Blocks: up to 16 instructions in a row that are decoded together and charged together.

The machine decodes a whole block before it executes the first instruction of it, and charges the whole block before it
begins. So an invalid instruction at the end of a block is reported rather than a memory fault in the middle of it, and
the cycle limit is checked at the beginning of blocks only.
"""

from dataclasses import dataclass
from typing import Protocol

from vm.constants import BLOCK_LIMIT, MEMORY_SIZE, PAGE_SIZE, VERSION0
from vm.errors import InvalidInstruction, MemOutOfBound, VmError
from vm.isa.compressed import decode_half
from vm.isa.fusion import fuse
from vm.isa.instruction import Instruction
from vm.isa.profile import Isa
from vm.isa.table import OPS
from vm.isa.word import decode_word


class Code(Protocol):
    """Memory to fetch instructions from. Both methods raise as `vm.memory.Memory` does."""

    def execute_load16(self, address: int) -> int:
        """The 16 bits at an executable address."""
        ...

    def execute_load32(self, address: int) -> int:
        """The 32 bits at an executable address."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that run one after the other. `cost` is in cycles, `length` in bytes."""

    instructions: tuple[Instruction, ...]
    cost: int
    length: int


def fetch(code: Code, pc: int) -> int:
    """The 16 or 32 bits of the instruction at `pc`. Only in the last bytes of a page are the halves fetched one by
    one, so before them even a 16-bit instruction needs four executable bytes."""
    if pc % PAGE_SIZE < PAGE_SIZE - 2:
        bits = code.execute_load32(pc)
        return bits if bits & 3 == 3 else bits & 0xFFFF
    bits = code.execute_load16(pc)
    if bits & 3 == 3:
        bits |= code.execute_load16(pc + 2) << 16
    return bits


def decode_single(code: Code, pc: int, version: int, isa: Isa = Isa.CKB) -> Instruction:
    """The instruction at `pc`, unfused. Raises MemOutOfBound, MemWriteOnExecutablePage or InvalidInstruction."""
    if pc >= MEMORY_SIZE:
        raise MemOutOfBound
    bits = fetch(code, pc)
    decoded = decode_word(bits, version, isa) if bits & 3 == 3 else decode_half(bits, version)
    if decoded is None:
        raise InvalidInstruction(pc, bits)
    return decoded


def decode(code: Code, pc: int, version: int, isa: Isa = Isa.CKB) -> Instruction:
    """The instruction at `pc`, fused with what follows where the version does so. Raises as `decode_single`."""
    head = decode_single(code, pc, version, isa)
    if version == VERSION0:
        return head

    def look_ahead(address: int) -> Instruction | None:
        try:
            return decode_single(code, address, version, isa)
        except VmError:
            return None

    return fuse(head, pc, version, look_ahead)


def decode_block(code: Code, pc: int, version: int, isa: Isa = Isa.CKB) -> Block:
    """The block at `pc`. Raises as `decode_single` if any of its instructions cannot be decoded."""
    instructions: list[Instruction] = []
    cost = length = 0
    while len(instructions) < BLOCK_LIMIT:
        instruction = decode(code, pc + length, version, isa)
        spec = OPS[instruction.op]
        instructions.append(instruction)
        cost += spec.cost
        length += instruction.length
        if spec.ends_block:
            break
    return Block(tuple(instructions), cost, length)
