"""Translated code against the interpreters: the same state at every ecall, error and cycle limit."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders.mock_transactions import SIGHASH, Mock, code, payment, signed
from tests.support.fuzz import examples
from tests.support.vm import harness
from tests.support.vm.assembler import (
    CODE_BASE,
    DATA_BASE,
    ECALL,
    PAGE,
    PF_R,
    PF_X,
    Segment,
    auipc,
    branch,
    elf,
    exit_with,
    imm,
    jal,
    li,
    lui,
    program,
    reg,
    store,
)
from tests.support.vm.harness import Group, Result, lock_group
from tests.support.vm.random_flow import random_flow
from tests.support.vm.random_programs import random_program
from tests.support.vm.translated import EagerHost
from tests.vm.running import loaded, outcome
from vm import Machine, create_machine
from vm.constants import FLAG_EXECUTABLE, FLAG_FREEZED, MEMORY_SIZE
from vm.errors import CyclesExceeded, EngineFailure, MemWriteOnExecutablePage, VmError
from vm.translator import layout
from vm.translator.limits import Limits
from vm.translator.machine import AutoMachine
from vm.wasm import layout as at

VERSIONS = (0, 1, 2)
A7, EXIT = 17, 93
ENOUGH = 3_000_000
HOST = EagerHost()
CUTTING_HOST = EagerHost(Limits(function_blocks=5, function_instructions=40, rounds=4))


@dataclass(frozen=True)
class Stop:
    """The state when a run was left. After an error the pc means nothing."""

    why: str
    pc: int
    cycles: int
    registers: tuple[int, ...]
    memory: bytes
    flags: bytes


def stop(machine: Machine, why: str) -> Stop:
    registers = tuple(machine.get_register(index) for index in range(32))
    pc = machine.pc if why in {"ecall", "CyclesExceeded"} else 0
    memory = machine.memory
    return Stop(why, pc, machine.cycles, registers, memory.load_bytes(0, MEMORY_SIZE), bytes(memory.flags))


def stops(machine: Machine, limits: list[int]) -> Iterator[Stop]:
    """Run with one limit after the other, as long as there is no other error and no exit."""
    for limit in limits:
        machine.max_cycles = limit
        why = "ecall"
        while why == "ecall":
            try:
                machine.run()
            except VmError as error:
                why = str(error)
            yield stop(machine, why)
            if why == "ecall" and machine.get_register(A7) == EXIT:
                return
        if why != "CyclesExceeded":
            return


def compare(file: bytes, version: int, limits: list[int], host: EagerHost = HOST, engine: str = "wasm") -> None:
    expected = create_machine(version, 0, engine)
    expected.load_program(file, [])
    translated = host.loaded(file, version, 0)
    for one, other in zip(stops(expected, limits), stops(translated, limits), strict=True):
        assert one == other


def is_translated(machine: Machine) -> bool:
    """Whether nothing at all was interpreted."""
    return int(machine.views.words[at.ARENA_NEXT // 4]) == 0  # type: ignore[attr-defined]


# Random programs


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_random_instructions(version: int, seed: int) -> None:
    file = random_program(random.Random(seed), version)
    reference = outcome(loaded(file, version, "reference", 20_000))
    assert outcome(HOST.loaded(file, version, 20_000)) == reference


@pytest.mark.parametrize("host", [HOST, CUTTING_HOST], ids=["whole", "cut"])
@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_random_control_flow(version: int, host: EagerHost, seed: int) -> None:
    rng = random.Random(seed)
    file = random_flow(rng, version)
    compare(file, version, [*sorted(rng.randrange(60_000) for _ in range(4)), 200_000], host)


@pytest.mark.parametrize("version", VERSIONS)
def test_random_control_flow_on_the_reference_engine(version: int) -> None:
    for seed in range(6):
        compare(random_flow(random.Random(seed), version), version, [20_000], engine="reference")


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("version", VERSIONS)
def test_much_random_control_flow(version: int) -> None:
    for seed in range(examples(100)):
        rng = random.Random(seed)
        file = random_flow(rng, version)
        limits = [*sorted(rng.randrange(60_000) for _ in range(10)), 200_000]
        compare(file, version, limits, (HOST, CUTTING_HOST)[seed % 2])


def test_every_cycle_limit_of_a_run() -> None:
    file = random_flow(random.Random(5), 2)
    machine = loaded(file, 2, "wasm", ENOUGH)
    machine.run()
    assert machine.cycles > 100
    for limit in range(min(machine.cycles, 1500)):
        compare(file, 2, [limit])


# The system scripts


class Locks:
    """The default lock with one input, on translated code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, engine: str, version: int) -> None:
        self.version = version
        self.machines: list[Machine] = []
        self.engine = engine
        monkeypatch.setattr(harness, "create_machine", self.create)

    def create(self, version: int, max_cycles: int, _engine: str) -> Machine:
        machine = create_machine(version, max_cycles, self.engine) if self.engine != "auto" else self.eager(max_cycles)
        self.machines.append(machine)
        return machine

    def eager(self, max_cycles: int) -> Machine:
        return AutoMachine(HOST, self.version, max_cycles)

    def run(self, mock: Mock, group: Group) -> Result:
        return harness.run(code(SIGHASH), mock, group, self.version)


@pytest.mark.parametrize("version", VERSIONS)
def test_default_lock(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    mocks = [signed(payment()), payment()]
    results = {}
    for engine in ("wasm", "auto"):
        locks = Locks(monkeypatch, engine, version)
        results[engine] = [locks.run(mock, lock_group(mock, 0)) for mock in mocks]
        if engine == "auto":
            assert all(is_translated(machine) for machine in locks.machines)
    assert results["auto"] == results["wasm"]
    assert results["auto"][0].code == 0
    assert results["auto"][1].code != 0


# Control flow


def recursion(depth: int) -> bytes:
    """a1 = 1 + 2 + ... + depth, recursively; a0 = depth on the way down."""
    body = imm("addi", 2, 2, -16) + store("sd", 1, 2, 0) + store("sd", 10, 2, 8)
    rest = imm("ld", 10, 2, 8) + reg("add", 11, 11, 10) + imm("ld", 1, 2, 0) + imm("addi", 2, 2, 16)
    call = imm("addi", 10, 10, -1)
    function = body + branch("beq", 10, 0, 12) + call + jal(1, -(len(body) + 8)) + rest + imm("jalr", 0, 1, 0)
    start = li(10, depth)
    return program(start + jal(1, 12) + imm("addi", 17, 0, 93) + ECALL + function)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("depth", [10, 1000, 50_000])
def test_recursion_beyond_the_native_stack(version: int, depth: int) -> None:
    machine = HOST.loaded(recursion(depth), version, ENOUGH)
    machine.run()
    assert machine.get_register(11) == depth * (depth + 1) // 2
    compare(recursion(depth), version, [1_000_000, ENOUGH])


def test_endless_recursion_meets_the_cycle_limit() -> None:
    file = program(imm("addi", 5, 5, 1) + jal(1, -4))
    compare(file, 2, [1_000_003])


def test_recursion_until_the_stack_meets_the_code() -> None:
    file = program(imm("addi", 2, 2, -2032) + store("sd", 1, 2, 0) + jal(1, -8))
    compare(file, 2, [ENOUGH])
    with pytest.raises(MemWriteOnExecutablePage):
        HOST.loaded(file, 2, ENOUGH).run()


@pytest.mark.parametrize("version", VERSIONS)
def test_return_past_all_callers(version: int) -> None:
    """f calls g calls h, which goes on behind the call of f."""
    start = imm("addi", 8, 0, 7) + jal(1, 12) + imm("addi", 17, 0, 93) + ECALL
    f = imm("addi", 9, 1, 0) + imm("addi", 8, 8, 1) + jal(1, 8) + imm("addi", 8, 8, 100)
    g = imm("addi", 8, 8, 1) + jal(1, 8) + imm("addi", 8, 8, 200)
    h = imm("addi", 8, 8, 1) + imm("jalr", 0, 9, 0)
    file = program(start + f + g + h)
    compare(file, version, [ENOUGH])
    machine = HOST.loaded(file, version, ENOUGH)
    machine.run()
    assert machine.get_register(8) == 10


@pytest.mark.parametrize("version", VERSIONS)
def test_jump_into_the_middle_of_an_instruction(version: int) -> None:
    inner = 0x0001 | 7 << 7 | 1 << 2  # addi x7, x7, 1
    twice = imm("addi", 6, 6, -1) + branch("bne", 6, 0, 6) + (0x37 | inner << 16).to_bytes(4, "little")
    file = program(imm("addi", 6, 0, 2) + twice + branch("bne", 6, 0, -12) + exit_with())
    compare(file, version, [ENOUGH])


def test_computed_jumps_to_any_address() -> None:
    """Jumps to each byte of the code and a little around, with whatever follows."""
    body = b"".join(imm("addi", 5, 5, i) for i in range(6)) + exit_with()
    for offset in range(-4, len(body) + 40):
        start = auipc(6, 0) + imm("jalr", 0, 6, offset)
        compare(program(start + body), 2, [300, ENOUGH])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("address", [0, PAGE, 1 << 31, 1 << 32, (1 << 32) + CODE_BASE, 1 << 63, (1 << 64) - 2])
def test_jumps_far_away(version: int, address: int) -> None:
    file = program(li(6, address) + imm("addi", 5, 5, 1) + imm("jalr", 1, 6, 0) + ECALL)
    compare(file, version, [5000])


# Memory


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offset", range(-12, 13))
def test_accesses_around_boundaries(version: int, offset: int) -> None:
    """Loads and stores of all sizes at the ends of pages, of code, and of the memory."""
    for base in (CODE_BASE, CODE_BASE + PAGE, DATA_BASE, DATA_BASE + PAGE, MEMORY_SIZE, 0):
        for make in (
            imm("lb", 7, 6, offset) + imm("ld", 8, 6, -offset),
            imm("lhu", 6, 6, offset) + imm("lw", 8, 6, 0),
            store("sb", 5, 6, offset) + store("sd", 5, 6, 4),
            store("sh", 5, 6, 2) + imm("addi", 6, 6, 1) + store("sw", 5, 6, offset),
        ):
            compare(program(li(6, base) + imm("addi", 5, 0, -3) + make + ECALL), version, [ENOUGH])


def test_stores_to_code_fail() -> None:
    file = program(auipc(6, 0) + store("sw", 0, 6, 0) + ECALL)
    compare(file, 2, [ENOUGH])
    with pytest.raises(MemWriteOnExecutablePage):
        HOST.loaded(file, 2, ENOUGH).run()


@pytest.mark.parametrize("address", [CODE_BASE + PAGE, 0x3_0000])
def test_code_that_is_loaded_while_running(address: int) -> None:
    """Called again and again; right behind the program's own code, and elsewhere."""
    call = lui(6, address >> 12) + imm("jalr", 1, 6, 0)
    file = elf([Segment(CODE_BASE, ECALL + call + call + imm("addi", 17, 0, 93) + ECALL, PF_R | PF_X)])
    more = imm("addi", 9, 9, 5) + imm("jalr", 0, 1, 0)
    for machine in (loaded(file, 2, "wasm"), HOST.loaded(file, 2, ENOUGH)):
        machine.run()
        machine.memory.init_pages(address, PAGE, FLAG_EXECUTABLE | FLAG_FREEZED, more, 0)
        machine.run()
        assert machine.get_register(9) == 10
        assert machine.get_register(A7) == EXIT
    first = HOST.loaded(file, 2, ENOUGH)
    assert first.memory.flags[address >> 12] == 0, "an instance with foreign code is not used again"


def test_fetch_across_the_end_of_the_program_sees_what_lies_there() -> None:
    """Whether the last instruction is fused depends on code that is loaded later."""
    filling = imm("addi", 0, 0, 0) * ((PAGE - 8) // 4)
    start = ECALL + jal(0, PAGE - 8)
    file = elf([Segment(CODE_BASE, (start + filling)[: PAGE - 4] + lui(6, 0x10), PF_R | PF_X)])
    more = imm("addiw", 6, 6, 1) + ECALL
    states = []
    for machine in (loaded(file, 2, "wasm"), HOST.loaded(file, 2, ENOUGH)):
        machine.run()
        machine.memory.init_pages(CODE_BASE + PAGE, PAGE, FLAG_EXECUTABLE | FLAG_FREEZED, more, 0)
        machine.run()
        states.append(stop(machine, "ecall"))
    assert states[0] == states[1]


@pytest.mark.parametrize("version", VERSIONS)
def test_instances_begin_anew(version: int) -> None:
    """Whatever a run leaves behind: the next one finds memory, flags, registers and cached blocks as at first."""
    code_ = li(6, 0x123456) + lui(5, 0x20) + store("sd", 6, 5, 8) + store("sd", 6, 2, -16) + imm("ld", 7, 5, 0) + ECALL
    file = program(code_, data=b"\x11" * 24)
    host = EagerHost()
    first = host.loaded(file, version, ENOUGH)
    fresh = stop(first, "ecall")
    first.run()
    after = stop(first, "ecall")
    views = first.views  # type: ignore[attr-defined]
    assert after.memory != fresh.memory
    del first
    again = host.loaded(file, version, ENOUGH)
    assert again.views is views  # type: ignore[attr-defined]
    assert stop(again, "ecall") == fresh
    assert not any(views.slots)
    again.run()
    assert stop(again, "ecall") == after


def test_exec_into_another_and_the_same_program() -> None:
    one, other = program(imm("addi", 9, 9, 1) + ECALL), program(imm("addi", 9, 9, 2) + ECALL)
    machine = HOST.loaded(one, 2, ENOUGH)
    for file, expected in ((one, 1), (other, 2), (one, 1)):
        machine.reset()
        assert machine.memory.load_bytes(0, MEMORY_SIZE) == bytes(MEMORY_SIZE)
        machine.load_program(file, [])
        machine.run()
        assert machine.get_register(9) == expected


def test_snapshot_goes_on_in_another_machine() -> None:
    file = random_flow(random.Random(5), 2)
    machine = HOST.loaded(file, 2, 300)
    with pytest.raises(CyclesExceeded):
        machine.run()
    other = HOST.loaded(file, 2, ENOUGH)
    other.restore(machine.snapshot())
    machine.max_cycles = other.max_cycles = ENOUGH
    assert list(stops(machine, [ENOUGH])) == list(stops(other, [ENOUGH]))


# Failures of the engine itself


def test_a_full_native_stack_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "STACK_BUDGET", 1 << 30)
    host = EagerHost()
    machine = host.loaded(recursion(50_000), 2, ENOUGH)
    with pytest.raises(EngineFailure):
        machine.run()
    assert not isinstance(EngineFailure(), VmError)
    assert machine._loaded.program.is_broken  # type: ignore[attr-defined]
