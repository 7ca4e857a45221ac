"""Processes of VM 2 (RFC 50), by small programs that exit with the number of the step that went wrong."""

from __future__ import annotations

import pytest

from tests.script.kit_spawn import (
    EXEC,
    GROUP,
    MAX_VMS_SPAWNED,
    NO_LIMIT,
    WAIT_FAILURE,
    assert_passes,
    run,
)
from tests.support.vm.spawn_programs import (
    CLOSE,
    FDS,
    IDS,
    INDEX_OUT_OF_BOUND,
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
