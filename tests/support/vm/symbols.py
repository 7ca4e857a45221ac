"""Symbol tables for the programs of the mini assembler."""

import struct
from dataclasses import dataclass

from tests.support.vm.assembler import CODE_BASE

FUNC, LABEL = 2, 0
LOCAL, GLOBAL = 0, 1
SECTION_SIZE = 64


@dataclass(frozen=True)
class Symbol:
    """An entry of a symbol table, `size` in bytes; section 1 is the code."""

    name: str
    address: int
    size: int = 0
    kind: int = FUNC
    binding: int = GLOBAL
    section: int = 1


def with_symbols(elf: bytes, symbols: list[Symbol], code_size: int = 4096, table_kind: int = 2) -> bytes:
    """The file with sections behind it: none, code, symbols, names."""
    names, entries = b"\0", bytes(24)
    for symbol in symbols:
        info = symbol.binding << 4 | symbol.kind
        entries += struct.pack("<IBBHQQ", len(names), info, 0, symbol.section, symbol.address, symbol.size)
        names += symbol.name.encode("latin-1") + b"\0"
    start = len(elf)
    sections = [
        bytes(SECTION_SIZE),
        struct.pack("<IIQQQQIIQQ", 0, 1, 6, CODE_BASE, 0, code_size, 0, 0, 4, 0),
        struct.pack("<IIQQQQIIQQ", 0, table_kind, 0, 0, start, len(entries), 3, 0, 8, 24),
        struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, start + len(entries), len(names), 0, 0, 1, 0),
    ]
    header = bytearray(elf)
    struct.pack_into("<Q", header, 40, start + len(entries) + len(names))
    struct.pack_into("<HHH", header, 58, SECTION_SIZE, len(sections), 0)
    return bytes(header) + entries + names + b"".join(sections)
