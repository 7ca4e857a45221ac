"""Where everything lies in the linear memory of the interpreter.

The tables of decoded code lie below the memory of the guest, the constant tables below them, so that the image of the
module stays small.
"""

from typing import Final

from vm.constants import MAX_ARGUMENT_BYTES, MEMORY_SIZE, PAGE_COUNT, PAGE_SIZE, STATE_WORDS
from vm.constants import RESERVATION as RESERVATION_INDEX
from vm.wasm.emitter import PAGE

_MIB: Final = 1 << 20

# State, shared with the host.
REGISTERS: Final = 0  # 32 x u64
RESERVATION: Final = REGISTERS + 8 * RESERVATION_INDEX  # u64, see `vm.constants`
PC: Final = REGISTERS + 8 * STATE_WORDS  # u64
REMAINING: Final = PC + 8  # u64: cycles that may still be used
FAULT_BITS: Final = REMAINING + 8  # u32: bits of an invalid instruction
FAULT_PC: Final = FAULT_BITS + 4  # u32: its address
FAULT_STATUS: Final = FAULT_PC + 4  # u32: why a block could not be decoded
ARENA_NEXT: Final = FAULT_STATUS + 4  # u32: end of the decoded blocks; 0 before the first
REFUSED_COST: Final = ARENA_NEXT + 4  # u32: the cost of the block that exceeded the limit
PARTS: Final = 512  # 5 records of single instructions, see below; then one for the result of fusion
PART_SIZE: Final = 16
# a record: op, rd, rs1, rs2, immediate i32 (fused: rs3, rs4 in its first bytes), length u32, pc u32
PART_RD, PART_RS1, PART_RS2, PART_IMM, PART_RS3, PART_RS4, PART_LENGTH, PART_PC = 1, 2, 3, 4, 4, 5, 8, 12
MAX_PARTS: Final = 5
RESULT: Final = PARTS + MAX_PARTS * PART_SIZE

FLAGS: Final = 4096  # one byte a page of the guest
ZERO_WORDS: Final = FLAGS + PAGE_COUNT  # one byte a page that has FLAG_SEEN: `vm.wasm.words`
SLOTS: Final = 8192  # u32 each: 1 + address of the block that occupies the slot (versions 0 and 1)
SLOT_COUNT: Final = 8192

# Constant tables.
COMPRESSED: Final = SLOTS + 4 * SLOT_COUNT  # 8 bytes for each 16-bit pattern
WORD_OPS: Final = COMPRESSED + 8 * 65536  # one byte for each opcode[6:2], funct3, funct7
GROUPS: Final = WORD_OPS + 32768  # 32 bytes a group: the op for each value of bits 24:20
GROUP_COUNT: Final = 8
OP_INFO: Final = GROUPS + 32 * GROUP_COUNT  # 16 bytes an op: mask u32, match u32, form u8, kind u8, cost u16, fuses u8
CONSTANTS_END: Final = OP_INFO + 16 * 256

# The words that a list may consist of, each in the slot that its hash names, and which of them occurred. See
# `vm.wasm.words`.
WORD_TABLE_BITS: Final = 12
WORD_TABLE: Final = CONSTANTS_END  # u64 each
WORD_MARKS: Final = WORD_TABLE + (8 << WORD_TABLE_BITS)  # one byte each

# Decoded code.
BLOCKS: Final = 1 * _MIB  # u32 for each even address of the guest: the decoded block, or 0
BLOCKS_ODD: Final = BLOCKS + 4 * (MEMORY_SIZE // 2)  # the same for odd addresses, which only an odd entry leads to
BLOCKS_SIZE: Final = 4 * MEMORY_SIZE  # both
BLOCKS_PAGE_SIZE: Final = 4 * (PAGE_SIZE // 2)  # of one of them for a page of the guest
ARENA: Final = BLOCKS + BLOCKS_SIZE
ARENA_SIZE: Final = 4 * _MIB  # enough for usual programs; hostile ones fill it
MAX_BLOCK_SIZE: Final = 512  # bytes that one decoded block takes at most

GUEST: Final = ARENA + ARENA_SIZE

# Arguments for another program, see `vm.wasm.arguments`. Pages are not resident before they are used.
ARGUMENT_WORDS: Final = GUEST + MEMORY_SIZE  # u64 each
ARGUMENT_STRINGS_END: Final = ARGUMENT_WORDS + 2 * MAX_ARGUMENT_BYTES + PAGE
END: Final = ARGUMENT_STRINGS_END
# While a program with many segments is loaded, its actions and then the file lie there, see `vm.wasm.segments`; below
# them a set of pages, one bit each.
PAGE_SET_SIZE: Final = PAGE_COUNT // 8
OCCUPIED_PAGES: Final = ARGUMENT_WORDS
SEGMENTS: Final = OCCUPIED_PAGES + PAGE_SET_SIZE
MEMORY_PAGES: Final = END // PAGE

# A decoded block: cost u32, pc u32, then entries of 8 bytes: op, rd * 8, rs1 * 8, rs2 * 8, immediate i32.
# Fused instructions keep rs3 * 8 and rs4 * 8 in the first bytes of the immediate. The last entry of a block is followed
# by two more i32: the address behind the block, and the address of the last instruction.
BLOCK_COST: Final = 0
BLOCK_HEADER: Final = 8
ENTRY_SIZE: Final = 8
ENTRY_RD, ENTRY_RS1, ENTRY_RS2, ENTRY_IMM = 1, 2, 3, 4
ENTRY_RS3, ENTRY_RS4 = 4, 5
ENTRY_NEXT, ENTRY_SELF = 8, 12
NO_OP: Final = 0xFF  # in place of an op: not an instruction

assert ZERO_WORDS + PAGE_COUNT <= SLOTS  # noqa: S101
assert WORD_MARKS + (1 << WORD_TABLE_BITS) <= BLOCKS  # noqa: S101
