"""The comparison itself: it must see what differs, and read what the oracle says."""

import pytest

from tests.conformance.__main__ import Comparison, Runner
from tests.conformance.cases import LIMIT_EXCEEDED, Case, Outcome
from tests.conformance.engines import run_on_engine
from tests.conformance.oracle import Said, read_outcome
from tests.support.vm.assembler import CODE_BASE, DATA_BASE, ECALL, atomic, auipc, exit_with, imm, jal, li, program
from tests.support.vm.engines import machine_factories
from vm.isa.profile import Isa

# Prints "hi" from behind the exit, then exits with 3.
PRINTING = program(
    auipc(10, 0) + imm("addi", 10, 10, 32) + imm("addi", 17, 0, 2047) + imm("addi", 17, 17, 130) + ECALL + exit_with(3)
    + b"hi\0"
)  # fmt: skip


@pytest.mark.parametrize("engine", machine_factories())
@pytest.mark.parametrize("arguments", [(), (b"bare",)])
def test_engines_tell_how_programs_end(engine: str, arguments: tuple[bytes, ...]) -> None:
    factory = machine_factories()[engine]

    def run(elf: bytes) -> Outcome:
        return run_on_engine(factory, Case("", elf, 2, arguments), 100_000)

    printed = run(PRINTING)
    assert (printed.exit_code, printed.printed, printed.error) == (3, ("hi",), None)
    assert run(program(exit_with(-1))).exit_code == -1
    assert run(program(jal(0, 0))) == LIMIT_EXCEEDED
    assert run(program(bytes(4))) == Outcome(error=f"InvalidInstruction {{ pc: {CODE_BASE}, instruction: 0 }}")
    assert run(program(imm("addi", 17, 0, 1000) + ECALL)) == Outcome(error="InvalidEcall(1000)")


def test_bare_and_script_runs_cost_the_same_but_for_the_stack() -> None:
    factory = machine_factories()["wasm"]
    script = run_on_engine(factory, Case("", PRINTING, 2), 100_000)
    bare = run_on_engine(factory, Case("", PRINTING, 2, (b"",)), 100_000)
    assert script.cycles is not None
    assert bare.cycles is not None
    # 16 bytes of stack without arguments; argc, one pointer, NULL and the empty string with one: 25 bytes, aligned.
    assert bare.cycles - script.cycles == (32 + 1) // 4 - 16 // 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Script log: a\nAll cycles: 1072(1.0K)\n", Outcome(None, 0, 1072, ("a",))),
        ("Run result: -2\nAll cycles: 7678(7.5K)\n", Outcome(None, -2, 7678)),
        ("Error: VMInternalError(InvalidEcall(1001))\n", Outcome("InvalidEcall(1001)")),
        ("Error: MemOutOfBound\n", Outcome("MemOutOfBound")),
        ("Error: ExceededMaximumCycles(2000000)\n", LIMIT_EXCEEDED),
        ('Error: ValidationFailure("by-type-hash/b951", -5)\n', Outcome(None, -5)),
    ],
)
def test_what_the_oracle_says(text: str, expected: Outcome) -> None:
    assert read_outcome(Said(0, text, "")) == expected


def test_differences_are_seen() -> None:
    case = Case("", b"", 0)
    right = Outcome(None, 0, 100, ("a",))
    assert Comparison(case, right, {"one": right}).is_equal
    for wrong in (Outcome(None, 1, 100, ("a",)), Outcome(None, 0, 101, ("a",)), Outcome(None, 0, 100), LIMIT_EXCEEDED):
        assert not Comparison(case, right, {"one": right, "two": wrong}).is_equal
    assert not Comparison(case, None, {"one": right}).is_equal


def test_without_an_oracle_programs_must_exit_with_0() -> None:
    runner = Runner(None, 100_000, 100_000, machine_factories(Isa.CKB_WITH_ATOMICS))
    swap = li(5, DATA_BASE) + li(6, 3) + atomic("amoswap", "d", 7, 6, 5)
    right, wrong = program(swap + exit_with(0)), program(swap + exit_with(1))
    for version, may_fail in ((0, True), (1, True), (2, False)):
        assert runner.compare(Case("", right, version)).is_equal
        assert runner.compare(Case("", wrong, version)).is_equal is may_fail
