"""Sizes and flags of the machine (RFC 3: CKB-VM)."""

from typing import Final

VERSION0: Final = 0  # RFC 3, mainnet launch: hash type `data`
VERSION1: Final = 1  # RFC 33: hash type `data1`; B extension and macro-op fusion, bugs of version 0 fixed
VERSION2: Final = 2  # RFC 49: hash type `data2`; more fusion, bugs of version 1 fixed
VERSIONS: Final = (VERSION0, VERSION1, VERSION2)

REGISTER_COUNT: Final = 32
STATE_WORDS: Final = REGISTER_COUNT + 1  # what engines keep beside the memory: registers, and at
RESERVATION: Final = REGISTER_COUNT  # 1 + the address that an lr has reserved for an sc, or 0
MEMORY_SIZE: Final = 4 << 20  # bytes
PAGE_SIZE: Final = 4096  # bytes
PAGE_SHIFT: Final = 12
PAGE_COUNT: Final = MEMORY_SIZE // PAGE_SIZE
STACK_SIZE: Final = MEMORY_SIZE // 4  # bytes; the stack is the top quarter of the memory
MAX_ARGUMENT_BYTES: Final = STACK_SIZE  # that a program passes to another; what counts depends on the system call
MAX_ARGUMENTS: Final = MAX_ARGUMENT_BYTES // 8  # the pointers of more exceed the stack

FLAG_FREEZED: Final = 0b001  # may not be initialised again; says nothing about stores
FLAG_EXECUTABLE: Final = 0b010  # the W^X bit: set = may be executed, clear = may be written
FLAG_DIRTY: Final = 0b100  # has been written; a page without any of these three holds zeros only
# In place of FLAG_DIRTY, which each store sets again: what is known of the page still holds.
FLAG_SEEN: Final = 0b1000  # not written since `Memory.has_zero_word` has looked at it
FLAG_COPIED: Final = 0b10000  # not written since `Memory.store_again` has filled it
FLAGS_WRITTEN: Final = FLAG_DIRTY | FLAG_SEEN | FLAG_COPIED

U64_MASK: Final = (1 << 64) - 1
U64_MAX: Final = U64_MASK

BLOCK_LIMIT: Final = 16  # instructions (fused ones count once) that are decoded and charged together at most
