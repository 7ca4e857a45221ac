"""Parses programs, those with many segments by generated code."""

from array import array
from threading import Lock
from typing import Final

from vm.elf import PROGRAM_HEADER_SIZE, ProgramMetadata, count_of_program_headers, parse_elf, parse_header
from vm.errors import (
    ElfSegmentAddrOrSizeError,
    ElfSegmentUnreadable,
    ElfSegmentWritableAndExecutable,
    VmError,
)
from vm.segments import PackedActions
from vm.wasm.runtime import ParserInstance
from vm.wasm.segments import OUTSIDE_OF_FILE, UNREADABLE, WRITABLE_AND_EXECUTABLE

MANY: Final = 64  # program headers; ordinary programs have some ten
_ERRORS: Final[dict[int, type[VmError]]] = {
    OUTSIDE_OF_FILE: ElfSegmentAddrOrSizeError,
    UNREADABLE: ElfSegmentUnreadable,
    WRITABLE_AND_EXECUTABLE: ElfSegmentWritableAndExecutable,
}


class _Parser:
    """The one instance of the generated module, made when it is needed first, which one thread at a time uses."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._instance: ParserInstance | None = None

    def actions(self, headers: bytes | memoryview, rotation: int, file_size: int, version: int) -> PackedActions:
        """Of program headers in little-endian words. Raises one of the ElfSegment errors."""
        count = len(headers) // PROGRAM_HEADER_SIZE
        with self._lock:
            if self._instance is None:
                self._instance = ParserInstance()
            self._instance.memory[: len(headers)] = headers
            size = self._instance.parse(count, rotation, file_size, version)
            if size >= 0:
                return PackedActions(bytes(self._instance.memory[:size]))
        raise _ERRORS[size]


_PARSER: Final = _Parser()


def parse_program(program: bytes, version: int) -> ProgramMetadata:
    """`parse_elf`, for programs with many segments by generated code. Raises the same errors."""
    if count_of_program_headers(program) <= MANY:
        return parse_elf(program, version)
    header = parse_header(program)
    if header.table.stop > len(program):
        return parse_elf(program, version)
    headers: bytes | memoryview = memoryview(program)[header.table]
    rotation = 0
    if header.order == "big":
        words = array("Q", bytes(headers))
        words.byteswap()  # type and flags, which share a word, change places
        headers, rotation = words.tobytes(), 32
    return ProgramMetadata(_PARSER.actions(headers, rotation, len(program), version), header.entry)
