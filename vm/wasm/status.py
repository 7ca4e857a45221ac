"""Why the interpreter returned."""

from enum import IntEnum


class Status(IntEnum):
    """Why generated code returns to the host."""

    OK = 0  # never returned: within generated code, "go on"
    ECALL = 1
    CYCLES = 2  # the block at pc would exceed the limit
    OUT_OF_BOUND = 3
    PERMISSION = 4  # a store to an executable page, or a fetch from one that is not
    INVALID_INSTRUCTION = 5
    STALLED = 6  # a block of exactly 256 bytes
