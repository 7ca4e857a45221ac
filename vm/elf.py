"""Reading of ELF programs: which parts of the file go to which pages (RFC 3).

Only the header and the loadable segments count; section headers are never read. Bounds are checked before anything is
read. The wording of parse errors is what RPC clients see.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from vm.constants import FLAG_EXECUTABLE, FLAG_FREEZED, MEMORY_SIZE, PAGE_SIZE, U64_MASK, VERSION0
from vm.errors import (
    ElfBits,
    ElfParseError,
    ElfSegmentAddrOrSizeError,
    ElfSegmentUnreadable,
    ElfSegmentWritableAndExecutable,
)
from vm.image import Loading

_MAGIC: Final = b"\x7fELF"
_IDENT_SIZE: Final = 16
_CLASS_INDEX, _DATA_INDEX = 4, 5
_CLASS32, _CLASS64 = 1, 2
_LITTLE_ENDIAN, _BIG_ENDIAN = 1, 2
PT_LOAD: Final = 1
PF_X, PF_W, PF_R = 1, 2, 4

# Field sizes behind e_ident: type, machine, version, entry, phoff, shoff, flags, and six of two bytes.
_HEADER64_FIELDS: Final = (2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2)
_HEADER32_FIELDS: Final = (2, 2, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2)
_ENTRY_FIELD, _PHOFF_FIELD, _PHNUM_FIELD = 3, 4, 9
_PHNUM_AT: Final = 56  # in a header of 64 bits
# type, flags, offset, vaddr, paddr, filesz, memsz, align
_PROGRAM_HEADER_FIELDS: Final = (4, 4, 8, 8, 8, 8, 8, 8)
PROGRAM_HEADER_SIZE: Final = 56
_PROGRAM_HEADERS: Final[dict[str, struct.Struct]] = {
    "little": struct.Struct("<IIQQQQQQ"),
    "big": struct.Struct(">IIQQQQQQ"),
}
_SMALL: Final = 128 << 10  # bytes of a program

ByteOrder = Literal["little", "big"]


class ElfHeader(NamedTuple):
    """What counts of it. `headers_at` and `header_count`: of the program headers."""

    order: ByteOrder
    entry: int
    headers_at: int
    header_count: int

    @property
    def table(self) -> slice:
        """The program headers in the file, which may end before."""
        return slice(self.headers_at, self.headers_at + self.header_count * PROGRAM_HEADER_SIZE)


class LoadingAction(NamedTuple):
    """Pages [address, address + size) get `flags`; `offset` zero bytes, then file bytes [start, end), then zeros.

    A tuple, since a hostile file may have thousands, which are made several times as quickly.
    """

    address: int
    size: int
    flags: int
    start: int
    end: int
    offset: int

    @property
    def is_idle(self) -> bool:
        """It does nothing, and cannot fail. A hostile file may have thousands of such segments."""
        return not self.size and not self.offset and self.start == self.end and self.address <= MEMORY_SIZE


@dataclass(frozen=True, slots=True)
class ProgramMetadata:
    """What loading a program does. `entry` is the first pc; `loading` remembers what became of that."""

    actions: Sequence[LoadingAction]
    entry: int
    loading: Loading = field(default_factory=Loading, compare=False, repr=False)


def parse_elf(program: bytes, version: int) -> ProgramMetadata:
    """The loading actions of an ELF file of 64 bits, in the order of its segments.

    Raises ElfParseError, ElfBits, or one of the ElfSegment errors.
    """
    return _parse_small(program, version) if len(program) <= _SMALL else _parse(program, version)


def _parse(program: bytes, version: int) -> ProgramMetadata:
    elf = parse_header(program)
    headers = _program_headers(program, elf)
    actions = (_loading_action(header, len(program), version) for header in headers if header[0] == PT_LOAD)
    return ProgramMetadata(tuple(action for action in actions if not action.is_idle), elf.entry)


_parse_small = lru_cache(maxsize=16)(_parse)
"""The same few programs run again and again. Large ones may cost more to tell apart than to parse."""


def count_of_program_headers(program: bytes) -> int:
    """What the header says, read at once; of bytes that are no program, anything."""
    is_big = program[_DATA_INDEX : _DATA_INDEX + 1] == bytes([_BIG_ENDIAN])
    return int.from_bytes(program[_PHNUM_AT : _PHNUM_AT + 2], "big" if is_big else "little")


def parse_header(program: bytes) -> ElfHeader:
    """Raises ElfParseError or ElfBits."""
    if not program:
        raise ElfParseError("bad offset 0")
    if len(program) < _IDENT_SIZE:
        raise ElfParseError("Malformed entity: Too small")
    if program[:4] != _MAGIC:
        (magic,) = struct.unpack_from("<Q", program)
        raise ElfParseError(f"Invalid magic number: 0x{magic:x}")
    elf_class, data = program[_CLASS_INDEX], program[_DATA_INDEX]
    if elf_class not in {_CLASS32, _CLASS64}:
        raise ElfParseError(f"Malformed entity: invalid ELF class {elf_class:x}")
    if data not in {_LITTLE_ENDIAN, _BIG_ENDIAN}:
        raise ElfParseError(f"Malformed entity: invalid ELF endianness DATA type {data:x}")
    order: ByteOrder = "little" if data == _LITTLE_ENDIAN else "big"
    sizes = _HEADER64_FIELDS if elf_class == _CLASS64 else _HEADER32_FIELDS
    fields = _read_fields(program, 0, _IDENT_SIZE, sizes, order)
    if elf_class != _CLASS64:
        raise ElfBits
    return ElfHeader(order, fields[_ENTRY_FIELD], fields[_PHOFF_FIELD], fields[_PHNUM_FIELD])


def _program_headers(program: bytes, elf: ElfHeader) -> Sequence[Sequence[int]]:
    if elf.header_count > len(program) // PROGRAM_HEADER_SIZE:
        raise ElfParseError(f"Malformed entity: Buffer is too short for {elf.header_count} program headers")
    if elf.table.stop <= len(program):  # a hostile file may have thousands
        return list(_PROGRAM_HEADERS[elf.order].iter_unpack(memoryview(program)[elf.table]))
    headers = []
    for start in range(elf.table.start, elf.table.stop, PROGRAM_HEADER_SIZE):
        if start >= len(program):
            raise ElfParseError(f"bad offset {start}")
        headers.append(_read_fields(program, start, 0, _PROGRAM_HEADER_FIELDS, elf.order))
    return headers


def _read_fields(program: bytes, base: int, position: int, sizes: tuple[int, ...], order: ByteOrder) -> list[int]:
    """Integers one behind the other from `base + position`; positions in error texts count from `base`."""
    available = len(program) - base
    values = []
    for size in sizes:
        if position >= available:
            raise ElfParseError(f"bad offset {position}")
        if position + size > available:
            raise ElfParseError(f"type is too big ({size}) for {available - position}")
        values.append(int.from_bytes(program[base + position : base + position + size], order))
        position += size
    return values


def _loading_action(header: Sequence[int], file_size: int, version: int) -> LoadingAction:
    _, flags, start, address, _, size_in_file, size_in_memory, _ = header
    padding = address % PAGE_SIZE
    size = (size_in_memory + padding) & U64_MASK
    size = (size + -size % PAGE_SIZE) & U64_MASK  # whole pages, modulo 2^64
    end = (start + size_in_file) & U64_MASK
    if start > end or end > file_size:
        raise ElfSegmentAddrOrSizeError
    return LoadingAction(address - padding, size, _page_flags(flags, version), start, end, padding)


def _page_flags(segment_flags: int, version: int) -> int:
    if not segment_flags & PF_R:
        raise ElfSegmentUnreadable
    if segment_flags & PF_W and segment_flags & PF_X:
        raise ElfSegmentWritableAndExecutable
    if segment_flags & PF_X:
        return FLAG_EXECUTABLE | FLAG_FREEZED
    if segment_flags & PF_W and version != VERSION0:
        return 0
    return FLAG_FREEZED
