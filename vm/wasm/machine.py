"""The machine that the generated interpreter runs."""

from typing import Final

from vm.constants import MEMORY_SIZE, PAGE_COUNT, REGISTER_COUNT
from vm.errors import (
    InvalidInstruction,
    MemOutOfBound,
    MemWriteOnExecutablePage,
    Unexpected,
    VmError,
)
from vm.machine import MachineState
from vm.memory import Memory
from vm.wasm import layout as at
from vm.wasm.runtime import Runtime
from vm.wasm.status import Status

# Cycles that one call into the interpreter may use: after that, signals and other threads' wishes get their turn.
_SLICE: Final = 1 << 28
_ARENA_WORD: Final = at.ARENA_NEXT // 4


class WasmMachine(MachineState):
    """Registers, flags and memory lie in the linear memory of the interpreter. Follows `vm.machine.Machine`."""

    def __init__(self, runtime: Runtime, version: int, max_cycles: int) -> None:
        self._instance = runtime.instantiate(version)
        linear = self._instance.memory
        self._words = linear[: at.FLAGS].cast("I")
        self._longs = linear[: at.FLAGS].cast("Q")
        self._blocks = linear[at.BLOCKS : at.BLOCKS + at.BLOCKS_SIZE]
        self._slots = linear[at.SLOTS : at.SLOTS + 4 * at.SLOT_COUNT].cast("I")
        memory = Memory(linear[at.GUEST : at.GUEST + MEMORY_SIZE], linear[at.FLAGS : at.FLAGS + PAGE_COUNT])
        registers = self._longs[at.REGISTERS // 8 : at.REGISTERS // 8 + REGISTER_COUNT]
        super().__init__(version, max_cycles, registers, memory)

    def reset(self) -> None:
        super().reset()
        if self._words[_ARENA_WORD]:
            self._blocks[:] = bytes(at.BLOCKS_SIZE)
            self._slots[:] = memoryview(bytes(4 * at.SLOT_COUNT)).cast("I")
            self._words[_ARENA_WORD] = 0

    def run(self) -> None:
        while True:
            status = self._run_slice()
            if status == Status.ECALL:
                return
            if status == Status.CYCLES:
                self._check_next_block()
            else:
                raise self._failure(status)

    def _run_slice(self) -> int:
        """Run until something happens, at most `_SLICE` cycles."""
        budget = min(max(self.max_cycles - self.cycles, 0), _SLICE)
        self._longs[at.PC // 8] = self.pc
        self._longs[at.REMAINING // 8] = budget
        status = self._instance.run()
        self.pc = self._longs[at.PC // 8]
        self.cycles += budget - self._longs[at.REMAINING // 8]
        return status

    def _check_next_block(self) -> None:
        """Raise CyclesExceeded or CyclesOverflow unless the block that did not fit the slice may still run."""
        cycles = self.cycles
        self.add_cycles(self._words[at.REFUSED_COST // 4])
        self.cycles = cycles

    def _failure(self, status: int) -> VmError:
        if status == Status.OUT_OF_BOUND:
            return MemOutOfBound()
        if status == Status.PERMISSION:
            return MemWriteOnExecutablePage()
        if status == Status.INVALID_INSTRUCTION:
            return InvalidInstruction(self._words[at.FAULT_PC // 4], self._words[at.FAULT_BITS // 4])
        if status == Status.STALLED:
            return Unexpected("a block of 256 bytes is never entered")
        return Unexpected(f"status {status}")
