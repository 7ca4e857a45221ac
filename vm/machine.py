"""The machine as its users see it, whatever engine runs it.

An engine never calls back. `run` returns just after each `ecall`, when the caller reads a7 and the arguments, does the
system call (exit is system call 93 and nothing special here), sets a0 and calls `run` again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vm.arguments import Arguments
from vm.constants import (
    MEMORY_SIZE,
    PAGE_COUNT,
    PAGE_SHIFT,
    PAGE_SIZE,
    STACK_SIZE,
    STATE_WORDS,
    U64_MASK,
    U64_MAX,
    VERSION0,
    VERSION2,
    VERSIONS,
)
from vm.elf import ProgramMetadata, parse_elf
from vm.errors import CyclesExceeded, CyclesOverflow, InvalidVersion, MemOutOfStack, VmError
from vm.image import is_empty
from vm.memory import Memory
from vm.registers import SP


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state of a machine between two calls of `run`. `pages` holds the dirty pages by page number; behind the
    general registers lies what an lr has reserved (`vm.constants.RESERVATION`)."""

    version: int
    pc: int
    cycles: int
    max_cycles: int
    registers: tuple[int, ...]
    flags: bytes
    pages: dict[int, bytes]


class Words(Protocol):
    """A mutable list of unsigned numbers."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class Machine(Protocol):
    """One running program. Registers, pc and cycles are unsigned 64-bit integers."""

    version: int
    cycles: int  # used so far
    max_cycles: int
    pc: int
    memory: Memory

    def get_register(self, index: int) -> int:
        """The value of general register 0..31, or of RESERVATION."""
        ...

    def set_register(self, index: int, value: int) -> None:
        """Set general register 0..31 to `value` modulo 2^64. Register 0 stays 0."""
        ...

    def add_cycles(self, cycles: int) -> None:
        """Charge cycles. Raises CyclesOverflow, or CyclesExceeded (then nothing is charged)."""
        ...

    def add_cycles_unchecked(self, cycles: int) -> None:
        """Charge cycles even beyond the limit; the next `run` fails then. Raises CyclesOverflow."""
        ...

    def load_program(self, elf: bytes, args: Sequence[bytes] | Arguments) -> int:
        """`load_elf` and `initialize_stack`. Returns the sum of the bytes, by which the caller charges transfer."""
        ...

    def load_elf(self, elf: bytes) -> int:
        """Load the segments and set pc to the entry. Returns the bytes read from the file. Raises Elf* and Mem*."""
        ...

    def load_metadata(self, elf: bytes, metadata: ProgramMetadata) -> int:
        """`load_elf` for an already parsed file."""
        ...

    def initialize_stack(self, args: Sequence[bytes] | Arguments) -> int:
        """Lay out argc and argv and set sp. Returns the bytes of stack used. Raises MemOutOfStack, MemOutOfBound."""
        ...

    def run(self) -> None:
        """Execute until just after an `ecall`: its cycles are charged, pc is behind it.

        Raises CyclesExceeded without having begun the block that would exceed the limit: with a higher `max_cycles`
        the machine can go on. After any other VmError the machine must not be used any more.
        """
        ...

    def reset(self, overwritten: Sequence[slice] = ()) -> None:
        """Forget the program: registers, pc and memory become zero. Cycles and limit stay. For `overwritten` see
        `Memory.clear`."""
        ...

    def reset_for(self, metadata: ProgramMetadata, args: Arguments) -> None:
        """`reset`, when `load_metadata` and `initialize_stack` of these follow at once: what they store need not become
        zero first. For exec."""
        ...

    def shrink(self) -> None:
        """Release caches such as decoded blocks: the machine will not run for a while."""
        ...

    def snapshot(self) -> Snapshot:
        """The whole state."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a state of the same version. Raises InvalidVersion."""
        ...


class MachineState:
    """What all engines have in common: everything but `run`. They decide where registers and memory live.

    `registers`: as in `Snapshot`.
    """

    def __init__(self, version: int, max_cycles: int, registers: Words, memory: Memory) -> None:
        if version not in VERSIONS:
            raise InvalidVersion
        self.version = version
        self.cycles = 0
        self.max_cycles = max_cycles
        self.pc = 0
        self.registers = registers
        self.memory = memory

    def get_register(self, index: int) -> int:
        """As `Machine.get_register`."""
        return self.registers[index]

    def set_register(self, index: int, value: int) -> None:
        """As `Machine.set_register`."""
        if index:
            self.registers[index] = value & U64_MASK

    def add_cycles(self, cycles: int) -> None:
        """As `Machine.add_cycles`."""
        total = self.cycles + cycles
        if total > U64_MAX:
            raise CyclesOverflow
        if total > self.max_cycles:
            raise CyclesExceeded
        self.cycles = total

    def add_cycles_unchecked(self, cycles: int) -> None:
        """As `Machine.add_cycles_unchecked`."""
        if self.cycles + cycles > U64_MAX:
            raise CyclesOverflow
        self.cycles += cycles

    def load_program(self, elf: bytes, args: Sequence[bytes] | Arguments) -> int:
        """As `Machine.load_program`."""
        return self.load_elf(elf) + self.initialize_stack(args)

    def load_elf(self, elf: bytes) -> int:
        """As `Machine.load_elf`."""
        return self.load_metadata(elf, parse_elf(elf, self.version))

    def load_metadata(self, elf: bytes, metadata: ProgramMetadata) -> int:
        """As `Machine.load_metadata`."""
        loading = metadata.loading
        if not is_empty(self.memory):
            return self._load_by_steps(elf, metadata)
        if loading.image is not None:
            size = loading.image.apply(self.memory)
            self.pc = metadata.entry
            return size
        try:
            size = self._load_first(elf, metadata)
        except VmError as error:
            loading.take(self.memory, 0, error)
            raise
        loading.take(self.memory, size, None)
        return size

    def _load_first(self, elf: bytes, metadata: ProgramMetadata) -> int:
        """Into an empty memory. Engines may know a faster way."""
        return self._load_by_steps(elf, metadata)

    def _load_by_steps(self, elf: bytes, metadata: ProgramMetadata) -> int:
        content = memoryview(elf)
        total = 0
        for action in metadata.actions:
            source = content[action.start : action.end] if action.start != action.end else b""
            self.memory.init_pages(action.address, action.size, action.flags, source, action.offset)
            if self.version == VERSION0:
                # Version 0 clears the padding once more, by a store, so an executable segment that does not begin
                # with its page fails here.
                self.memory.fill_zero(action.address, action.offset)
            total += len(source)
        self.pc = metadata.entry
        return total

    def initialize_stack(self, args: Sequence[bytes] | Arguments) -> int:
        """As `Machine.initialize_stack`."""
        top, bottom = MEMORY_SIZE, MEMORY_SIZE - STACK_SIZE
        if self.version != VERSION0 and not args:
            # The memory is zero already: argc = 0 need not be written.
            self.set_register(SP, (top - 8) & ~15)
            return top - self.get_register(SP)
        if self.version == VERSION0 or not self._store_stack_at_once(args):
            self._store_stack_by_steps(args)
        sp = self.get_register(SP)
        if sp < bottom:
            raise MemOutOfStack
        return top - sp

    def _store_stack_at_once(self, args: Sequence[bytes] | Arguments) -> bool:
        """The whole stack in two stores, from version 1 on; False, and nothing done, if a store could fail."""
        arguments = Arguments.of(args)
        strings_at, sp = _stack_of(arguments)
        if sp < 0 or self.memory.any_executable(slice(sp >> PAGE_SHIFT, PAGE_COUNT)):
            return False
        self.memory.store_bytes(strings_at, arguments.strings)
        self.memory.store_bytes(sp, arguments.words)
        self.set_register(SP, sp)
        return True

    def _store_stack_by_steps(self, args: Sequence[bytes] | Arguments) -> None:
        """Value by value. sp follows every step: after a failure the exec of version 1 goes on with what there is."""
        sp, bottom = MEMORY_SIZE, MEMORY_SIZE - STACK_SIZE
        self.set_register(SP, sp)
        words = [len(args)]  # argc, then the addresses of the arguments
        for arg in args:
            sp = (sp - len(arg) - 1) & U64_MASK
            self.memory.store_bytes(sp, arg)
            self.memory.store8((sp + len(arg)) & U64_MASK, 0)
            words.append(sp)
            self.set_register(SP, sp)
            if self.version >= VERSION2 and sp < bottom:
                raise MemOutOfStack
        if self.version != VERSION0:
            words.append(0)  # argv[argc]
            sp = (((sp - 8 * len(words)) & ~15) + 8 * len(words)) & U64_MASK
            self.set_register(SP, sp)
        for word in reversed(words):
            sp = (sp - 8) & U64_MASK
            if self.version == VERSION0:
                self.memory.store32(sp, word)  # version 0 writes the low half only
            else:
                self.memory.store64(sp, word)
            self.set_register(SP, sp)

    def reset(self, overwritten: Sequence[slice] = ()) -> None:
        """As `Machine.reset`."""
        self.clear_registers()
        self.pc = 0
        self.memory.clear(overwritten)

    def reset_for(self, metadata: ProgramMetadata, args: Arguments) -> None:
        """As `Machine.reset_for`."""
        image = metadata.loading.image
        if image is None:
            self.reset()
            return
        overwritten = list(image.pages)
        strings_at, sp = _stack_of(args)
        if self.version != VERSION0 and args and sp >= 0 and image.error is None and not image.is_executable_from(sp):
            overwritten += _whole_pages(sp, sp + len(args.words)), _whole_pages(strings_at, MEMORY_SIZE)
        self.reset(overwritten)

    def shrink(self) -> None:
        """Nothing to release."""

    def clear_registers(self) -> None:
        """Set all registers to 0, and forget what an lr has reserved."""
        for index in range(STATE_WORDS):
            self.registers[index] = 0

    def snapshot(self) -> Snapshot:
        """As `Machine.snapshot`."""
        memory = self.memory
        return Snapshot(
            version=self.version,
            pc=self.pc,
            cycles=self.cycles,
            max_cycles=self.max_cycles,
            registers=tuple(self.registers[index] for index in range(STATE_WORDS)),
            flags=memory.plain_flags(),
            pages={page: memory.load_bytes(page << PAGE_SHIFT, PAGE_SIZE) for page in memory.dirty_pages()},
        )

    def restore(self, snapshot: Snapshot) -> None:
        """As `Machine.restore`."""
        if snapshot.version != self.version:
            raise InvalidVersion
        self.reset()
        self.pc, self.cycles, self.max_cycles = snapshot.pc, snapshot.cycles, snapshot.max_cycles
        for index, value in enumerate(snapshot.registers):
            self.set_register(index, value)
        for page, content in snapshot.pages.items():
            self.memory.data[page << PAGE_SHIFT : (page + 1) << PAGE_SHIFT] = content
        self.memory.flags[:] = snapshot.flags


def _stack_of(args: Arguments) -> tuple[int, int]:
    """Addresses of the strings, which end where the memory ends, and of the words; the latter may be negative."""
    strings_at = MEMORY_SIZE - len(args.strings)
    return strings_at, (strings_at - len(args.words)) & ~15


def _whole_pages(start: int, end: int) -> slice:
    """The pages that lie in [start, end) as a whole."""
    first, last = -(-start >> PAGE_SHIFT), end >> PAGE_SHIFT
    return slice(first, max(first, last))
