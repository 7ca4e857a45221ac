"""Names of the general registers in the RISC-V calling convention."""

from typing import Final

ABI_NAMES: Final = (
    *("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *("a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"),
    *("s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"),
    *("t3", "t4", "t5", "t6"),
)

ZERO: Final = 0
RA: Final = 1
SP: Final = 2
A0: Final = 10
A1: Final = 11
A2: Final = 12
A3: Final = 13
A4: Final = 14
A5: Final = 15
A6: Final = 16
A7: Final = 17
