"""The reference engine under watch, instructions as text, names of functions."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.vm.assembler import (
    CODE_BASE,
    DATA_BASE,
    ECALL,
    branch,
    exit_with,
    half,
    imm,
    jal,
    li,
    lui,
    program,
    reg,
    store,
)
from tests.support.vm.random_programs import random_program
from tests.support.vm.symbols import LABEL, LOCAL, Symbol, with_symbols
from tests.vm.running import LIMIT, loaded, outcome
from vm.errors import MemOutOfBound, VmError
from vm.isa.block import decode
from vm.isa.text import instruction_text
from vm.machine import Machine
from vm.memory import Memory
from vm.reference.tracing import Observer, Observers, Step, TracingMachine
from vm.symbols import read_symbols


@dataclass
class Recorder:
    """Keeps what it is told."""

    programs: list[bytes] = field(default_factory=list)
    began: list[Step] = field(default_factory=list)
    done: list[Step] = field(default_factory=list)
    charges: list[int] = field(default_factory=list)

    def loaded(self, machine: Machine, program: bytes) -> None:
        self.programs.append(program)

    def before(self, machine: Machine, step: Step) -> None:
        self.began.append(step)

    def after(self, machine: Machine, step: Step) -> None:
        self.done.append(step)

    def charged(self, machine: Machine, cycles: int) -> None:
        self.charges.append(cycles)


def watched(elf: bytes, version: int, observer: Observer) -> TracingMachine:
    machine = TracingMachine(version, LIMIT, observer)
    machine.load_program(elf, [])
    return machine


def test_each_step_is_seen_with_its_address_and_cycles() -> None:
    code = imm("addi", 5, 0, 3) + imm("ld", 6, 2, 0) + jal(1, 8) + ECALL + ECALL
    recorder = Recorder()
    machine = watched(program(code), 2, recorder)
    machine.add_cycles_unchecked(10)
    machine.run()
    assert recorder.programs == [program(code)]
    assert recorder.charges == [10]
    # addi 1, ld 2, jal 3
    assert [(step.pc - CODE_BASE, step.cycles) for step in recorder.began] == [(0, 10), (4, 11), (8, 13), (16, 16)]
    assert recorder.done == recorder.began
    assert machine.cycles == 16 + 500


def test_fused_instructions_are_one_step() -> None:
    code = lui(5, 0x12345) + imm("addiw", 5, 5, 0x678) + exit_with()
    recorder = Recorder()
    machine = watched(program(code), 2, recorder)
    machine.run()
    first, second = recorder.began[:2]
    assert (first.instruction.name, first.instruction.length) == ("load_imm", 8)
    assert second.pc == CODE_BASE + 8


def test_a_step_that_fails_is_not_done() -> None:
    recorder = Recorder()
    machine = watched(program(imm("addi", 5, 0, -8) + imm("ld", 6, 5, 0) + exit_with()), 2, recorder)
    with pytest.raises(MemOutOfBound):
        machine.run()
    assert [step.instruction.name for step in recorder.began] == ["addi", "ld"]
    assert [step.instruction.name for step in recorder.done] == ["addi"]


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_watching_changes_nothing(version: int, seed: int) -> None:
    elf = random_program(random.Random(seed), version)
    first, second = Recorder(), Recorder()
    machine = TracingMachine(version, 20_000, Observers([first, second]))
    machine.load_program(elf, [])
    assert outcome(machine) == outcome(loaded(elf, version, "reference", 20_000))
    assert first == second
    assert first.began


# ---------------------------------------------------------------- text


def text_of(code: bytes, version: int = 2, pc: int = CODE_BASE) -> str:
    memory = Memory(bytearray(4 << 20), bytearray(1024))
    memory.init_pages(pc & ~4095, 4096, 0b010, code, pc & 4095)
    return instruction_text(decode(memory, pc, version), pc)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (reg("add", 10, 11, 12), "add a0, a1, a2"),
        (imm("addi", 2, 2, -16), "addi sp, sp, -16"),
        (imm("ld", 8, 2, 24), "ld s0, 24(sp)"),
        (imm("srai", 5, 6, 63), "srai t0, t1, 63"),
        (imm("jalr", 0, 1, 0), "jalr zero, 0(ra)"),
        (store("sd", 1, 2, -8), "sd ra, -8(sp)"),
        (branch("bne", 10, 0, -8), "bne a0, zero, 0xfff8"),
        (jal(1, 0x100), "jal ra, 0x10100"),
        (lui(10, -1), "lui a0, 0xfffff"),
        (ECALL, "ecall"),
        (half(0x4501), "addi a0, zero, 0"),
        (lui(5, 0x12345) + imm("addiw", 5, 5, 0x678), f"load_imm t0, {0x12345678}"),
        (lui(1, 0x12) + imm("jalr", 1, 1, 0x34), "far_jump_abs ra, 0x12034"),
        (reg("mulhu", 5, 10, 11) + reg("mul", 6, 10, 11), "wide_mulu t0, a0, a1, t1"),
    ],
)
def test_text(code: bytes, text: str) -> None:
    assert text_of(code) == text


@given(word=st.integers(0, (1 << 32) - 1))
def test_every_instruction_has_a_text(word: int) -> None:
    try:
        text = text_of(struct.pack("<I", word))
    except VmError:
        return
    assert text.isprintable()


# ---------------------------------------------------------------- symbols

CODE = program(li(5, 0) * 4)


def test_functions_by_address_and_name() -> None:
    symbols = read_symbols(
        with_symbols(
            CODE,
            [
                Symbol("second", CODE_BASE + 32, 16),
                Symbol("first", CODE_BASE, 24),
                Symbol("helper", CODE_BASE + 64, binding=LOCAL),
                Symbol("helper", CODE_BASE + 96, binding=LOCAL),
            ],
        )
    )
    assert symbols.place(CODE_BASE) == "first+0x0"
    assert symbols.place(CODE_BASE + 23) == "first+0x17"
    assert symbols.place(CODE_BASE + 24) == "0x10018"
    assert symbols.place(CODE_BASE + 40) == "second+0x8"
    assert symbols.place(CODE_BASE + 48) == "0x10030"
    assert symbols.place(CODE_BASE + 95) == "helper+0x1f"  # without a size up to the next
    assert symbols.place(CODE_BASE + 4095) == "helper+0xf9f"  # or to the end of its section
    assert symbols.place(CODE_BASE + 4096) == "0x11000"
    assert symbols.place(0) == "0x0"
    assert symbols.place((1 << 64) - 1) == "0xffffffffffffffff"
    assert symbols.addresses("helper") == [CODE_BASE + 64, CODE_BASE + 96]
    assert symbols.addresses("none") == []


def test_what_is_no_function_is_left_out() -> None:
    symbols = read_symbols(
        with_symbols(
            CODE,
            [
                Symbol("_start", CODE_BASE, kind=LABEL),
                Symbol(".L1", CODE_BASE + 4, kind=LABEL, binding=LOCAL),
                Symbol("object", CODE_BASE + 8, kind=1),
                Symbol("outside", CODE_BASE + 8192),
                Symbol("absolute", CODE_BASE + 8, section=0xFFF1),
                Symbol("", CODE_BASE + 8),
            ],
        )
    )
    assert symbols.place(CODE_BASE + 8) == "_start+0x8"
    assert len(symbols) == 1


def test_the_function_comes_before_other_names_of_its_address() -> None:
    both = [
        Symbol("label", CODE_BASE, kind=LABEL),
        Symbol("local", CODE_BASE, binding=LOCAL),
        Symbol("real", CODE_BASE),
    ]
    symbols = read_symbols(with_symbols(CODE, both))
    assert symbols.place(CODE_BASE) == "real+0x0"
    assert symbols.addresses("local") == [CODE_BASE]


def test_names_are_fit_to_be_shown() -> None:
    names = ["a b;c", "\x1b[2J", "\xe9", "x" * 1000]
    symbols = read_symbols(with_symbols(CODE, [Symbol(name, CODE_BASE + 8 * i, 8) for i, name in enumerate(names)]))
    shown = [symbols.find(CODE_BASE + 8 * i).name for i in range(len(names))]
    assert shown == ["a_b_c", "_[2J", "\\xe9", "x" * 200]


def test_dynamic_symbols_serve_where_there_are_no_others() -> None:
    symbols = read_symbols(with_symbols(CODE, [Symbol("exported", CODE_BASE)], table_kind=11))
    assert symbols.addresses("exported") == [CODE_BASE]


@pytest.mark.parametrize("data", [b"", b"\x7fELF", CODE, CODE[:70], bytes(1000)])
def test_files_without_symbols(data: bytes) -> None:
    assert len(read_symbols(data)) == 0
    assert read_symbols(data).place(5) == "0x5"


GOOD = with_symbols(CODE, [Symbol("first", CODE_BASE, 8), Symbol("second", CODE_BASE + 8)])


@given(
    changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8),
    size=st.just(len(GOOD)) | st.integers(0, len(GOOD)),
)
def test_broken_files_have_some_symbols_or_none(changes: list[tuple[int, int]], size: int) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    symbols = read_symbols(bytes(data[:size]))
    for address in (0, CODE_BASE, CODE_BASE + 9, DATA_BASE, (1 << 64) - 1):
        assert symbols.find(address).holds(address)
