"""Byte offsets of serialised chain types (`blockchain.mol`, RFC 8, RFC 27): the constants that fast paths share.

Only code that was measured to need it reads or packs bytes by these; all other code uses the typed views of
`consensus.types`. Tests hold both against each other. All numbers are little endian.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

U64_MAX: Final = (1 << 64) - 1

U32: Final = Struct("<I")
"""A molecule size, offset or count."""
NUMBER_SIZE: Final = U32.size

# Fixed sizes
SHORT_ID_SIZE: Final = 10
OUT_POINT_SIZE: Final = 36
SINCE_SIZE: Final = 8
INPUT_SIZE: Final = SINCE_SIZE + OUT_POINT_SIZE
CELL_DEP_SIZE: Final = OUT_POINT_SIZE + 1
HEADER_SIZE: Final = 208
BLOCK_ENTRY_SIZE: Final = NUMBER_SIZE
"""What a transaction takes in a block besides itself: its offset."""

SHANNONS_PER_BYTE: Final = 100_000_000
"""Capacity that a byte of a cell takes."""

# Structs
RAW_HEADER: Final = Struct("<IIQQQ32s32s32s32s32s")
"""A header without its nonce, which is a u128."""
CELL_DEP: Final = Struct("<32sIB")
INPUT: Final = Struct("<Q32sI")
INPUT_FORMAT: Final = "Q36s"
"""Since and out point, for readers of many inputs."""
HEADER_DIGEST: Final = Struct("<32s32sQQQQQQII")
"""Children hash, total difficulty; number, epoch, timestamp, compact target of the first and last block each."""
DAO_FIELD: Final = Struct("<4Q")
"""The `dao` of a header: C, AR, S, U (RFC 23)."""

# Heads of tables: total size, one offset for each field, then the first fields where they have a fixed size
TRANSACTION_HEAD: Final = Struct("<III")
"""Size, offsets of body and witnesses."""
BODY_HEAD: Final = Struct("<I6I")
"""Size, offsets of version, cell deps, header deps, inputs, outputs, outputs data."""
OUTPUT_HEAD: Final = Struct("<IIIIQ")
"""Size, offsets of capacity, lock and type; the capacity."""
OUTPUT_LOCK_AND_TYPE: Final = Struct("<8xII")
"""Offsets of lock and type, from the start of an output."""
CAPACITY_SIZE: Final = 8
CAPACITY_AT: Final = OUTPUT_HEAD.size - CAPACITY_SIZE
OUTPUT_OFFSETS: Final = (CAPACITY_AT, OUTPUT_HEAD.size)
"""Of capacity and lock; that of the type depends on the lock."""
SCRIPT_HEAD: Final = Struct("<4I32sBI")
"""Size, offsets of code hash, hash type and arguments; code hash, hash type, length of the arguments."""
SCRIPT_CODE_HASH_AT, SCRIPT_HASH_TYPE_AT, SCRIPT_ARGS_AT = 16, 48, 49
SCRIPT_CONTENT_SIZE: Final = 32 + 1
"""Bytes of capacity that a script takes besides its arguments."""
SCRIPT_HEADERS: Final = SCRIPT_HEAD.size - SCRIPT_CONTENT_SIZE
"""Bytes of a serialised Script that are not its content: table head, length of the arguments."""
OUTPUT_HEADERS: Final = CAPACITY_AT + SCRIPT_HEADERS
"""Bytes of a serialised CellOutput with no type that are not its content."""

# The packed epoch field of a header: number, index << 24, length << 40 (RFC 27)
EPOCH_INDEX_SHIFT, EPOCH_LENGTH_SHIFT = 24, 40
EPOCH_NUMBER_MASK: Final = (1 << 24) - 1
EPOCH_PART_MASK: Final = (1 << 16) - 1
