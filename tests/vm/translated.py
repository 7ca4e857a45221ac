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


class EagerHost:
    """Translates what it is asked for, with the given limits. Keeps the last program."""

    def __init__(self, limits: Limits | None = None, isa: Isa = Isa.CKB) -> None:
        self.runtime = Runtime(isa)
        self.limits = limits
        self.translated = 0  # loads that found a translation
        self._hosted = HostedRuntime(isa)
        self._idle = IdleInstances()
        self._last: TranslatedProgram | None = None

    def find(self, elf: bytes, version: int) -> TranslatedProgram | None:
        if self._last is None or (self._last.elf, self._last.version) != (elf, version):
            try:
                code = translate(elf, version, self.limits, self.runtime.isa).code
            except (VmError, TooLargeError):  # loading fails, too; or the interpreter runs it
                return None
            self._last = TranslatedProgram(self._hosted, self._idle, elf, version, self._hosted.compile(code))
        self.translated += 1
        return self._last

    def used(self, elf: bytes, version: int, cycles: int) -> None:
        """Nothing is counted."""

    def loaded(self, elf: bytes, version: int, max_cycles: int) -> Machine:
        """A machine with a program and no arguments."""
        machine = AutoMachine(self, version, max_cycles)
        machine.load_program(elf, [])
        return machine
