"""Random programs on both engines: same cycles, registers, memory, pc and error."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzz import examples
from tests.support.vm.assembler import CODE_BASE, ECALL, PF_R, PF_X, Segment, branch, elf, half, imm, li, program
from tests.support.vm.random_programs import random_program
from tests.vm.running import loaded, outcome
from vm.wasm import layout as at

CYCLES = 20_000


def compare(seed: int, version: int) -> None:
    file = random_program(random.Random(seed), version)
    reference = outcome(loaded(file, version, "reference", CYCLES))
    assert outcome(loaded(file, version, "wasm", CYCLES)) == reference


@pytest.mark.parametrize("version", [0, 1, 2])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_random_programs(version: int, seed: int) -> None:
    compare(seed, version)


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("version", [0, 1, 2])
def test_many_random_programs(version: int) -> None:
    for seed in range(examples(200)):
        compare(seed, version)


@pytest.mark.parametrize("version", [0, 1, 2])
@settings(max_examples=40, deadline=None)
@given(code=st.binary(min_size=2, max_size=200))
def test_random_bytes(version: int, code: bytes) -> None:
    file = program(code)
    reference = outcome(loaded(file, version, "reference", CYCLES))
    assert outcome(loaded(file, version, "wasm", CYCLES)) == reference


def test_more_decoded_code_than_is_kept() -> None:
    """A stretch of code is entered at every second byte, so that it makes 16 times as many blocks as usual: all decoded
    code is forgotten once. Then it is run again."""
    size, phase, end, rounds, start = 72 << 10, 10, 11, 12, CODE_BASE + 160
    head = li(rounds, 2) + li(phase, start) + imm("addi", end, phase, 32)
    head += imm("addi", 0, 0, 0) * ((160 - len(head) - 4) // 4) + imm("jalr", 0, phase, 0)
    body = half(0x0285) * (size // 2)  # c.addi x5, 1
    again = imm("addi", phase, phase, 2) + branch("bgeu", phase, end, 8) + imm("jalr", 0, phase, 0)
    last = imm("addi", phase, phase, -32) + imm("addi", rounds, rounds, -1) + branch("beq", rounds, 0, 8)
    file = elf([Segment(CODE_BASE, head + body + again + last + imm("jalr", 0, phase, 0) + ECALL, PF_R | PF_X)])
    machine = loaded(file, 2, "wasm")
    machine.run()
    count = size // 2
    assert machine.get_register(5) == 2 * sum(count - skipped for skipped in range(16))
    blocks = 16 * count // 16
    assert blocks * (at.BLOCK_HEADER + 18 * at.ENTRY_SIZE) > at.ARENA_SIZE
    assert outcome(loaded(file, 2, "wasm")) == outcome(loaded(file, 2, "reference"))
