"""The machine that the generated interpreter runs."""

import random
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from vm.arguments import NO_ARGUMENTS, Arguments
from vm.constants import MAX_ARGUMENT_BYTES, MEMORY_SIZE, PAGE_COUNT, STATE_WORDS, U64_MASK, VERSION2
from vm.elf import ProgramMetadata
from vm.errors import (
    InvalidInstruction,
    MemOutOfBound,
    MemWriteOnExecutablePage,
    MemWriteOnFreezedPage,
    Unexpected,
    VmError,
)
from vm.machine import MachineState
from vm.memory import Memory
from vm.segments import PackedActions
from vm.wasm import layout as at
from vm.wasm import segments
from vm.wasm.arguments import OUT_OF_BOUND
from vm.wasm.aside import MIN_BYTES, Aside
from vm.wasm.programs import parse_program
from vm.wasm.runtime import ExportedFunction, Runtime, release
from vm.wasm.status import Status
from vm.wasm.words import Question

# Cycles that one call into the interpreter may use. Between calls Python handles signals and other threads.
_SLICE: Final = 1 << 28
_ARENA_WORD: Final = at.ARENA_NEXT // 4
_NO_BLOCKS: Final = bytes(at.BLOCKS_PAGE_SIZE)
_NO_SLOTS: Final = memoryview(bytes(4 * at.SLOT_COUNT)).cast("I")
_NO_REGISTERS: Final = memoryview(bytes(8 * STATE_WORDS)).cast("Q")
_PC: Final = at.PC // 8
_REMAINING: Final = at.REMAINING // 8
_ECALL: Final = int(Status.ECALL)
_LOADING_ERRORS: Final[dict[int, type[VmError]]] = {
    segments.OUT_OF_BOUND: MemOutOfBound,
    segments.FREEZED: MemWriteOnFreezedPage,
    segments.EXECUTABLE: MemWriteOnExecutablePage,
}


class Runnable(Protocol):
    """An instance of a generated module."""

    memory: memoryview
    words: ExportedFunction

    def run(self) -> int:
        """Run until something ends the run; returns a `vm.wasm.status.Status`."""
        ...


class LinearMemory(Memory):
    """The memory of the guest in an instance, whose own code looks through lists."""

    def __init__(self, linear: memoryview, words: ExportedFunction) -> None:
        super().__init__(linear[at.GUEST : at.GUEST + MEMORY_SIZE], linear[at.FLAGS : at.FLAGS + PAGE_COUNT])
        self._linear, self._words = linear, words
        self.aside: Aside | None = None
        """Of a memory that is used again and again."""

    def _store_pages(self, address: int, data: bytes | memoryview) -> None:
        """As in the parent; what is stored in each run need not be copied each time."""
        if self.aside is None or len(data) < MIN_BYTES or not isinstance(data, bytes):
            super()._store_pages(address, data)
            return
        self.aside.take(self, data, address)
        self.store_again(address, data, len(data))

    def has_zero_word(self, address: int) -> bool:
        """As `Memory.has_zero_word`, by generated code."""
        return self._words(Question.HAS_ZERO, address) != 0

    def find_zero_word(self, address: int) -> int | None:
        """As `Memory.find_zero_word`, by generated code."""
        found = self._words(Question.FIND_ZERO, address)
        return None if found < 0 else found

    def known_words(self, start: int, end: int, known: Collection[int]) -> set[int] | None:
        """As `Memory.known_words`, by generated code."""
        multiplier, slots = _perfect_hash(known)
        table = self._linear[at.WORD_TABLE : at.WORD_MARKS].cast("Q")
        marks = self._linear[at.WORD_MARKS : at.WORD_MARKS + (1 << at.WORD_TABLE_BITS)]
        for slot, word in slots.items():
            table[slot] = word
        try:
            is_known = self._words(Question.ARE_KNOWN, start, end, multiplier)
            return {word for slot, word in slots.items() if marks[slot]} if is_known else None
        finally:
            for slot in slots:
                table[slot] = marks[slot] = 0

    def gather_arguments(self, argc: int, argv: int, each: int, room: int = MAX_ARGUMENT_BYTES) -> Arguments | int:
        """As `Memory.gather_arguments`, by generated code."""
        if argc == 0:
            return NO_ARGUMENTS
        size = self._words(Question.GATHER, argv, argc, each, room)
        if size == OUT_OF_BOUND:
            raise MemOutOfBound
        if size < 0:
            return ~size
        strings = self._linear[at.ARGUMENT_STRINGS_END - size : at.ARGUMENT_STRINGS_END]
        words = self._linear[at.ARGUMENT_WORDS : at.ARGUMENT_WORDS + 8 * (argc + 2)]
        return Arguments(bytes(strings), bytes(words))

    def load_segments(self, elf: bytes, actions: PackedActions, version: int) -> int | None:
        """What `init_pages` makes of an empty memory with each of the actions. Returns the bytes of the file that they
        name; None, and nothing done, if file and actions do not fit where they have to lie."""
        source = at.SEGMENTS + len(actions.packed)
        if source + len(elf) > at.END:
            return None
        self._linear[at.SEGMENTS : source] = actions.packed
        self._linear[source : source + len(elf)] = elf
        size = self._words(Question.LOAD, len(actions), source, version)
        if size < 0:
            raise _LOADING_ERRORS[size]
        return size


def _perfect_hash(words: Collection[int]) -> tuple[int, dict[int, int]]:
    """A multiplier whose products put each word into a slot of its own, and the words by slot.

    At random, so that nobody can choose words that collide; half of the multipliers do for a hundred words.
    """
    while True:
        multiplier = random.getrandbits(64) | 1
        slots = {(word * multiplier & U64_MASK) >> (64 - at.WORD_TABLE_BITS): word for word in words}
        if len(slots) == len(words):
            return multiplier, slots


class Views:
    """What lies in the linear memory of an instance, by `vm.wasm.layout`."""

    def __init__(self, instance: Runnable) -> None:
        self.instance = instance
        self.run = instance.run
        linear = instance.memory
        self.words = linear[: at.FLAGS].cast("I")
        self.longs = linear[: at.FLAGS].cast("Q")
        self.blocks = linear[at.BLOCKS : at.BLOCKS + at.BLOCKS_SIZE]
        self.blocks_and_arena = linear[at.BLOCKS : at.ARENA + at.ARENA_SIZE]
        self.slots = linear[at.SLOTS : at.SLOTS + 4 * at.SLOT_COUNT].cast("I")
        self.memory = LinearMemory(linear, instance.words)
        self.registers = self.longs[at.REGISTERS // 8 : at.REGISTERS // 8 + STATE_WORDS]


class WasmMachine(MachineState):
    """Registers, flags and memory lie in the linear memory of the interpreter. Follows `vm.machine.Machine`."""

    def __init__(self, runtime: Runtime, version: int, max_cycles: int) -> None:
        views = Views(runtime.instantiate(version))
        self.views = views
        super().__init__(version, max_cycles, views.registers, views.memory)

    def load_elf(self, elf: bytes) -> int:
        return self.load_metadata(elf, parse_program(elf, self.version))

    def _load_first(self, elf: bytes, metadata: ProgramMetadata) -> int:
        size = None
        if isinstance(metadata.actions, PackedActions):
            size = self.views.memory.load_segments(elf, metadata.actions, self.version)
        if size is None:
            return super()._load_first(elf, metadata)
        self.pc = metadata.entry
        return size

    def reset(self, overwritten: Sequence[slice] = ()) -> None:
        """As `vm.machine.Machine.reset`."""
        if self.views.words[_ARENA_WORD]:
            self._forget_blocks()
        super().reset(overwritten)

    def shrink(self) -> None:
        """Decoded blocks take up to 20 MB, five times what the program itself has."""
        if self.views.words[_ARENA_WORD] and release(self.views.blocks_and_arena):
            self.views.words[_ARENA_WORD] = 0

    def clear_registers(self) -> None:
        """As `MachineState.clear_registers`, at once."""
        self.views.registers[:] = _NO_REGISTERS

    def _forget_blocks(self) -> None:
        """Blocks begin on executable pages only, and those stay executable until `reset`: most of the table is empty.

        To clear all of it would take a millisecond or two, which a hostile program may ask for with every exec.
        """
        blocks = self.views.blocks
        for page in self.memory.executable_pages():
            for table in (0, at.BLOCKS_ODD - at.BLOCKS):
                start = table + page * at.BLOCKS_PAGE_SIZE
                blocks[start : start + at.BLOCKS_PAGE_SIZE] = _NO_BLOCKS
        if self.version < VERSION2:
            self.views.slots[:] = _NO_SLOTS
        self.views.words[_ARENA_WORD] = 0

    def run(self) -> None:
        """Run in slices of at most `_SLICE` cycles. One function, since short scripts spend much of their time here."""
        views = self.views
        longs = views.longs
        while True:
            budget = self.max_cycles - self.cycles
            if not 0 <= budget <= _SLICE:
                budget = 0 if budget < 0 else _SLICE
            longs[_PC] = self.pc
            longs[_REMAINING] = budget
            status = views.run()
            self.pc = longs[_PC]
            self.cycles += budget - longs[_REMAINING]
            if status == _ECALL:
                return
            if status == Status.CYCLES:
                self._check_next_block()
            else:
                raise self._failure(status)

    def _check_next_block(self) -> None:
        """Raise CyclesExceeded or CyclesOverflow unless the block that did not fit the slice may still run."""
        cycles = self.cycles
        self.add_cycles(self.views.words[at.REFUSED_COST // 4])
        self.cycles = cycles

    def _failure(self, status: int) -> VmError:
        if status == Status.OUT_OF_BOUND:
            return MemOutOfBound()
        if status == Status.PERMISSION:
            return MemWriteOnExecutablePage()
        if status == Status.INVALID_INSTRUCTION:
            return InvalidInstruction(self.views.words[at.FAULT_PC // 4], self.views.words[at.FAULT_BITS // 4])
        if status == Status.STALLED:
            return Unexpected("a block of 256 bytes is never entered")
        return Unexpected(f"status {status}")
