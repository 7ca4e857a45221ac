"""Machines that wait give the memory back that only makes them fast, and go on as if nothing had happened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.vm.assembler import ECALL, branch, exit_with, imm, program
from vm import Engines, Machine, create_machine

ROUNDS = 50
BODY = imm("addi", 5, 5, 1) + ECALL
CODE = program(imm("addi", 6, 0, ROUNDS) + BODY + branch("bltu", 5, 6, -len(BODY)) + exit_with())


@pytest.fixture(params=["reference", "wasm", "auto"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    with Engines(tmp_path / "engines") as engines:
        engines.translate(CODE, 2)
        yield engines.create_machine(2, 1 << 30, request.param)


def test_a_machine_goes_on_after_it_was_shrunk(machine: Machine) -> None:
    machine.load_program(CODE, [])
    for number in range(1, ROUNDS + 1):
        machine.run()
        assert machine.get_register(5) == number
        machine.shrink()
    machine.run()
    assert machine.get_register(17) == 93
    expected = _cycles_without()
    assert machine.cycles == expected


def _cycles_without() -> int:
    machine = create_machine(2, 1 << 30, "reference")
    machine.load_program(CODE, [])
    for _ in range(ROUNDS + 1):
        machine.run()
    return machine.cycles


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back on Linux only")
def test_decoded_blocks_are_gone(machine: Machine) -> None:
    machine.load_program(CODE, [])
    machine.run()
    machine.shrink()
    views = getattr(machine, "views", None)
    assert views is None or not views.blocks_and_arena.tobytes().strip(b"\0")
