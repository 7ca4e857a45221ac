"""Programs that spawn others, and their children."""

from __future__ import annotations

from tests.support.vm.script_programs import DATA, S1, Program
from vm.registers import A0

SPAWN, WAIT, PROCESS_ID, PIPE, WRITE, READ, INHERITED_FD, CLOSE = range(2601, 2609)

SUCCESS, INDEX_OUT_OF_BOUND, SLICE_OUT_OF_BOUND = 0, 1, 3

# Where the programs keep things, from DATA on.
FDS, IDS, TMP, SPAWN_ARGS, FD_LIST, BUFFER = (DATA + offset for offset in (0, 0x200, 0x300, 0x340, 0x380, 0x800))


class Child(Program):
    """What most programs here need."""

    def spawn(self, index: int, *fd_slots: int, into: int = IDS, answer: int = SUCCESS, code: int = 100) -> None:
        """Spawn cell dep `index` with the descriptors at these addresses."""
        for number, slot in enumerate(fd_slots):
            self.load64(S1, slot)
            self.store64(S1, FD_LIST + 8 * number)
        self.set64(FD_LIST + 8 * len(fd_slots), 0)
        for offset, value in ((0, 0), (8, 0), (16, into), (24, FD_LIST)):
            self.set64(SPAWN_ARGS + offset, value)
        self.check(SPAWN, index, 3, 0, 0, SPAWN_ARGS, answer=answer, code=code)

    def transfer(self, number: int, fd_slot: int, size: int, *, answer: int = SUCCESS, code: int) -> None:
        """Read or write at BUFFER through the descriptor at an address; the size is left in TMP."""
        self.set64(TMP, size)
        self.load_immediate(A0 + 1, BUFFER)
        self.load_immediate(A0 + 2, TMP)
        self.load64(A0, fd_slot)
        self.check(number, answer=answer, code=code)

    def expect_memory(self, address: int, value: int, code: int) -> None:
        self.load64(S1, address)
        self.expect(S1, value, code)

    def inherit(self, count: int, code: int = 110) -> None:
        """Put what was inherited to FDS."""
        self.set64(TMP, 8)
        self.check(INHERITED_FD, FDS, TMP, code=code)
        self.expect_memory(TMP, count, code + 1)

    def wait(self, id_slot: int, exit_code: int, code: int) -> None:
        self.load64(A0, id_slot)
        self.load_immediate(A0 + 1, TMP)
        self.check(WAIT, code=code)
        self.load_byte(S1, TMP)
        self.expect(S1, exit_code, code + 1)


def exiting(code: int) -> Child:
    program = Child()
    program.exit(code)
    return program


def waiting_for_root() -> Child:
    """Lives for as long as the first process does."""
    program = Child()
    program.syscall(WAIT, 0, TMP)
    program.exit(0)
    return program
