"""Pipes of VM 2 (RFC 50): their descriptors, and how data moves."""

from __future__ import annotations

import pytest

from tests.script.kit_spawn import (
    INVALID_FD,
    MAX_FDS_CREATED,
    NO_LIMIT,
    OTHER_END_CLOSED,
    assert_passes,
    run,
    writer_of,
)
from tests.support.vm.script_programs import S1
from tests.support.vm.spawn_programs import (
    BUFFER,
    CLOSE,
    FDS,
    IDS,
    INHERITED_FD,
    PIPE,
    READ,
    TMP,
    WRITE,
    Child,
    exiting,
)
from vm.registers import A0


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
