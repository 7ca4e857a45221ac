"""load_cell_data_as_code, and the system calls about the running program."""

from __future__ import annotations

import pytest

from consensus.script.context import GroupContext, TransactionContext
from consensus.script.groups import GroupKind, ScriptGroup
from consensus.script.process import Process
from consensus.script.syscalls import SYSCALLS, numbers
from tests.script.kit import call
from tests.support.builders.scripts import NO_SCRIPT, Chain, make_cell, make_transaction, resolve
from vm import create_machine
from vm.constants import FLAG_EXECUTABLE, FLAG_FREEZED
from vm.errors import (
    External,
    MemOutOfBound,
    MemPageUnalignedAccess,
    MemWriteOnExecutablePage,
    MemWriteOnFreezedPage,
)

ADDRESS, PAGE = 0x8000, 4096
INPUT, CELL_DEP, HEADER_DEP, GROUP = 1, 3, 4, 1 << 56
CODE = bytes(range(1, 251)) * 40
SLICE_OUT_OF_BOUND = 3


def make_process(version: int = 2, printed: list[tuple[bytes, str]] | None = None) -> Process:
    rtx = resolve(make_transaction(), [make_cell(b"")], [make_cell(CODE)])
    group = ScriptGroup(NO_SCRIPT, GroupKind.LOCK, [0], [])

    def debug(script_hash: bytes, text: str) -> None:
        if printed is not None:
            printed.append((script_hash, text))

    context = GroupContext(TransactionContext(rtx, Chain()), group, None if printed is None else debug)
    return Process(3, create_machine(version, 1_000_000, "reference"), context)


def map_code(process: Process, memory_size: int, offset: int, size: int, index: int = 0, source: int = CELL_DEP) -> int:
    answer = call(process, numbers.LOAD_CELL_DATA_AS_CODE, ADDRESS, memory_size, offset, size, index, source)
    assert isinstance(answer, int)
    return answer


@pytest.mark.parametrize("version", [0, 1, 2])
def test_code_fills_whole_pages_and_the_rest_is_zero(version: int) -> None:
    process = make_process(version)
    memory = process.machine.memory
    memory.store_bytes(ADDRESS, b"\xee" * 2 * PAGE)
    assert map_code(process, 2 * PAGE, offset=7, size=5000) == 0
    assert memory.load_bytes(ADDRESS, 2 * PAGE) == CODE[7:5007].ljust(2 * PAGE, b"\0")
    for page in (ADDRESS // PAGE, ADDRESS // PAGE + 1):
        assert memory.fetch_flag(page) & (FLAG_EXECUTABLE | FLAG_FREEZED) == FLAG_EXECUTABLE | FLAG_FREEZED
    assert process.machine.cycles == 2 * PAGE // 4  # of the pages, not of the code


def test_mapped_code_can_neither_be_written_nor_mapped_again() -> None:
    process = make_process()
    assert map_code(process, PAGE, 0, 10) == 0
    with pytest.raises(MemWriteOnExecutablePage):
        process.machine.memory.store8(ADDRESS, 0)
    with pytest.raises(MemWriteOnFreezedPage):
        map_code(process, PAGE, 0, 10)


@pytest.mark.parametrize(
    ("memory_size", "offset", "size"),
    [
        (PAGE, 0, 0),  # nothing is nowhere in the data
        (PAGE, len(CODE), 0),
        (PAGE, len(CODE), 1),
        (PAGE, len(CODE) - 1, 2),
        (PAGE, 0, PAGE + 1),
        (4 * PAGE, 0, len(CODE) + 1),
        (0, 0, 1),
        (PAGE, (1 << 64) - 2, 1),
    ],
)
def test_code_that_is_not_there_or_too_long(memory_size: int, offset: int, size: int) -> None:
    process = make_process()
    assert map_code(process, memory_size, offset, size) == SLICE_OUT_OF_BOUND
    assert process.machine.cycles == 0


def test_an_end_beyond_64_bits() -> None:
    with pytest.raises(MemOutOfBound):
        map_code(make_process(), PAGE, (1 << 64) - 1, 1)


@pytest.mark.parametrize(
    ("index", "source"), [(1, CELL_DEP), (0, HEADER_DEP), (0, GROUP | CELL_DEP), (1, GROUP | INPUT)]
)
def test_cells_that_are_not_there(index: int, source: int) -> None:
    assert map_code(make_process(), PAGE, 0, 1, index, source) == 1


def test_a_cell_without_data_has_no_code() -> None:
    assert map_code(make_process(), PAGE, 0, 1, 0, GROUP | INPUT) == SLICE_OUT_OF_BOUND


def test_a_source_that_does_not_exist() -> None:
    with pytest.raises(External):
        map_code(make_process(), PAGE, 0, 1, 0, 9)


def test_pages_must_be_whole() -> None:
    process = make_process()
    with pytest.raises(MemPageUnalignedAccess):
        map_code(process, PAGE + 1, 0, 1)
    with pytest.raises(MemPageUnalignedAccess):
        call(process, numbers.LOAD_CELL_DATA_AS_CODE, ADDRESS + 8, PAGE, 0, 1, 0, CELL_DEP)


def test_pages_outside_of_the_memory() -> None:
    with pytest.raises(MemOutOfBound):
        call(make_process(), numbers.LOAD_CELL_DATA_AS_CODE, (4 << 20) - PAGE, 2 * PAGE, 0, 1, 0, CELL_DEP)


@pytest.mark.parametrize("version", [1, 2])
def test_vm_version(version: int) -> None:
    assert call(make_process(version), numbers.VM_VERSION) == version


def test_current_cycles_adds_what_was_used_before() -> None:
    process = make_process()
    process.cycles_before = 1000
    process.machine.cycles = 234
    assert call(process, numbers.CURRENT_CYCLES) == 1234


def test_process_id() -> None:
    process = make_process()
    assert call(process, numbers.PROCESS_ID) == 3
    assert process.machine.cycles == 0


def test_debug_prints_and_charges_by_length() -> None:
    printed: list[tuple[bytes, str]] = []
    process = make_process(printed=printed)
    process.machine.memory.store_bytes(ADDRESS, "grüß dich".encode() + b"\0tail")
    assert call(process, numbers.DEBUG, ADDRESS) is None
    assert printed == [(NO_SCRIPT.hash, "grüß dich")]
    assert process.machine.cycles == 3  # 11 bytes


def test_debug_wants_utf8_even_if_nobody_listens() -> None:
    process = make_process()
    process.machine.memory.store_bytes(ADDRESS, b"\xff\0")
    with pytest.raises(External, match="String from buffer"):
        call(process, numbers.DEBUG, ADDRESS)


def test_debug_without_an_end() -> None:
    process = make_process()
    process.machine.memory.store_bytes((4 << 20) - 3, b"abc")
    with pytest.raises(MemOutOfBound):
        call(process, numbers.DEBUG, (4 << 20) - 3)


BASE = {2051, 2052, 2061, 2062, 2071, 2072, 2073, 2074, 2081, 2082, 2083, 2091, 2092, 2177}


def test_which_version_has_which_system_calls() -> None:
    assert set(SYSCALLS[0]) == BASE
    assert set(SYSCALLS[1]) == BASE | {2041, 2042, 2043}
    assert set(SYSCALLS[2]) == BASE | {2041, 2042, 2043, 2104, *range(2601, 2609)}
    assert SYSCALLS[1][2043] is not SYSCALLS[2][2043]
