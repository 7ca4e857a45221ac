"""What a process finds changed in its memory after it was uninstantiated and instantiated again (RFC 50).

Nodes keep an uninstantiated machine without the pages that cell data or a program filled: those are read again from
where they came. That page does not always get the same bytes. Code mapped by load_cell_data_as_code gets what follows
the mapped part in the cell instead of zeros, is gone if the cell has ended before the page, and fails the script if the
cell ends within the page. A page that two segments of a program fill gets the whole page of the last that fills it.

Only such pages are remembered here; all others come back as they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from consensus.script.context import GroupContext, Program
from vm.constants import FLAG_DIRTY, PAGE_SHIFT, PAGE_SIZE
from vm.elf import LoadingAction, ProgramMetadata
from vm.errors import MemPageUnalignedAccess
from vm.machine import Machine
from vm.memory import Memory
from vm.segments import actions_with_content

_ZERO_PAGE = bytes(PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class _SourcePage:
    """A page that is read again from `source`, unless it was written since: then it differs from `content`."""

    source: Program
    content: bytes


def _overlap(actions: Iterable[LoadingAction]) -> bool:
    """Whether two of them fill a page. All lie in the memory, so at most as many as it has pages are looked at."""
    filled = 0
    for action in actions:
        if action.size:
            pages = (1 << (action.size >> PAGE_SHIFT)) - 1 << (action.address >> PAGE_SHIFT)
            if filled & pages:
                return True
            filled |= pages
    return False


class PageSources:
    """The pages of one machine that may not come back as they were."""

    def __init__(self) -> None:
        self._pages: dict[int, _SourcePage] = {}

    def program_loaded(self, memory: Memory, metadata: ProgramMetadata, program: Program) -> None:
        """A program was loaded into an empty machine."""
        self._pages.clear()
        if not _overlap(metadata.actions):
            return
        for action in actions_with_content(metadata.actions, PAGE_SIZE):
            start = action.address + action.offset
            end = start + min(action.end - action.start, action.size - action.offset)
            for page in range(-(-start >> PAGE_SHIFT), end >> PAGE_SHIFT):
                offset = program.offset + action.start + (page << PAGE_SHIFT) - start
                self._remember(memory, page, replace(program, offset=offset, length=PAGE_SIZE))

    def code_mapped(self, memory: Memory, address: int, memory_size: int, code: Program) -> None:
        """Whole pages were mapped, of which `code` fills the first `code.length` bytes."""
        first, count = address >> PAGE_SHIFT, memory_size >> PAGE_SHIFT
        filled = code.length >> PAGE_SHIFT
        self._forget(range(first, first + filled))
        for number in range(filled, count):
            offset = code.offset + (number << PAGE_SHIFT)
            self._remember(memory, first + number, replace(code, offset=offset, length=PAGE_SIZE))

    def data_loaded(self, address: int, size: int) -> None:
        """Cell data was stored: its pages come back as they are, the first and last as part of the memory."""
        if size and self._pages:
            self._forget(range(address >> PAGE_SHIFT, ((address + size - 1) >> PAGE_SHIFT) + 1))

    def restore(self, machine: Machine, group: GroupContext) -> None:
        """Bring the memory into the state after instantiation. Raises MemPageUnalignedAccess."""
        if not self._pages:
            return
        snapshot = machine.snapshot()
        contents, flags = dict(snapshot.pages), bytearray(snapshot.flags)
        for page, known in self._pages.items():
            if contents.get(page, _ZERO_PAGE) != known.content:
                continue
            part = group.read(known.source)
            if len(part) == PAGE_SIZE:
                contents[page] = part
                flags[page] |= FLAG_DIRTY
            elif part:
                raise MemPageUnalignedAccess
            else:
                contents.pop(page, None)
                flags[page] = 0
        self._pages.clear()
        machine.restore(replace(snapshot, pages=contents, flags=bytes(flags)))

    def _remember(self, memory: Memory, page: int, source: Program) -> None:
        self._pages[page] = _SourcePage(source, memory.load_bytes(page << PAGE_SHIFT, PAGE_SIZE))

    def _forget(self, pages: range) -> None:
        for page in pages:
            self._pages.pop(page, None)
