"""Runs one program on every engine, with the same interruptions, and compares the state at each of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.fuzz.programs import KINDS, PLACED_BASE, WITH_ATOMICS, placed_code
from tests.support.vm.assembler import DATA_BASE, PAGE
from tests.support.vm.translated import EagerHost
from vm import Machine
from vm.constants import FLAG_DIRTY, FLAG_EXECUTABLE, FLAG_FREEZED, MEMORY_SIZE, STATE_WORDS, VERSION2
from vm.errors import CyclesExceeded, EngineFailure, VmError
from vm.isa.profile import Isa
from vm.reference.engine import ReferenceMachine
from vm.translator.limits import Limits
from vm.translator.machine import AutoMachine
from vm.wasm.machine import WasmMachine

MAX_STOPS = 12
MAX_CYCLES = 12_000
_GOES_ON = {"ecall", "CyclesExceeded"}

MachineFactory = Callable[[int, int], Machine]


@dataclass(frozen=True)
class Seed:
    """Names a program and how it is interrupted."""

    kind: str
    number: int
    version: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number} V{self.version}"

    @classmethod
    def parse(cls, line: str) -> Seed:
        kind, number, version = line.split()
        return cls(kind, int(number), int(version.removeprefix("V")))


@dataclass(frozen=True)
class Stop:
    """The state when a run was left. After an error the pc means nothing and is 0."""

    why: str
    pc: int
    cycles: int
    registers: tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """All stops, and memory and page flags after the last."""

    stops: tuple[Stop, ...]
    memory: bytes
    flags: bytes

    @property
    def end(self) -> str:
        """Why it ended, without figures."""
        return self.stops[-1].why.partition("(")[0].partition(" ")[0]


class Engines:
    """Machine factories of an instruction set by name. The last translates in small pieces, with many ways into and out
    of them."""

    def __init__(self, isa: Isa) -> None:
        self.hosts = {
            "translated": EagerHost(isa=isa),
            "translated-cut": EagerHost(Limits(function_blocks=5, function_instructions=40, rounds=4), isa),
        }
        self.factories: dict[str, MachineFactory] = {
            "reference": partial(ReferenceMachine, isa=isa),
            "wasm": partial(WasmMachine, self.hosts["translated"].runtime),
        }
        self.factories.update({name: partial(AutoMachine, host) for name, host in self.hosts.items()})

    @classmethod
    def for_all_kinds(cls) -> dict[str, Engines]:
        """Engines by the kind of programs that they are compared on."""
        plain, other = cls(Isa.CKB), cls(Isa.CKB_WITH_ATOMICS)
        return {kind: other if kind in WITH_ATOMICS else plain for kind in KINDS}


@dataclass(frozen=True)
class Difference:
    """An engine that does not do as the reference engine does."""

    seed: Seed
    engine: str
    text: str


def compare(engines: Engines, seed: Seed) -> tuple[Trace, list[Difference]]:
    """The trace of the reference engine, and who differs from it."""
    expected = trace(engines.factories["reference"], seed)
    differences = []
    for name, factory in engines.factories.items():
        if name == "reference":
            continue
        try:
            text = _first_difference(expected, trace(factory, seed))
        except EngineFailure as failure:
            text = f"broke down: {failure}"
        if text is not None:
            differences.append(Difference(seed, name, text))
    return expected, differences


def trace(factory: MachineFactory, seed: Seed) -> Trace:
    """Run the program of a seed on an engine."""
    rng = random.Random(seed.number)
    file = KINDS[seed.kind](rng, seed.version)
    machine = factory(seed.version, 0)
    limits = sorted(rng.randrange(MAX_CYCLES) for _ in range(rng.choice((0, 0, 1, 3))))
    stops: list[Stop] = []
    try:
        machine.load_program(file, [b"fuzz"] if rng.random() < 0.2 else [])
    except VmError as error:
        stops.append(_stop(machine, str(error)))
    else:
        runner = _Runner(factory, machine, seed, rng)
        stops.extend(runner.run([*limits, MAX_CYCLES]))
        machine = runner.machine
    flags = bytes(machine.memory.flags)
    if stops[-1].why not in _GOES_ON:
        # Engines may mark a page before they see that what follows fails; nobody ever looks at that machine again.
        flags = bytes(flag & ~FLAG_DIRTY for flag in flags)
    return Trace(tuple(stops), machine.memory.load_bytes(0, MEMORY_SIZE), flags)


class _Runner:
    """One run with its interruptions: limits that are raised, and what a caller may do at ecalls."""

    def __init__(self, factory: MachineFactory, machine: Machine, seed: Seed, rng: random.Random) -> None:
        self.factory, self.machine, self.seed, self.rng = factory, machine, seed, rng

    def run(self, limits: list[int]) -> Iterator[Stop]:
        for limit in limits:
            self.machine.max_cycles = limit
            for _ in range(MAX_STOPS):
                try:
                    self.machine.run()
                except CyclesExceeded as error:
                    yield _stop(self.machine, str(error))
                    break
                except VmError as error:
                    yield _stop(self.machine, str(error))
                    return
                yield _stop(self.machine, "ecall")
                try:
                    self._serve()
                except VmError as error:
                    yield _stop(self.machine, f"serving: {error}")
                    return

    def _serve(self) -> None:
        """What a system call may do to a machine."""
        machine, rng = self.machine, self.rng
        if self.seed.kind == "placed":
            self._place()
        match rng.randrange(8):
            case 0 | 1 | 2:
                machine.set_register(rng.randrange(32), rng.getrandbits(64))
            case 3:
                machine.memory.store_bytes(DATA_BASE + rng.randrange(8000), rng.randbytes(rng.randrange(200)))
            case 4:
                machine.add_cycles_unchecked(rng.randrange(500))
            case 5 if self.seed.version == VERSION2:  # older versions remember more than a snapshot holds
                snapshot = machine.snapshot()
                self.machine = self.factory(self.seed.version, 0)
                self.machine.restore(snapshot)
            case 6 if rng.random() < 0.3:
                kind = self.seed.kind if self.seed.kind in WITH_ATOMICS else rng.choice(("stream", "flow", "edges"))
                machine.reset()
                machine.load_program(KINDS[kind](rng, self.seed.version), [])

    def _place(self) -> None:
        memory, code = self.machine.memory, placed_code(self.rng, self.seed.version)
        page = PLACED_BASE + (0 if self.rng.random() < 0.9 else PAGE)
        flags = FLAG_EXECUTABLE | FLAG_FREEZED
        if not memory.fetch_flag(page // PAGE) & FLAG_FREEZED:
            memory.init_pages(page, PAGE, flags, code, 0)


def _stop(machine: Machine, why: str) -> Stop:
    registers = tuple(machine.get_register(index) for index in range(STATE_WORDS))
    return Stop(why, machine.pc if why in _GOES_ON else 0, machine.cycles, registers)


def _first_difference(expected: Trace, actual: Trace) -> str | None:
    for index, (one, other) in enumerate(zip(expected.stops, actual.stops, strict=False)):
        if one != other:
            registers = [
                f"x{number} {a:#x} {b:#x}"
                for number, (a, b) in enumerate(zip(one.registers, other.registers, strict=True))
                if a != b
            ]
            return (
                f"stop {index}: {one.why}/{other.why} pc {one.pc:#x}/{other.pc:#x} "
                f"cycles {one.cycles}/{other.cycles} {' '.join(registers)}"
            )
    if len(expected.stops) != len(actual.stops):
        return f"{len(expected.stops)} stops, not {len(actual.stops)}"
    if expected.flags != actual.flags:
        return "page flags"
    return "memory" if expected.memory != actual.memory else None
