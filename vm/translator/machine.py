"""The machine that runs translated code where there is some, and is the interpreter otherwise."""

from typing import Any, Final, Protocol

from vm.elf import ProgramMetadata
from vm.errors import EngineFailure
from vm.translator.program import LoadedInstance, TranslatedProgram
from vm.wasm.machine import Views, WasmMachine
from vm.wasm.runtime import Runtime

_BOUND_LATE: Final = ("views", "registers", "memory")


class Host(Protocol):
    """What a machine asks of whoever knows the translated programs."""

    runtime: Runtime

    def find(self, elf: bytes, version: int) -> TranslatedProgram | None:
        """The translation of a program, if there is one."""
        ...

    def used(self, elf: bytes, version: int, cycles: int) -> None:
        """The interpreter has run a program for some cycles."""
        ...


class AutoMachine(WasmMachine):
    """Follows `vm.machine.Machine`. Memory and registers are those of an instance that is chosen when a program is
    loaded, or when they are asked for before that; they must not be used after the machine itself."""

    def __init__(self, host: Host, version: int, max_cycles: int) -> None:
        # The attributes of _BOUND_LATE come into being on first use, so the constructors of the parents are not for us.
        self.version, self.cycles, self.max_cycles, self.pc = version, 0, max_cycles, 0
        self._host = host
        self._loaded: LoadedInstance | None = None
        self._elf: bytes | None = None  # the program, as long as only the interpreter knows it

    def __getattr__(self, name: str) -> Any:
        if name not in _BOUND_LATE:
            raise AttributeError(name)
        self._bind(Views(self._host.runtime.instantiate(self.version)))
        return self.__dict__[name]

    def _bind(self, views: Views) -> None:
        self.views, self.registers, self.memory = views, views.registers, views.memory

    def load_metadata(self, elf: bytes, metadata: ProgramMetadata) -> int:
        size = self._load_translated(elf)
        return super().load_metadata(elf, metadata) if size is None else size

    def load_elf(self, elf: bytes) -> int:
        size = self._load_translated(elf)
        return super().load_elf(elf) if size is None else size

    def _load_translated(self, elf: bytes) -> int | None:
        """Take an instance with the program, if there is a translation and nothing is bound yet. The bytes loaded."""
        if self._elf is None and "views" not in self.__dict__:
            program = self._host.find(elf, self.version)
            if program is not None:
                self._loaded = program.acquire()
                self._bind(self._loaded.views)
                self.pc = self._loaded.entry
                return self._loaded.size
        self._elf = elf
        return None

    def reset(self) -> None:
        """As in the parent, but the next program may get another instance."""
        self._release()
        self._elf = None
        for name in _BOUND_LATE:
            self.__dict__.pop(name, None)
        self.pc = 0

    def run(self) -> None:
        if self._loaded is not None:
            try:
                super().run()
            except EngineFailure:
                self._loaded.program.is_broken = True
                raise
            return
        before = self.cycles
        try:
            super().run()
        finally:
            if self._elf is not None:
                self._host.used(self._elf, self.version, self.cycles - before)

    def _release(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.program.release(loaded)

    def __del__(self) -> None:
        if "_loaded" in self.__dict__:
            self._release()
