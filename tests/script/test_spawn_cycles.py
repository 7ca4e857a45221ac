"""What processes and pipes cost in cycles (RFC 50)."""

from __future__ import annotations

from itertools import pairwise

from tests.script.kit_spawn import (
    CURRENT_CYCLES,
    assert_passes,
    run,
    writer_of,
)
from tests.support.vm.script_programs import S0, S1, Program
from tests.support.vm.spawn_programs import (
    BUFFER,
    CLOSE,
    FDS,
    IDS,
    INDEX_OUT_OF_BOUND,
    INHERITED_FD,
    PIPE,
    PROCESS_ID,
    READ,
    TMP,
    WAIT,
    WRITE,
    Child,
    exiting,
    waiting_for_root,
)
from vm.registers import A0


def test_data_is_charged_to_both_sides() -> None:
    def cost(size: int) -> int:
        root = Child()
        root.check(PIPE, FDS, code=1)
        root.spawn(1, FDS + 8)
        root.transfer(READ, FDS, 512, code=2)
        root.wait(IDS, 0, 3)
        root.exit(0)
        return assert_passes(root, writer_of(size))

    assert cost(256) - cost(8) == 2 * (256 - 8) // 4


def test_a_writer_that_is_never_done_does_not_pay() -> None:
    """Its share of the transfer is still in its machine when the first process ends."""

    def cost(size: int) -> int:
        root = Child()
        root.check(PIPE, FDS, code=1)
        root.spawn(1, FDS + 8)
        root.transfer(READ, FDS, size, code=2)
        root.exit(0)
        return assert_passes(root, writer_of(512))

    assert cost(256) - cost(8) == (256 - 8) // 4


def cycles_of(program: Program) -> int:
    """Of a program on its own, without what loading it costs."""
    code = len(program.code())
    return assert_passes(program) - -(-(code + 16) // 4)


def test_the_prices_of_system_calls() -> None:
    def price(number: int, *args: int) -> int:
        program = Child()
        program.syscall(number, *args)
        program.exit(0)
        without = Child()
        for index, value in enumerate(args):
            without.load_immediate(A0 + index, value)
        without.load_immediate(17, number)
        without.exit(0)
        return cycles_of(program) - cycles_of(without)

    assert price(PROCESS_ID) == 500
    assert price(PIPE, FDS) == 500 + 800
    assert price(CLOSE, 9) == 500 + 800
    assert price(WAIT, 9, TMP) == 500 + 800
    assert price(INHERITED_FD, FDS, TMP) == 500 + 800
    assert price(READ, 2, BUFFER, TMP) == 500 + 800
    assert price(READ, 3, BUFFER, TMP) == 500  # refused at once
    assert price(WRITE, 2, BUFFER, TMP) == 500


def test_a_spawn_costs_a_hundred_thousand_and_loading_the_child() -> None:
    child = exiting(0)
    root = Child()
    root.spawn(1)
    root.exit(0)
    refused = Child()
    refused.spawn(9, answer=INDEX_OUT_OF_BOUND)
    refused.exit(0)
    difference = assert_passes(root, child) - assert_passes(refused, child)
    code_bytes = len(root.code()) - len(refused.code())
    assert code_bytes == 0
    assert difference == 100_000 + 800 + assert_passes(child)


def test_from_the_fifth_process_on_each_costs_three_switches() -> None:
    """With four instantiated, the child takes the place of the parent (id 0), which takes that of id 1."""

    def cost(count: int) -> int:
        root = Child()
        for _ in range(count):
            root.spawn(1)
        root.exit(0)
        return assert_passes(root, waiting_for_root())

    costs = [cost(count) for count in range(1, 7)]
    steps = [after - before for before, after in pairwise(costs)]
    assert steps[1] == steps[0]
    assert steps[2:] == [steps[0] + 3 * 100_000] * 3  # 0 out; 1 out, 0 in


def test_current_cycles_does_not_know_what_moving_data_cost_since_the_last_turn() -> None:
    """The root writes to process 1, which has to be instantiated for it; the reader then asks for the cycles."""
    reader = Child()
    reader.inherit(1)
    reader.transfer(READ, FDS, 8, code=1)
    reader.syscall(CURRENT_CYCLES)
    reader.store64(A0, BUFFER + 8)
    reader.check(PROCESS_ID, answer=1, code=2)  # a turn goes on; nothing is accounted
    reader.check(PIPE, FDS + 8, code=3)  # a new turn begins: now it is
    reader.syscall(CURRENT_CYCLES)
    reader.load64(S0, BUFFER + 8)
    reader.word(0x20 << 25 | S0 << 20 | A0 << 15 | S1 << 7 | 0x33)  # sub s1, a0, s0
    reader.word(16 << 20 | S1 << 15 | 5 << 12 | A0 << 7 | 0x13)  # srli a0, s1, 16: in units of 65 536
    reader.exit_with_a0()
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS, into=IDS)
    for _ in range(4):
        root.spawn(2, into=IDS + 8)
    root.transfer(WRITE, FDS + 8, 8, code=2)
    root.wait(IDS, 3, 3)  # 200 000 for a switch came to light between the two readings
    root.exit(0)
    assert_passes(root, reader, waiting_for_root())


def test_the_limit_is_exact() -> None:
    root = Child()
    root.spawn(1)
    root.wait(IDS, 7, 1)
    root.exit(0)
    cycles = assert_passes(root, exiting(7))
    assert run(root, exiting(7), limit=cycles) == cycles
    assert "ExceededMaximumCycles" in str(run(root, exiting(7), limit=cycles - 1))
    assert "ExceededMaximumCycles" in str(run(root, exiting(7), limit=100_000))
