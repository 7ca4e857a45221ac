"""What machines of one process share: compiled interpreters, translated programs, the work of translating."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import wasmtime

from vm.child import STOPPED_STATES, process_state, start_child
from vm.constants import VERSIONS
from vm.errors import InvalidVersion
from vm.isa.profile import Isa
from vm.machine import Machine
from vm.reference.engine import ReferenceMachine
from vm.translator.cache import TranslationCache, translation_key
from vm.translator.limits import REFUSED
from vm.translator.machine import AutoMachine
from vm.translator.program import IdleInstances, TranslatedProgram
from vm.translator.runtime import HostedRuntime, compile_native
from vm.wasm.machine import WasmMachine
from vm.wasm.runtime import Runtime

ENGINES: Final = ("auto", "reference", "wasm")

DEFAULT_THRESHOLD: Final = 50_000_000
DEFAULT_CACHE_BYTES: Final = 256 << 20
DEFAULT_NICENESS: Final = 15
"""Translations run at low priority: hostile programs may cause them again and again."""

WORKER: Final = "vm.translator.worker"
_REFUSALS: Final = (REFUSED, -signal.SIGXCPU, -signal.SIGABRT)  # exit codes of workers that would fail again
_LOOK_UP_SHARE: Final = 10  # the disk cache is read after this part of the threshold
_MAX_KNOWN: Final = 4096  # programs whose cycles are counted
_MAX_WAITING: Final = 16
_MAX_READY: Final = 32
_MAX_READY_BYTES: Final = 32 << 20  # of ELF files
_SAMPLES: Final = 8
_SAMPLE_SIZE: Final = 16
_MAX_ATTEMPTS: Final = 3
_LOOKS: Final = 64  # the worker process is checked at every n-th poll of a job


@dataclass(slots=True)
class Counters:
    """Counters for benchmarks and metrics."""

    translated_runs: int = 0  # programs that were loaded with a translation
    interpreted_runs: int = 0  # stretches that the interpreter ran and that were counted
    interpreted_cycles: int = 0  # of them
    translations_started: int = 0
    translations_finished: int = 0
    translations_failed: int = 0
    cache_hits: int = 0


@dataclass(slots=True)
class _Usage:
    """Interpreted cycles of a program, and the state of its translation."""

    cycles: int = 0
    was_looked_up: bool = False
    was_requested: bool = False
    attempts: int = 0


@dataclass(slots=True)
class _Job:
    """A translation under way."""

    process: subprocess.Popen[bytes]
    key: str
    elf: bytes
    version: int
    looks: int = 0


class Engines:
    """Makes machines. May be shared by threads. `close` it, or use it as a context, to end what runs beside.

    `cache_directory`: where compiled code is kept between processes, see `TranslationCache`; if None, a temporary one.
    `threshold`: cycles that one program has to be interpreted for before it is translated, in a process of its own,
    one at a time, that much nicer than this one. `isa`: the instructions of all its machines.
    """

    def __init__(
        self,
        cache_directory: Path | None = None,
        *,
        threshold: int = DEFAULT_THRESHOLD,
        max_cache_bytes: int = DEFAULT_CACHE_BYTES,
        niceness: int = DEFAULT_NICENESS,
        isa: Isa = Isa.CKB,
    ) -> None:
        self.isa = isa
        self._temporary = tempfile.mkdtemp(prefix="vm-engines-") if cache_directory is None else None
        directory = (cache_directory or Path(self._temporary or "")).absolute()
        self._cache = TranslationCache(directory, max_cache_bytes)
        self.runtime = Runtime(isa)
        self.runtime.use_cache_directory(directory)
        self.counters = Counters()
        self._hosted = HostedRuntime(isa, directory)
        self._idle = IdleInstances()
        self._threshold = threshold
        self._niceness = niceness
        self._usage: OrderedDict[tuple[int, int], _Usage] = OrderedDict()
        self._ready: OrderedDict[tuple[object, ...], TranslatedProgram] = OrderedDict()
        self._last: TranslatedProgram | None = None
        """Found last: most transactions run the same program."""
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._job: _Job | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End a translation under way, and remove what is temporary."""
        self._waiting.clear()
        if self._job is not None:
            self._job.process.kill()
            self._job.process.wait()
            self._job = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def create_machine(self, version: int, max_cycles: int, engine: str = "auto") -> Machine:
        """As `vm.create_machine`."""
        if engine not in ENGINES:
            raise ValueError(f"no such engine: {engine}")
        if version not in VERSIONS:
            raise InvalidVersion
        if engine == "reference":
            return ReferenceMachine(version, max_cycles, self.isa)
        if engine == "wasm":
            return WasmMachine(self.runtime, version, max_cycles)
        return AutoMachine(self, version, max_cycles)

    def translate(self, elf: bytes, version: int) -> None:
        """Translate a program here and now. Raises TooLargeError, or what loading it raises."""
        key = translation_key(elf, version, self.isa)
        if not self._load(key, elf, version):
            self._cache.store(key, compile_native(elf, version, self.isa))
            self._load(key, elf, version)

    def is_translated(self, elf: bytes, version: int) -> bool:
        """Whether a translation of the program is ready."""
        return self._lookup(elf, version) is not None

    def is_translating(self) -> bool:
        """Whether there is anything that `poll` waits for."""
        return self._job is not None or bool(self._waiting)

    # What machines ask

    def find(self, elf: bytes, version: int) -> TranslatedProgram | None:
        """The translation of a program, if it is ready."""
        if self.is_translating():
            self.poll()
        program = self._lookup(elf, version)
        if program is not None:
            self.counters.translated_runs += 1
        return program

    def used(self, elf: bytes, version: int, cycles: int) -> None:
        """Count interpreted cycles; have the program translated once they are many."""
        self.counters.interpreted_runs += 1
        self.counters.interpreted_cycles += cycles
        usage = self._usage.setdefault((hash(elf), version), _Usage())
        if len(self._usage) > _MAX_KNOWN:
            self._usage.popitem(last=False)
        usage.cycles += cycles
        if not usage.was_looked_up and usage.cycles >= self._threshold // _LOOK_UP_SHARE:
            usage.was_looked_up = True
            usage.was_requested = self._load(translation_key(elf, version, self.isa), elf, version)
        if not usage.was_requested and usage.cycles >= self._threshold and len(self._waiting) < _MAX_WAITING:
            usage.was_requested = True
            self._waiting.append((elf, version))
            self.poll()

    # Translations

    def poll(self) -> None:
        """Take over a translation that is finished, and begin the next. Returns at once."""
        if not self._lock.acquire(blocking=False):  # another thread polls
            return
        try:
            if self._job is not None:
                self._end_if_stopped(self._job)
                if self._job.process.poll() is not None:
                    self._finish(self._job)
                    self._job = None
            while self._waiting and self._job is None:
                elf, version = self._waiting.popleft()
                key = translation_key(elf, version, self.isa)
                if not self._load(key, elf, version):  # perhaps another process has translated it meanwhile
                    self._job = self._start(key, elf, version)
        finally:
            self._lock.release()

    def _finish(self, job: _Job) -> None:
        if job.process.returncode == 0 and self._load(job.key, job.elf, job.version):
            self.counters.translations_finished += 1
            self._cache.evict()
            return
        self.counters.translations_failed += 1
        if job.process.returncode in _REFUSALS:
            self._cache.refuse(job.key)
        else:
            self._allow_again(job.elf, job.version)

    def _allow_again(self, elf: bytes, version: int) -> None:
        """Allow another attempt: the worker was killed from outside, or could not be started."""
        usage = self._usage.get((hash(elf), version))
        if usage is not None:
            usage.attempts += 1
            usage.cycles, usage.was_requested = 0, usage.attempts >= _MAX_ATTEMPTS

    def _end_if_stopped(self, job: _Job) -> None:
        """Kill a worker that was stopped by a signal, since it would block all others. Its own limits end one that
        hangs."""
        job.looks += 1
        if job.looks % _LOOKS == 0 and process_state(job.process.pid) in STOPPED_STATES:
            job.process.kill()
            job.process.wait()

    def _start(self, key: str, elf: bytes, version: int) -> _Job | None:
        """Start the worker; None when the system cannot start a process."""
        self.counters.translations_started += 1
        arguments = [str(self._niceness), str(version), self.isa.value, "-", str(self._cache.path(key))]
        try:
            with os.fdopen(os.memfd_create("program"), "w+b") as source:
                source.write(elf)
                source.flush()
                source.seek(0)
                return _Job(start_child(WORKER, arguments, stdin=source), key, elf, version)
        except OSError:
            self.counters.translations_failed += 1
            self._allow_again(elf, version)
            return None

    def _load(self, key: str, elf: bytes, version: int) -> bool:
        """Whether the cache knows a program. If it has code for it, that is ready from now on."""
        native = self._cache.load(key)
        if native is None:
            return False
        if native:
            try:
                module = self._hosted.load(native)
            except wasmtime.WasmtimeError:  # made for another processor
                self._cache.remove(key)
                return False
            self.counters.cache_hits += 1
            self._ready[_sample(elf, version)] = TranslatedProgram(self._hosted, self._idle, elf, version, module)
            self._bound_ready()
        return True

    def _bound_ready(self) -> None:
        while len(self._ready) > _MAX_READY or sum(len(p.elf) for p in self._ready.values()) > _MAX_READY_BYTES:
            _, program = self._ready.popitem(last=False)
            self._usage.pop((hash(program.elf), program.version), None)

    def _lookup(self, elf: bytes, version: int) -> TranslatedProgram | None:
        last = self._last
        if last is not None and last.elf is elf and last.version == version and not last.is_broken:
            return last
        program = self._ready.get(_sample(elf, version))
        if program is None or program.is_broken or program.elf != elf:
            return None
        self._last = program
        return program


def _sample(elf: bytes, version: int) -> tuple[object, ...]:
    """A cheap key of a program from samples of it. Not unique: the whole program must be compared after a hit."""
    step = max(len(elf) // _SAMPLES, 1)
    return (version, len(elf), *(elf[start : start + _SAMPLE_SIZE] for start in range(0, len(elf), step)))
