"""The machine that runs translated code where there is some, and is the interpreter otherwise."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from weakref import finalize

from vm.elf import ProgramMetadata
from vm.errors import EngineFailure
from vm.translator.program import LoadedInstance, TranslatedProgram
from vm.wasm.machine import Views, WasmMachine
from vm.wasm.runtime import Runtime

_BOUND_LATE: Final = ("views", "registers", "memory")
_COUNTED_BYTES: Final = 16
"""The cycles of a program are counted when there is one for so many of its bytes, all of which are hashed for that: a
hostile script may execute another large program every few hundred cycles."""


class Host(Protocol):
    """What a machine asks of whoever knows the translated programs."""

    runtime: Runtime

    def find(self, elf: bytes, version: int) -> TranslatedProgram | None:
        """The translation of a program, if there is one."""
        ...

    def used(self, elf: bytes, version: int, cycles: int) -> None:
        """The interpreter has run a program for some cycles."""
        ...


def _nothing() -> None:
    """Nothing to release."""


class AutoMachine(WasmMachine):
    """Follows `vm.machine.Machine`. Memory and registers are those of an instance that is chosen when a program is
    loaded, or when they are asked for before that; they must not be used after the machine itself."""

    def __init__(self, host: Host, version: int, max_cycles: int) -> None:
        # The attributes of _BOUND_LATE are created on first use, so the constructors of the parents are not called.
        self.version, self.cycles, self.max_cycles, self.pc = version, 0, max_cycles, 0
        self._host = host
        self._loaded: LoadedInstance | None = None
        self._give_back: Callable[[], object] = _nothing
        self._elf: bytes | None = None  # the program, as long as only the interpreter knows it
        self._uncounted = 0  # cycles of it that the host does not know of
        self._spare: Views | None = None  # of the interpreter's instance, which was reset

    def __getattr__(self, name: str) -> Any:
        if name not in _BOUND_LATE:
            raise AttributeError(name)
        self._bind(self._spare or Views(self._host.runtime.instantiate(self.version)))
        self._spare = None
        return self.__dict__[name]

    def _bind(self, views: Views) -> None:
        self.views, self.registers, self.memory = views, views.registers, views.memory

    def load_metadata(self, elf: bytes, metadata: ProgramMetadata) -> int:
        """As `vm.machine.Machine.load_metadata`, always for the interpreter."""
        size = self._load_translated(elf)
        return super().load_metadata(elf, metadata) if size is None else size

    def load_elf(self, elf: bytes) -> int:
        """As `vm.machine.Machine.load_elf`; takes an instance with the translated program if there is one."""
        size = self._load_translated(elf)
        return super().load_elf(elf) if size is None else size

    def _load_translated(self, elf: bytes) -> int | None:
        """Take an instance with the program, if there is a translation and nothing is bound yet. The bytes loaded."""
        if self._elf is None and "views" not in self.__dict__:
            program = self._host.find(elf, self.version)
            if program is not None:
                loaded = self._lend(program)
                self.pc = loaded.entry
                return loaded.size
        self._elf = elf
        return None

    def _lend(self, program: TranslatedProgram) -> LoadedInstance:
        """Take an instance, to be given back at `reset` or when this machine is no more.

        The finalizer keeps the instance alive until then, also while the garbage collector ends a cycle that the
        machine is part of. A `__del__` method might find the native memory freed already.
        """
        self._loaded = loaded = program.acquire()
        give_back = finalize(self, program.release, loaded)
        give_back.atexit = False
        self._give_back = give_back
        self._bind(loaded.views)
        return loaded

    def reset(self, overwritten: Sequence[slice] = ()) -> None:
        """As in the parent, but the next program may get another instance, so all of this one becomes zero."""
        if self._loaded is None and "views" in self.__dict__:
            super().reset()
            self._spare = self.views
        self._loaded = self._elf = None
        self._uncounted = 0
        self._give_back()
        for name in _BOUND_LATE:
            self.__dict__.pop(name, None)
        self.pc = 0

    def run(self) -> None:
        """As `vm.machine.Machine.run`."""
        if self._loaded is not None:
            try:
                WasmMachine.run(self)  # super() would cost as much as a tenth of an entry
            except EngineFailure:
                self._loaded.program.is_broken = True
                raise
            return
        before = self.cycles
        try:
            super().run()
        finally:
            if self._elf is not None:
                self._uncounted += self.cycles - before
                if self._uncounted * _COUNTED_BYTES >= len(self._elf):
                    self._host.used(self._elf, self.version, self._uncounted)
                    self._uncounted = 0
