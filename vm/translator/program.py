"""A translated program, and instances in which it lies loaded, ready to run."""

from collections import deque
from threading import Lock
from typing import Final

import wasmtime

from vm.constants import FLAG_EXECUTABLE, FLAGS_WRITTEN, PAGE_COUNT, PAGE_SHIFT, STATE_WORDS, VERSION2
from vm.machine import MachineState
from vm.translator.runtime import HostedRuntime
from vm.wasm import layout as at
from vm.wasm.aside import Aside
from vm.wasm.machine import Views

_MAX_IDLE: Final = 8  # instances, of all programs, that wait for their next use
_MAX_RESIDENT: Final = 16 << 20  # bytes that were written in all of them, since that stays resident
_MAX_ARENA: Final = at.ARENA + (1 << 20)  # an instance that interpreted more code than this is not kept
_EXECUTABLE: Final = bytes(flag & FLAG_EXECUTABLE for flag in range(256))
_TO_CLEAN: Final = bytes(bool(flag & FLAGS_WRITTEN and not flag & FLAG_EXECUTABLE) for flag in range(256))
_ZERO_MEMORY: Final = memoryview(bytes(PAGE_COUNT << PAGE_SHIFT))
_NO_REGISTERS: Final = memoryview(bytes(8 * STATE_WORDS)).cast("Q")
_NO_SLOTS: Final = memoryview(bytes(4 * at.SLOT_COUNT)).cast("I")
_ARENA_WORD: Final = at.ARENA_NEXT // 4


class IdleInstances:
    """Instances between two uses, those used last at the end. For all threads."""

    def __init__(self) -> None:
        self._returned: deque[LoadedInstance] = deque(maxlen=_MAX_IDLE)
        self._ready: list[LoadedInstance] = []
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._returned) + len(self._ready)

    def take(self, program: "TranslatedProgram") -> "LoadedInstance | None":
        """One of a program, as just loaded."""
        with self._lock:
            while self._returned:
                loaded = self._returned.popleft()
                if not loaded.program.is_broken and loaded.inspect():
                    self._ready.append(loaded)
            self._bound()
            for index in reversed(range(len(self._ready))):
                if self._ready[index].program is program:
                    loaded = self._ready.pop(index)
                    loaded.refresh()
                    return loaded
        return None

    def _bound(self) -> None:
        """Drop the least recently used instances."""
        room, kept = _MAX_RESIDENT, 0
        for loaded in reversed(self._ready):
            room -= loaded.resident
            if room < 0 or kept == _MAX_IDLE:
                break
            kept += 1
        del self._ready[: len(self._ready) - kept]

    def put(self, loaded: "LoadedInstance") -> None:
        """Return an instance. A finalizer may call this at any point of any thread, so it must not wait for a lock."""
        self._returned.append(loaded)


class TranslatedProgram:
    """An ELF file, the machine version it was translated for, and its compiled code."""

    def __init__(
        self, runtime: HostedRuntime, idle: IdleInstances, elf: bytes, version: int, module: wasmtime.Module
    ) -> None:
        self.elf, self.version = elf, version
        self.is_broken = False  # it has trapped once and is not used again
        self._runtime, self._idle, self._module = runtime, idle, module

    def acquire(self) -> "LoadedInstance":
        """An instance in which nothing has run since the program was loaded."""
        return self._idle.take(self) or LoadedInstance(self)

    def release(self, loaded: "LoadedInstance") -> None:
        """Give an instance back. Its memory must not be used any more."""
        self._idle.put(loaded)

    def new_views(self) -> Views:
        """Registers and memory of a new instance."""
        return Views(self._runtime.instantiate(self.version, self._module))


class LoadedInstance:
    """An instance with a program in its memory, as just loaded: everything else is zero. `entry` is the first pc,
    `size` the bytes that were read from the file, `resident` the most that was written in one use, in bytes."""

    def __init__(self, program: TranslatedProgram) -> None:
        self.program = program
        self.views = views = program.new_views()
        loader = MachineState(program.version, 0, views.registers, views.memory)
        self.size = loader.load_elf(program.elf)
        self.entry = loader.pc
        self._flags = bytes(views.memory.flags)
        self._executable = self._flags.translate(_EXECUTABLE)
        self.resident = 0
        self._to_clean: list[tuple[int, int]] = []
        self._aside = views.memory.aside = Aside()
        self._written = [(start, bytes(views.memory.data[start:end])) for start, end in _ranges_to_clean(self._flags)]

    def inspect(self) -> bool:
        """See what happened since loading. False if it cannot be undone.

        Only pages that were written are of interest. Executable pages cannot have been, as long as they are the same.
        """
        flags = bytes(self.views.memory.flags)
        if flags.translate(_EXECUTABLE) != self._executable or self.views.words[_ARENA_WORD] > _MAX_ARENA:
            return False
        moved = self._aside.put(self.views.memory)
        if moved is not None:
            flags = flags[: moved.start] + bytes(moved.stop - moved.start) + flags[moved.stop :]
        self._to_clean = _ranges_to_clean(flags)
        self.resident = max(self.resident, self._aside.size + sum(end - start for start, end in self._to_clean))
        return True

    def refresh(self) -> None:
        """Undo it."""
        memory, views = self.views.memory, self.views
        for start, end in self._to_clean:
            memory.data[start:end] = _ZERO_MEMORY[start:end]
        for start, content in self._written:
            memory.data[start : start + len(content)] = content
        memory.flags[:] = self._flags
        views.registers[:] = _NO_REGISTERS
        if self.program.version < VERSION2:
            views.slots[:] = _NO_SLOTS


def _ranges_to_clean(flags: bytes) -> list[tuple[int, int]]:
    """Addresses [start, end) of pages in a row that are dirty and not executable."""
    wanted = flags.translate(_TO_CLEAN)
    ranges = []
    page = wanted.find(1)
    while page >= 0:
        end = wanted.find(0, page)
        if end < 0:
            end = PAGE_COUNT
        ranges.append((page << PAGE_SHIFT, end << PAGE_SHIFT))
        page = wanted.find(1, end)
    return ranges
