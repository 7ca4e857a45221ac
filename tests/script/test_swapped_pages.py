"""What changes in the memory of a process that was swapped out (consensus/script/pages.py)."""

from __future__ import annotations

import pytest

from tests.script.kit_spawn import (
    MAP_CODE,
    assert_passes,
    run,
)
from tests.support.vm.assembler import PF_R, PF_W, PF_X, Segment
from tests.support.vm.script_programs import CODE, DATA, S1, make_elf
from tests.support.vm.spawn_programs import (
    BUFFER,
    Child,
    waiting_for_root,
)
from vm.registers import A0

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
            Segment(CODE, code, PF_R | PF_X, len(code)),
            *[Segment(DATA, b"", PF_R | PF_W, 0x4000)] * (1 + more),
            Segment(0x80000, b"\x11" * PAGE, PF_R | PF_W, PAGE),
            Segment(0x80000, b"\x22" * 8, PF_R | PF_W, PAGE),
        ],
    )
    expected = 0x22 if write_first else 0x11
    assert f"error code {expected} on" in str(run(program, waiting_for_root()))
