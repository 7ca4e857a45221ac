"""Names of functions in ELF files, for debugging only. Machines do not read them.

Nothing in a file is believed: what lies outside of it or is beyond the limits below is as good as absent, so that a
program which the machine runs can always be debugged, if need be without names.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from vm.constants import U64_MAX

MAX_SECTIONS: Final = 4096
MAX_SYMBOLS: Final = 200_000
MAX_NAME: Final = 200  # bytes

_HEADER_SIZE: Final = 64
_IDENT: Final = b"\x7fELF\x02\x01"  # 64 bits, little endian
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11
_SHF_EXECINSTR = 4
_STT_NOTYPE, _STT_FUNC = 0, 2
_STB_LOCAL = 0


class Span(NamedTuple):
    """Addresses [start, end) that belong to one function, or (`name` is None) to none that is known."""

    start: int
    end: int
    name: str | None

    def holds(self, pc: int) -> bool:
        """Whether an address is one of these."""
        return self.start <= pc < self.end


class _Section(NamedTuple):
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int

    @property
    def end(self) -> int:
        return self.address + self.size


class _Symbol(NamedTuple):
    """Ordered so that of the symbols of one address the one to show comes first."""

    address: int
    is_local: bool
    is_plain: bool  # a label of which the file does not say that it is a function
    name: str
    end: int


class SymbolTable:
    """Functions by address and by name."""

    def __init__(self, symbols: list[_Symbol]) -> None:
        self._spans = list(_spans(sorted(symbols)))
        self._starts = [span.start for span in self._spans]
        self._addresses: dict[str, list[int]] = {}
        for symbol in sorted(symbols):
            self._addresses.setdefault(symbol.name, []).append(symbol.address)

    def __len__(self) -> int:
        return len(self._addresses)

    def find(self, pc: int) -> Span:
        """The function at an address, or the room between functions around it."""
        return self._spans[bisect_right(self._starts, pc) - 1]

    def addresses(self, name: str) -> list[int]:
        """Where functions of a name begin: none, one, or more when they are local to several files."""
        return self._addresses.get(name, [])

    def place(self, pc: int) -> str:
        """`name+0x12`, or the bare address in hex."""
        span = self.find(pc)
        return f"{pc:#x}" if span.name is None else f"{span.name}+{pc - span.start:#x}"


def read_symbols(program: bytes) -> SymbolTable:
    """The functions that a program names: those of its symbol table, else of its dynamic one; maybe none at all."""
    sections = _sections(program)
    for kind in (_SHT_SYMTAB, _SHT_DYNSYM):
        table = next((section for section in sections if section.kind == kind), None)
        if table is not None and table.link < len(sections):
            symbols = list(_symbols(program, table, sections))
            if symbols:
                return SymbolTable(symbols)
    return SymbolTable([])


def _sections(program: bytes) -> list[_Section]:
    if len(program) < _HEADER_SIZE or not program.startswith(_IDENT):
        return []
    (offset,) = struct.unpack_from("<Q", program, 40)
    entry_size, count = struct.unpack_from("<HH", program, 58)
    if entry_size != _SECTION.size or not 0 < count <= MAX_SECTIONS or offset + count * entry_size > len(program):
        return []
    found = []
    for _, kind, flags, address, start, size, link, *_ in _SECTION.iter_unpack(
        program[offset : offset + count * entry_size]
    ):
        found.append(_Section(kind, flags, address, start, size, link))
    return found


def _symbols(program: bytes, table: _Section, sections: list[_Section]) -> Iterator[_Symbol]:
    names = sections[table.link]
    if table.offset + table.size > len(program) or names.offset + names.size > len(program):
        return
    count = min(table.size // _SYMBOL.size, MAX_SYMBOLS)
    entries = program[table.offset : table.offset + count * _SYMBOL.size]
    for name_at, info, _, index, address, size in _SYMBOL.iter_unpack(entries):
        kind, is_local = info & 15, info >> 4 == _STB_LOCAL
        is_label = kind == _STT_NOTYPE and not is_local
        if not (kind == _STT_FUNC or is_label) or index >= len(sections):
            continue
        section = sections[index]
        if not section.flags & _SHF_EXECINSTR or not section.address <= address < section.end:
            continue
        name = _name(program, names, name_at)
        if name:
            end = address + size if size else section.end
            yield _Symbol(address, is_local, is_label, name, min(end, section.end, U64_MAX))


def _name(program: bytes, names: _Section, at: int) -> str:
    """The name without blanks, semicolons and control characters, safe to print."""
    if at >= names.size:
        return ""
    start = names.offset + at
    limit = min(start + MAX_NAME, names.offset + names.size)
    end = program.find(0, start, limit)
    text = program[start : limit if end < 0 else end].decode("ascii", "backslashreplace")
    return "".join(char if char.isprintable() and char not in " ;" else "_" for char in text)


def _spans(symbols: list[_Symbol]) -> Iterator[Span]:
    """All addresses from 0 on, cut by functions. The first symbol of an address gives its name."""
    position = 0
    distinct = [
        symbol for index, symbol in enumerate(symbols) if index == 0 or symbol.address != symbols[index - 1].address
    ]
    for index, symbol in enumerate(distinct):
        following = distinct[index + 1].address if index + 1 < len(distinct) else U64_MAX
        end = min(symbol.end, following)
        if position < symbol.address:
            yield Span(position, symbol.address, None)
        yield Span(symbol.address, end, symbol.name)
        position = end
    yield Span(position, U64_MAX + 1, None)
