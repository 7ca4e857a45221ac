"""Random programs on both engines: same cycles, registers, memory, pc and error."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vm.assembler import program
from tests.vm.random_programs import random_program
from tests.vm.running import loaded, outcome

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
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [0, 1, 2])
def test_many_random_programs(version: int) -> None:
    for seed in range(3000):
        compare(seed, version)


@pytest.mark.parametrize("version", [0, 1, 2])
@settings(max_examples=40, deadline=None)
@given(code=st.binary(min_size=2, max_size=200))
def test_random_bytes(version: int, code: bytes) -> None:
    file = program(code)
    reference = outcome(loaded(file, version, "reference", CYCLES))
    assert outcome(loaded(file, version, "wasm", CYCLES)) == reference
