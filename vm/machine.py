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
    PAGE_SHIFT,
    PAGE_SIZE,
    STATE_WORDS,
    U64_MASK,
    U64_MAX,
    VERSION0,
    VERSIONS,
)
from vm.elf import ProgramMetadata, parse_elf
from vm.errors import CyclesExceeded, CyclesOverflow, InvalidVersion, MemOutOfStack, VmError
from vm.image import is_empty
from vm.memory import Memory
from vm.registers import SP
from vm.stack import STACK_BOTTOM, stack_of


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
    registers: Words  # as in `Snapshot`, for reading; others after each program that is loaded
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
        top = MEMORY_SIZE
        if self.version != VERSION0 and not args:
            # The memory is zero already: argc = 0 need not be written.
            self.set_register(SP, (top - 8) & ~15)
            return top - self.get_register(SP)
        if self.version == VERSION0:
            self._store_stack_of_version_0(args)
        else:
            self._store_stack(Arguments.of(args))
        sp = self.get_register(SP)
        if sp < STACK_BOTTOM:
            raise MemOutOfStack
        return top - sp

    def _store_stack(self, args: Arguments) -> None:
        """In two stores. If not all can be stored, sp tells how much was: the exec of version 1 goes on with that."""
        stack = stack_of(args, self.memory.executable_end(), self.version)
        self.memory.store_bytes(stack.strings_at, _last(args.strings, stack.strings_size))
        self.memory.store_bytes(stack.sp, _last(args.words, stack.words_size))
        self.set_register(SP, stack.sp)
        if stack.error is not None:
            raise stack.error

    def _store_stack_of_version_0(self, args: Sequence[bytes] | Arguments) -> None:
        """Value by value: there are few, since version 0 has no exec. The strings, their addresses, argc."""
        sp, words = MEMORY_SIZE, [len(args)]
        for arg in args:
            sp = (sp - len(arg) - 1) & U64_MASK
            self.memory.store_bytes(sp, arg)
            self.memory.store8((sp + len(arg)) & U64_MASK, 0)
            words.append(sp)
        for word in reversed(words):
            sp = (sp - 8) & U64_MASK
            self.memory.store32(sp, word)  # the low half only
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
        if self.version != VERSION0 and args and image.error is None:
            stack = stack_of(args, image.executable_end, self.version)
            overwritten.append(_whole_pages(stack.sp, stack.sp + stack.words_size))
            overwritten.append(_whole_pages(stack.strings_at, MEMORY_SIZE))
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


def _last(content: bytes, size: int) -> memoryview:
    """The last bytes."""
    return memoryview(content)[len(content) - size :]


def _whole_pages(start: int, end: int) -> slice:
    """The pages that lie in [start, end) as a whole."""
    first, last = -(-start >> PAGE_SHIFT), end >> PAGE_SHIFT
    return slice(first, max(first, last))
