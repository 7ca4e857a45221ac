"""Loading of programs, above all of hostile ones."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.vm.assembler import CODE_BASE, ECALL, PAGE, PF_R, PF_W, PF_X, Segment, elf, program
from tests.vm.running import loaded
from vm import create_machine
from vm.constants import FLAG_DIRTY, FLAG_EXECUTABLE, FLAG_FREEZED
from vm.elf import parse_elf
from vm.errors import (
    ElfBits,
    ElfParseError,
    ElfSegmentAddrOrSizeError,
    ElfSegmentUnreadable,
    ElfSegmentWritableAndExecutable,
    MemOutOfBound,
    MemWriteOnFreezedPage,
    VmError,
)

CODE = Segment(CODE_BASE, ECALL, PF_R | PF_X)
VERSIONS = pytest.mark.parametrize("version", [0, 1, 2])


def parse_error(file: bytes, version: int = 1) -> str:
    with pytest.raises(ElfParseError) as raised:
        parse_elf(file, version)
    return raised.value.message


class TestHeader:
    @VERSIONS
    def test_too_small(self, version: int) -> None:
        assert parse_error(b"", version) == "bad offset 0"
        assert parse_error(program(ECALL)[:15], version) == "Malformed entity: Too small"

    @VERSIONS
    def test_truncated(self, version: int) -> None:
        file = program(ECALL)
        assert parse_error(file[:16], version) == "bad offset 16"
        assert parse_error(file[:17], version) == "type is too big (2) for 1"
        assert parse_error(file[:30], version) == "type is too big (8) for 6"

    def test_magic(self) -> None:
        assert parse_error(b"ABCDEFGH" + bytes(60)) == "Invalid magic number: 0x4847464544434241"

    def test_class(self) -> None:
        assert parse_error(b"\x7fELF\x03\x01" + bytes(60)) == "Malformed entity: invalid ELF class 3"
        with pytest.raises(ElfBits):
            parse_elf(b"\x7fELF\x01\x01" + bytes(60), 1)
        assert parse_error(b"\x7fELF\x01\x01" + bytes(40)) == "bad offset 46"

    def test_endianness(self) -> None:
        assert parse_error(b"\x7fELF\x02\x03" + bytes(60)) == "Malformed entity: invalid ELF endianness DATA type 3"

    def test_big_endian_headers_are_read(self, engine: str) -> None:
        loaded(elf([CODE], order=">"), 1, engine).run()

    def test_too_many_program_headers(self) -> None:
        file = bytearray(program(ECALL))
        struct.pack_into("<H", file, 56, 1000)
        assert parse_error(bytes(file)) == "Malformed entity: Buffer is too short for 1000 program headers"

    def test_program_headers_outside_of_the_file(self) -> None:
        file = bytearray(program(ECALL))
        struct.pack_into("<Q", file, 32, len(file))
        assert parse_error(bytes(file)) == f"bad offset {len(file)}"
        struct.pack_into("<Q", file, 32, (1 << 64) - 1)
        assert parse_error(bytes(file)) == f"bad offset {(1 << 64) - 1}"
        struct.pack_into("<Q", file, 32, len(file) - 10)
        assert parse_error(bytes(file)) == "type is too big (8) for 2"

    def test_no_segments(self, engine: str) -> None:
        machine = create_machine(1, 1000, engine)
        assert machine.load_elf(elf([], entry=5)) == 0
        assert machine.pc == 5

    def test_other_segments_are_ignored(self, engine: str) -> None:
        machine = create_machine(1, 1000, engine)
        assert machine.load_elf(elf([Segment(0, b"", 0, kind=4, offset=1 << 60, file_size=1 << 60), CODE])) == 4


class TestSegments:
    @pytest.mark.parametrize(
        ("flags", "error"),
        [
            *((0, ElfSegmentUnreadable), (PF_W, ElfSegmentUnreadable), (PF_X, ElfSegmentUnreadable)),
            (PF_R | PF_W | PF_X, ElfSegmentWritableAndExecutable),
            (PF_W | PF_X, ElfSegmentUnreadable),
        ],
    )
    @VERSIONS
    def test_flags(self, flags: int, error: type[VmError], version: int) -> None:
        with pytest.raises(error):
            parse_elf(elf([Segment(CODE_BASE, ECALL, flags)]), version)

    @pytest.mark.parametrize(
        ("offset", "file_size"),
        [(0, 1 << 20), (1 << 20, 0), ((1 << 64) - 1, 2), (1 << 63, 1 << 63), (0, (1 << 64) - 1)],
    )
    @VERSIONS
    def test_content_outside_of_the_file(self, offset: int, file_size: int, version: int) -> None:
        with pytest.raises(ElfSegmentAddrOrSizeError):
            parse_elf(elf([Segment(CODE_BASE, ECALL, PF_R, offset=offset, file_size=file_size)]), version)

    @pytest.mark.parametrize(
        ("address", "memory_size"),
        [
            *((4 << 20, PAGE), ((4 << 20) - PAGE, 2 * PAGE), (0, (4 << 20) + 1), (CODE_BASE, 1 << 60)),
            *(((1 << 64) - PAGE, PAGE), (1 << 63, PAGE), (CODE_BASE, (1 << 64) - PAGE)),
        ],
    )
    @VERSIONS
    def test_outside_of_the_memory(self, address: int, memory_size: int, version: int, engine: str) -> None:
        machine = create_machine(version, 1000, engine)
        with pytest.raises(MemOutOfBound):
            machine.load_elf(elf([Segment(address, ECALL, PF_R, memory_size=memory_size)]))

    def test_size_that_wraps_to_nothing(self, engine: str) -> None:
        """Rounding the size up to pages leaves 64 bits: nothing is mapped, and nothing is copied."""
        machine = create_machine(1, 1000, engine)
        machine.load_elf(elf([Segment(CODE_BASE, ECALL, PF_R, memory_size=(1 << 64) - 1)]))
        assert machine.memory.fetch_flag(CODE_BASE // PAGE) == 0
        assert machine.memory.load32(CODE_BASE) == 0

    def test_content_is_cut_to_the_memory_size(self, engine: str) -> None:
        machine = create_machine(1, 1000, engine)
        loaded_bytes = machine.load_elf(elf([Segment(CODE_BASE, b"x" * 5000, PF_R, memory_size=10)]))
        assert loaded_bytes == 5000  # the whole of it is charged
        assert machine.memory.load_bytes(CODE_BASE, 5000) == b"x" * PAGE + bytes(904)

    @VERSIONS
    def test_page_flags(self, version: int, engine: str) -> None:
        segments = [
            CODE,
            Segment(0x20000, b"data", PF_R | PF_W, memory_size=2 * PAGE),
            Segment(0x30010, b"text", PF_R),
        ]
        machine = create_machine(version, 1000, engine)
        assert machine.load_elf(elf(segments)) == 12
        flags = [machine.memory.fetch_flag(page) & ~FLAG_DIRTY for page in (0x10, 0x11, 0x20, 0x21, 0x22, 0x30)]
        writable = FLAG_FREEZED if version == 0 else 0
        assert flags == [FLAG_EXECUTABLE | FLAG_FREEZED, 0, writable, writable, 0, FLAG_FREEZED]
        assert machine.memory.load_bytes(0x30000, 0x20) == bytes(0x10) + b"text" + bytes(12)

    @VERSIONS
    def test_overlap_with_a_frozen_segment(self, version: int, engine: str) -> None:
        machine = create_machine(version, 1000, engine)
        with pytest.raises(MemWriteOnFreezedPage):
            machine.load_elf(elf([CODE, Segment(CODE_BASE + 8, b"data", PF_R | PF_W)]))

    def test_overlap_of_writable_segments(self, engine: str) -> None:
        """Since version 1 the later one wins, with its whole pages; in version 0 both are frozen."""
        segments = [Segment(0x20000, b"first", PF_R | PF_W), Segment(0x20003, b"second", PF_R | PF_W)]
        for version in (1, 2):
            machine = create_machine(version, 1000, engine)
            machine.load_elf(elf(segments))
            assert machine.memory.load_bytes(0x20000, 12) == bytes(3) + b"second" + bytes(3)
        with pytest.raises(MemWriteOnFreezedPage):
            create_machine(0, 1000, engine).load_elf(elf(segments))

    def test_executable_over_writable(self, engine: str) -> None:
        machine = create_machine(1, 1000, engine)
        machine.load_elf(elf([Segment(CODE_BASE, b"data", PF_R | PF_W), CODE]))
        machine.run()

    def test_many_segments_are_quick(self, engine: str) -> None:
        """Pages that hold zeros anyway are not cleared again for each of a thousand huge segments."""
        segments = [Segment(0, b"", PF_R | PF_W, memory_size=4 << 20)] * 1000
        assert create_machine(1, 1000, engine).load_elf(elf(segments)) == 0


@settings(max_examples=150, deadline=None)
@given(data=st.data(), version=st.sampled_from([0, 1, 2]))
def test_mutated_files_are_loaded_or_refused(data: st.DataObject, version: int) -> None:
    """Whatever a header says: a VmError, or a program, and the same on both engines."""
    file = bytearray(elf([CODE, Segment(0x20000, b"data", PF_R | PF_W, memory_size=PAGE)]))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(16, 64 + 2 * 56 - 1))
        file[position] = data.draw(st.sampled_from([0, 1, 2, 4, 5, 6, 7, 0x10, 0x7F, 0x80, 0xFF]))
    cut = data.draw(st.one_of(st.just(len(file)), st.integers(0, len(file))))
    results = []
    for engine in ("reference", "wasm"):
        machine = create_machine(version, 1000, engine)
        try:
            result: object = machine.load_program(bytes(file[:cut]), [])
        except VmError as error:
            result = str(error)
        results.append((result, machine.pc, bytes(machine.memory.flags)))
    assert results[0] == results[1]
