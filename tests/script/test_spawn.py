"""Processes and pipes of VM 2 (RFC 50), by small programs that exit with the number of the step that went wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest

from consensus.errors import CkbError
from consensus.script.verifier import ScriptVerifier
from tests.support.builders.scripts import Chain, Env, make_cell, make_consensus, make_transaction, resolve, script_for
from tests.support.vm.script_programs import CODE, DATA, PF_R, PF_W, PF_X, S0, S1, Program, Segment, make_elf
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
    SLICE_OUT_OF_BOUND,
    SPAWN,
    SPAWN_ARGS,
    SUCCESS,
    TMP,
    WAIT,
    WRITE,
    Child,
    exiting,
    waiting_for_root,
)
from vm.registers import A0

CURRENT_CYCLES, EXEC, MAP_CODE = 2042, 2043, 2091
WAIT_FAILURE, INVALID_FD, OTHER_END_CLOSED, MAX_VMS_SPAWNED, MAX_FDS_CREATED = 5, 6, 7, 8, 9
NO_LIMIT = (1 << 64) - 1
GROUP = 1 << 56


def run(*programs: Program | bytes, limit: int = NO_LIMIT, version: int = 2) -> int | str:
    """Cycles, or the text of the error. The first program is the lock; program n is cell dep n."""
    codes = [program if isinstance(program, bytes) else program.elf() for program in programs]
    lock = script_for(codes[0], version)
    rtx = resolve(make_transaction(), [make_cell(lock=lock)], [make_cell(code) for code in codes])
    try:
        return ScriptVerifier(make_consensus(), Chain()).verify(rtx, Env(10), limit)
    except CkbError as error:
        return str(error)


def assert_passes(*programs: Program | bytes) -> int:
    result = run(*programs)
    assert isinstance(result, int), result
    return result


# Spawn, wait, exit.


@pytest.mark.parametrize("exit_code", [0, 1, -1, 127, -128])
def test_wait_gives_the_exit_code(exit_code: int) -> None:
    root = Child()
    root.spawn(1)
    root.expect_memory(IDS, 1, 1)
    root.wait(IDS, exit_code, 2)
    root.exit(0)
    assert_passes(root, exiting(exit_code))


def test_the_first_process_decides_and_ends_all() -> None:
    root = Child()
    root.spawn(1)
    root.exit(0)
    assert_passes(root, waiting_for_root())
    assert_passes(root, exiting(-1))


def test_processes_know_their_ids() -> None:
    child = Child()
    child.syscall(PROCESS_ID)
    child.exit_with_a0()
    root = Child()
    root.check(PROCESS_ID, answer=0, code=1)
    for number in (1, 2, 3):
        root.spawn(1)
        root.wait(IDS, number, 10)
    root.exit(0)
    assert_passes(root, child)


def test_an_end_can_be_waited_for_once_afterwards() -> None:
    root = Child()
    root.spawn(1)  # runs first and ends before the wait
    root.wait(IDS, 7, 1)
    root.load64(A0, IDS)
    root.load_immediate(A0 + 1, TMP)
    root.check(WAIT, answer=WAIT_FAILURE, code=3)
    root.exit(0)
    assert_passes(root, exiting(7))


def test_an_end_that_was_waited_for_meanwhile_can_be_waited_for_once_more() -> None:
    """Process 1 sleeps for the root's data, process 2 for process 1; both processes 2 and 0 get the exit code."""
    sleeper = Child()
    sleeper.inherit(1)
    sleeper.transfer(READ, FDS, 8, code=1)
    sleeper.exit(9)
    observer = Child()
    observer.set64(IDS, 1)
    observer.wait(IDS, 9, 1)
    observer.exit(0)
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS, into=IDS)
    root.spawn(2, into=IDS + 8)
    root.transfer(WRITE, FDS + 8, 8, code=2)
    root.wait(IDS + 8, 0, 3)
    root.wait(IDS, 9, 5)
    root.exit(0)
    assert_passes(root, sleeper, observer)


@pytest.mark.parametrize("process_id", [1, 5, NO_LIMIT])
def test_waiting_for_a_process_that_never_was(process_id: int) -> None:
    root = Child()
    root.check(WAIT, process_id, TMP, answer=WAIT_FAILURE, code=1)
    root.exit(0)
    assert_passes(root)


def test_waiting_for_oneself_is_a_deadlock() -> None:
    root = Child()
    root.syscall(WAIT, 0, TMP)
    assert "A deadlock situation has been reached!" in str(run(root))


def test_sixteen_children_may_live_beside_the_first_process() -> None:
    root = Child()
    for _ in range(16):
        root.spawn(1)
    root.spawn(1, answer=MAX_VMS_SPAWNED, code=2)
    root.exit(0)
    assert_passes(root, waiting_for_root())


def test_ended_processes_do_not_count() -> None:
    root = Child()
    for _ in range(40):
        root.spawn(1)
    root.expect_memory(IDS, 40, 1)
    root.exit(0)
    assert_passes(root, exiting(0))


@pytest.mark.parametrize(
    ("index", "source", "place", "bounds", "answer"),
    [
        (9, 3, 0, 0, INDEX_OUT_OF_BOUND),
        (1 << 32, 3, 0, 0, INDEX_OUT_OF_BOUND),
        (1, 4, 0, 0, INDEX_OUT_OF_BOUND),
        (1, GROUP | 3, 0, 0, INDEX_OUT_OF_BOUND),
        (1, 3, 1, 0, INDEX_OUT_OF_BOUND),
        (1, 3, 2, 0, INDEX_OUT_OF_BOUND),
        (0, 1, 1, 0, INDEX_OUT_OF_BOUND),
        (0, 1, 0, 0, SLICE_OUT_OF_BOUND),  # a cell without data
        (1, 3, 0, 1 << 62, SLICE_OUT_OF_BOUND),
        (1, 3, 0, 0xFFFF_FFFF, SLICE_OUT_OF_BOUND),
        (1, 2 << 56 | 3, 0, 0, SUCCESS),
    ],
)
def test_programs_to_spawn(index: int, source: int, place: int, bounds: int, answer: int) -> None:
    root = Child()
    root.set64(SPAWN_ARGS + 16, IDS)
    root.check(SPAWN, index, source, place, bounds, SPAWN_ARGS, answer=answer, code=1)
    root.exit(0)
    assert_passes(root, exiting(0))


def test_a_source_that_does_not_exist_is_the_end() -> None:
    root = Child()
    root.syscall(SPAWN, 1, 9, 0, 0, SPAWN_ARGS)
    assert 'External("SourceEntry parse_from_u64 9")' in str(run(root, exiting(0)))


def test_a_child_that_is_no_program_is_the_end() -> None:
    root = Child()
    root.spawn(1)
    assert "ElfParseError" in str(run(root, b"no program"))


def test_version_1_knows_nothing_of_processes() -> None:
    root = Child()
    root.syscall(PROCESS_ID)
    assert "InvalidEcall(2603)" in str(run(root, version=1))


# Descriptors.


def test_pipes_are_pairs_of_numbers_from_2_on() -> None:
    root = Child()
    for number in range(3):
        root.check(PIPE, FDS + 16 * number, code=1)
    for number in range(6):
        root.expect_memory(FDS + 8 * number, 2 + number, 2)
    root.exit(0)
    assert_passes(root)


def test_a_pipe_more_than_64_descriptors() -> None:
    root = Child()
    for _ in range(32):
        root.check(PIPE, FDS, code=1)
    root.check(PIPE, FDS + 16, answer=MAX_FDS_CREATED, code=2)
    root.expect_memory(FDS, 64, 3)
    root.check(CLOSE, 3, code=4)
    root.check(PIPE, FDS, code=5)  # 63 are open: two more are granted
    root.expect_memory(FDS, 66, 6)
    root.exit(0)
    assert_passes(root)


def test_descriptors_are_handed_on_for_good() -> None:
    child = Child()
    child.inherit(1)
    child.expect_memory(FDS, 2, 1)
    child.load64(A0, FDS)
    child.check(CLOSE, code=2)
    child.inherit(1, code=120)  # still reported
    child.exit(0)
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS)
    root.check(CLOSE, 2, answer=INVALID_FD, code=2)
    root.spawn(1, FDS, answer=INVALID_FD, code=3)
    root.wait(IDS, 0, 4)
    root.transfer(WRITE, FDS + 8, 4, answer=OTHER_END_CLOSED, code=6)
    root.exit(0)
    assert_passes(root, child)


def test_the_first_process_inherits_nothing_and_room_limits_what_is_stored() -> None:
    child = Child()
    child.set64(TMP, 1)
    child.check(INHERITED_FD, FDS, TMP, code=1)
    child.expect_memory(TMP, 2, 2)
    child.expect_memory(FDS, 2, 3)
    child.expect_memory(FDS + 8, 0, 4)
    child.exit(0)
    root = Child()
    root.inherit(0)
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS, FDS + 8)
    root.wait(IDS, 0, 2)
    root.exit(0)
    assert_passes(root, child)


@pytest.mark.parametrize("number", [READ, WRITE, CLOSE])
@pytest.mark.parametrize("fd", [0, 1, 4, 5, NO_LIMIT])
def test_descriptors_that_are_not_ones_own(number: int, fd: int) -> None:
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.set64(FDS, fd)
    root.set64(TMP, 8)
    root.check(number, fd, BUFFER, TMP, answer=INVALID_FD, code=2)
    root.exit(0)
    assert_passes(root)


def test_each_end_has_one_direction() -> None:
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.transfer(WRITE, FDS, 8, answer=INVALID_FD, code=2)
    root.transfer(READ, FDS + 8, 8, answer=INVALID_FD, code=3)
    root.exit(0)
    assert_passes(root)


# Moving data.


def writer_of(size: int, *, then_exit: int = 0) -> Child:
    """Writes `size` bytes of its data to what it inherited."""
    program = Child(data=bytes(0x800) + bytes(range(256)))
    program.inherit(1)
    program.transfer(WRITE, FDS, size, code=1)
    program.expect_memory(TMP, size, 2)
    program.exit(then_exit)
    return program


@pytest.mark.parametrize(("written", "room", "arrives"), [(16, 16, 16), (16, 100, 16), (0, 8, 0), (8, 8, 8)])
def test_a_read_ends_with_what_arrives(written: int, room: int, arrives: int) -> None:
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS + 8)
    root.transfer(READ, FDS, room, code=2)
    root.expect_memory(TMP, arrives, 3)
    root.expect_memory(BUFFER, int.from_bytes(bytes(range(8)), "little") if arrives else 0, 4)
    root.wait(IDS, 0, 5)
    root.exit(0)
    assert_passes(root, writer_of(written))


def test_a_write_ends_when_all_is_read() -> None:
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS + 8)
    for first, size in ((0, 10), (10, 10), (20, 4)):
        root.transfer(READ, FDS, 10, code=2)
        root.expect_memory(TMP, size, 3)
        root.load_byte(S1, BUFFER)
        root.expect(S1, first, 4)
    root.wait(IDS, 0, 5)
    root.exit(0)
    assert_passes(root, writer_of(24))


def test_closing_ends_a_blocked_write_with_what_was_read() -> None:
    writer = Child()
    writer.inherit(1)
    writer.transfer(WRITE, FDS, 100, code=1)
    writer.expect_memory(TMP, 30, 2)
    writer.exit(0)
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS + 8)
    root.transfer(READ, FDS, 30, code=2)
    root.load64(A0, FDS)
    root.check(CLOSE, code=3)
    root.wait(IDS, 0, 4)
    root.exit(0)
    assert_passes(root, writer)


def test_the_end_of_a_process_ends_a_blocked_read_with_nothing() -> None:
    reader = Child()
    reader.inherit(1)
    reader.transfer(READ, FDS, 100, code=1)
    reader.expect_memory(TMP, 0, 2)
    reader.transfer(READ, FDS, 100, answer=OTHER_END_CLOSED, code=3)
    reader.exit(0)
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS, into=IDS)
    root.spawn(2, FDS + 8, into=IDS + 8)  # ends at once, with the write end
    root.wait(IDS, 0, 4)
    root.exit(0)
    assert_passes(root, reader, exiting(0))


def test_reading_without_a_writer_is_a_deadlock() -> None:
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.transfer(READ, FDS, 8, code=2)
    assert "deadlock" in str(run(root))


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


# Cycles.


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


def test_exec_keeps_id_and_descriptors() -> None:
    second = Child()
    second.check(PROCESS_ID, answer=1, code=1)
    second.inherit(1)
    second.load64(A0, FDS)
    second.check(CLOSE, code=2)
    second.exit(5)
    first = Child()
    first.syscall(EXEC, 2, 3, 0, 0, 0, 0)
    first.exit(9)
    root = Child()
    root.check(PIPE, FDS, code=1)
    root.spawn(1, FDS)
    root.wait(IDS, 5, 2)
    root.exit(0)
    assert_passes(root, first, second)


# What changes in the memory of a process that was swapped out (consensus/script/pages.py).

MAPPED = 0x100000
PAGE = 4096


def swapped_out_and_in(program: Child) -> None:
    """Spawns four processes that stay: the fourth takes the place of the first process for a moment."""
    for _ in range(4):
        program.spawn(1)


def peek_after_swap(memory_size: int, offset: int, size: int, where: int) -> Child:
    root = Child()
    root.check(MAP_CODE, MAPPED, memory_size, offset, size, 2, 3, code=1)
    root.load_byte(S1, MAPPED + where)
    root.store64(S1, BUFFER)
    swapped_out_and_in(root)
    root.load_byte(A0, MAPPED + where)
    root.exit_with_a0()
    return root


LIBRARY = bytes(n % 120 + 1 for n in range(3 * PAGE))


@pytest.mark.parametrize(
    ("memory_size", "offset", "size", "where", "byte"),
    [
        (PAGE, 0, 10, 5, LIBRARY[5]),
        (PAGE, 0, 10, 10, LIBRARY[10]),  # zero before
        (PAGE, 5, 10, 4000, LIBRARY[4005]),
        (3 * PAGE, 0, 10, 2 * PAGE + 7, LIBRARY[2 * PAGE + 7]),
        (3 * PAGE, PAGE, 2 * PAGE, 2 * PAGE, 0),  # behind the end of the cell: gone
        (2 * PAGE, PAGE, 2 * PAGE, 7, LIBRARY[PAGE + 7]),
    ],
)
def test_mapped_code_gets_what_follows_it_in_the_cell(
    memory_size: int, offset: int, size: int, where: int, byte: int
) -> None:
    result = run(peek_after_swap(memory_size, offset, size, where), waiting_for_root(), LIBRARY)
    assert (f"error code {byte} on" in str(result)) if byte else isinstance(result, int), result


@pytest.mark.parametrize("size", [2 * PAGE + 10, 3 * PAGE - 1])
def test_mapped_code_whose_cell_ends_within_the_page_is_the_end(size: int) -> None:
    library = LIBRARY[:size]
    root = peek_after_swap(3 * PAGE, 0, size, 0)
    assert "MemPageUnalignedAccess" in str(run(root, waiting_for_root(), library))


def test_a_page_that_is_gone_may_be_written() -> None:
    root = Child()
    root.check(MAP_CODE, MAPPED, 2 * PAGE, 2 * PAGE, PAGE, 2, 3, code=1)
    swapped_out_and_in(root)
    root.set64(MAPPED + PAGE, 7)
    root.exit(0)
    assert_passes(root, waiting_for_root(), LIBRARY)


def test_a_page_that_came_back_stays_code() -> None:
    root = Child()
    root.check(MAP_CODE, MAPPED, 2 * PAGE, 2 * PAGE, PAGE, 2, 3, code=1)
    swapped_out_and_in(root)
    root.set64(MAPPED, 7)
    root.exit(0)
    assert "MemWriteOnExecutablePage" in str(run(root, waiting_for_root(), LIBRARY))


def test_written_pages_come_back_as_they_were() -> None:
    root = Child()
    root.set64(BUFFER, 0x1234)
    root.set64(0x3F0000, 0x5678)
    swapped_out_and_in(root)
    root.expect_memory(BUFFER, 0x1234, 1)
    root.expect_memory(0x3F0000, 0x5678, 2)
    root.exit(0)
    assert_passes(root, waiting_for_root())


@pytest.mark.parametrize("more", [0, 66])  # segments; so many are loaded by generated code
@pytest.mark.parametrize("write_first", [False, True])
def test_a_page_that_two_segments_fill_gets_the_whole_page_of_the_one_that_fills_it(
    write_first: bool, more: int
) -> None:
    """The second segment puts 8 bytes over the first's page. They are gone afterwards, unless the page was written."""
    root = Child()
    if write_first:
        root.set64(0x80000 + 64, 1)
    swapped_out_and_in(root)
    root.load_byte(A0, 0x80000)
    root.exit_with_a0()
    code = root.code()
    program = make_elf(
        CODE,
        [
            Segment(CODE, PF_R | PF_X, code, len(code)),
            *[Segment(DATA, PF_R | PF_W, b"", 0x4000)] * (1 + more),
            Segment(0x80000, PF_R | PF_W, b"\x11" * PAGE, PAGE),
            Segment(0x80000, PF_R | PF_W, b"\x22" * 8, PAGE),
        ],
    )
    expected = 0x22 if write_first else 0x11
    assert f"error code {expected} on" in str(run(program, waiting_for_root()))
