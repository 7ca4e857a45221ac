"""`ckb-node debug`: profiles, by function and process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consensus.script.syscalls.numbers import EXEC
from consensus.script.verifier import ScriptVerifier
from consensus.types.core import ResolvedTransaction
from tests.commands.kit_debug import CALLS, RA, SP, cycles_in, file_of, folded, made
from tests.commands.mocks import mock_file, mock_json
from tests.support.builders.scripts import (
    Chain,
    Env,
    make_consensus,
    script_for,
)
from tests.support.nodes.directories import invoke
from tests.support.vm.assembler import CODE_BASE, branch, exit_with, imm, jal, program, store
from tests.support.vm.script_programs import DATA, Program
from tests.support.vm.spawn_programs import Child, waiting_for_root
from tests.support.vm.symbols import Symbol, with_symbols

PROFILE = {
    "Inputs[0].Lock;[system]": (76 + 16) // 4,  # code and stack
    "Inputs[0].Lock;_start": 3 + 3,
    "Inputs[0].Lock;_start;twice": 1 + 3 + 3 + 1 + 3,
    "Inputs[0].Lock;_start;twice;leaf": 2 * (1 + 1 + 3),
    "Inputs[0].Lock;finish": 1 + 1 + 500,  # a tail call takes the place of its caller
}


@pytest.mark.parametrize("vm_version", ["1", "2"])
def test_profile_by_function(tmp_path: Path, vm_version: str) -> None:
    options = (
        "--bin",
        file_of(tmp_path / "p", CALLS),
        "--profile",
        str(tmp_path / "folded"),
        "--vm-version",
        vm_version,
    )
    result = invoke("debug", *options)
    assert folded((tmp_path / "folded").read_text()) == PROFILE
    assert cycles_in(result.stdout) == [sum(PROFILE.values())]


def test_profile_without_symbols(tmp_path: Path) -> None:
    stripped = bytearray(CALLS)
    stripped[40:48] = bytes(8)
    result = invoke("debug", "--bin", file_of(tmp_path / "p", bytes(stripped)), "--profile", "-")
    lines = [line for line in result.stdout.splitlines() if re.fullmatch(r"Inputs\[0\].Lock;\S+ \d+", line)]
    start, twice, leaf = "Inputs[0].Lock;0x10000", ";0x10010", ";0x10030"
    assert folded("\n".join(lines)) == {
        "Inputs[0].Lock;[system]": 23,
        start: 6 + 502,  # nothing tells a jump within a function from a tail call
        start + twice: 11,
        start + twice + leaf: 10,
    }


def recursion(depth: int) -> bytes:
    """A function that calls itself so often, keeping ra on the stack, and returns as often."""
    code = imm("addi", 5, 0, depth) + jal(RA, 8 + 12) + exit_with(0).ljust(16, b"\0")
    body = imm("addi", SP, SP, -16) + store("sd", RA, SP, 0) + imm("addi", 5, 5, -1)
    body += branch("beq", 5, 0, 8) + jal(RA, -16)
    body += imm("ld", RA, SP, 0) + imm("addi", SP, SP, 16) + imm("jalr", 0, RA, 0)
    return with_symbols(program(code + body), [Symbol("_start", CODE_BASE), Symbol("deep", CODE_BASE + 24)])


@pytest.mark.parametrize("depth", [3, 600])
def test_profile_of_recursion(tmp_path: Path, depth: int) -> None:
    result = invoke("debug", "--bin", file_of(tmp_path / "p", recursion(depth)), "--profile", str(tmp_path / "folded"))
    stacks = folded((tmp_path / "folded").read_text())
    assert sum(stacks.values()) == cycles_in(result.stdout)[0]
    deepest = max(stack.count(";deep") for stack in stacks)
    assert deepest == min(depth, 512)
    assert stacks["Inputs[0].Lock;_start"] == 1 + 3 + 502


def spawning() -> ResolvedTransaction:
    """Four processes that wait for the first: one more than may be instantiated together."""
    root = Child()
    for slot in range(4):
        root.spawn(1, into=DATA + 0x200 + 8 * slot)
    root.exit(0)
    return made(root.elf(), waiting_for_root().elf(), lock=script_for(root.elf(), 2))


def test_processes_have_stacks_of_their_own(tmp_path: Path) -> None:
    name = mock_file(tmp_path / "tx.json", mock_json(spawning()))
    expected = ScriptVerifier(make_consensus(), Chain()).verify(spawning(), Env(10), 10_000_000)
    result = invoke(
        "debug", "--tx-file", name, "--profile", str(tmp_path / "folded"), "--trace", str(tmp_path / "trace")
    )
    assert cycles_in(result.stdout) == [expected]
    stacks = folded((tmp_path / "folded").read_text())
    assert sum(stacks.values()) == expected
    assert stacks["Inputs[0].Lock;process 3;0x10000"] > 500
    assert stacks["Inputs[0].Lock;[switching]"] > 0
    processes = {line.split()[0] for line in (tmp_path / "trace").read_text().splitlines()}
    assert processes == {"0", "1", "2", "3", "4"}


def test_a_program_that_another_replaces_has_its_own_names(tmp_path: Path) -> None:
    root = Program()
    root.syscall(EXEC, 1, 3, 0, 0, 0, 0)
    root.exit(1)
    rtx = made(root.elf(), CALLS, lock=script_for(root.elf(), 2))
    name = mock_file(tmp_path / "tx.json", mock_json(rtx))
    result = invoke("debug", "--tx-file", name, "--break", "leaf", "--profile", "-")
    assert result.stdout.count("break leaf: process 0, ") == 2
    assert "Inputs[0].Lock;_start;twice;leaf 10\n" in result.stdout
    assert result.stderr == ""
