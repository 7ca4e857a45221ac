"""The type script of a token: whoever the args name may mint, others only pass on (RFC 25 "Simple UDT")."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.vm.script_programs import DATA, S0, T0, T1, Program
from vm.registers import A0, A7, ZERO

LOAD_SCRIPT, LOAD_CELL_BY_FIELD, LOAD_CELL_DATA = 2052, 2081, 2092
INPUT, GROUP_INPUT, GROUP_OUTPUT = 1, 1 << 56 | 1, 1 << 56 | 2
LOCK_HASH = 3
ARGS_IN_SCRIPT = 53
"""Where the args of a serialised script begin."""
AMOUNT_SIZE = 16

LENGTH, ARGS, BUFFER = DATA, DATA + 8, DATA + 64
DIFFERENCE = 18
SPENT, MADE = (19, 20), (21, 22)
"""Registers of the low and high half of a sum."""
NO_AMOUNT, TOO_MUCH = 1, 2


def token_code() -> bytes:
    """An ELF file."""
    program = _Token()
    program.set64(LENGTH, 32)
    program.syscall(LOAD_SCRIPT, ARGS, LENGTH, ARGS_IN_SCRIPT)
    program.for_each("owner", 32, LOAD_CELL_BY_FIELD, INPUT, program.exit_if_owner)
    program.for_each("spent", AMOUNT_SIZE, LOAD_CELL_DATA, GROUP_INPUT, lambda: program.add_amount("spent", SPENT))
    program.for_each("made", AMOUNT_SIZE, LOAD_CELL_DATA, GROUP_OUTPUT, lambda: program.add_amount("made", MADE))
    program.branch_less(SPENT[1], MADE[1], "more")
    program.branch_less(MADE[1], SPENT[1], "enough")
    program.branch_less(SPENT[0], MADE[0], "more")
    program.label("enough")
    program.exit(0)
    program.label("more")
    program.exit(TOO_MUCH)
    return program.elf()


class _Token(Program):
    def for_each(self, name: str, size: int, number: int, source: int, use: Callable[[], None]) -> None:
        """`use` what the system call loads to BUFFER, up to `size` bytes, of each cell of the source; s0 counts."""
        self.load_immediate(S0, 0)
        self.label(name)
        self.set64(LENGTH, size)
        for register, value in enumerate((BUFFER, LENGTH, 0, None, source, LOCK_HASH), start=A0):
            if value is not None:
                self.load_immediate(register, value)
        self.addi(A0 + 3, S0, 0)
        self.load_immediate(A7, number)
        self.word(0x73)
        self.load_immediate(T0, 1)
        self._branch_equal(A0, T0, f"{name} end")
        use()
        self.addi(S0, S0, 1)
        self.jump(name)
        self.label(f"{name} end")

    def exit_if_owner(self) -> None:
        """Exit with success if BUFFER holds the hash of ARGS."""
        self.load_immediate(DIFFERENCE, 0)
        for at in range(0, 32, 8):
            self.load64(T0, BUFFER + at)
            self.load64(T1, ARGS + at)
            self._register(T0, T0, T1, 4)  # xor
            self._register(DIFFERENCE, DIFFERENCE, T0, 6)  # or
        self._branch_equal(DIFFERENCE, ZERO, "enough")

    def add_amount(self, name: str, total: tuple[int, int]) -> None:
        """Add the u128 at BUFFER to a sum, which wraps around beyond 128 bits."""
        low, high = total
        self.load64(T0, LENGTH)
        self.load_immediate(T1, AMOUNT_SIZE - 1)
        self.branch_less(T1, T0, f"{name} has amount")
        self.exit(NO_AMOUNT)
        self.label(f"{name} has amount")
        self.load64(T0, BUFFER)
        self._register(low, low, T0, 0)
        self._register(T1, low, T0, 3)  # sltu: the carry
        self.load64(T0, BUFFER + 8)
        self._register(high, high, T0, 0)
        self._register(high, high, T1, 0)

    def _register(self, rd: int, rs1: int, rs2: int, operation: int) -> None:
        self.word(rs2 << 20 | rs1 << 15 | operation << 12 | rd << 7 | 0x33)
