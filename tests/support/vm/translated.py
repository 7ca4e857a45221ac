"""Machines whose programs are translated as soon as they are loaded, for tests."""

from vm.errors import VmError
from vm.isa.profile import Isa
from vm.machine import Machine
from vm.translator.limits import Limits, TooLargeError
from vm.translator.machine import AutoMachine
from vm.translator.program import IdleInstances, TranslatedProgram
from vm.translator.runtime import HostedRuntime
from vm.translator.translate import translate
from vm.wasm.runtime import Runtime

KEPT = 12


class EagerHost:
    """Translates what it is asked for, with the given limits. Keeps those used last: tests take turns."""

    def __init__(self, limits: Limits | None = None, isa: Isa = Isa.CKB) -> None:
        self.runtime = Runtime(isa)
        self.limits = limits
        self.translated = 0  # loads that found a translation
        self._hosted = HostedRuntime(isa)
        self._idle = IdleInstances()
        self._kept: dict[tuple[bytes, int], TranslatedProgram] = {}

    def find(self, elf: bytes, version: int) -> TranslatedProgram | None:
        program = self._kept.pop((elf, version), None)
        if program is None:
            try:
                code = translate(elf, version, self.limits, self.runtime.isa).code
            except (VmError, TooLargeError):  # loading fails, too; or the interpreter runs it
                return None
            program = TranslatedProgram(self._hosted, self._idle, elf, version, self._hosted.compile(code))
        self._kept[elf, version] = program  # at the end
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        self.translated += 1
        return program

    def used(self, elf: bytes, version: int, cycles: int) -> None:
        """Nothing is counted."""

    def loaded(self, elf: bytes, version: int, max_cycles: int) -> Machine:
        """A machine with a program and no arguments."""
        machine = AutoMachine(self, version, max_cycles)
        machine.load_program(elf, [])
        return machine
