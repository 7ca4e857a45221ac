"""Cached images of loaded programs: hostile scripts load the same program again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vm.constants import PAGE_COUNT, PAGE_SHIFT
from vm.errors import VmError
from vm.memory import Memory, executable_end_of

MAX_IMAGE: Final = 1 << 20  # bytes of pages that are worth remembering
_NO_FLAGS: Final = bytes(PAGE_COUNT)


@dataclass(frozen=True, slots=True)
class Image:
    """Flags and written pages after a program was loaded: contents by address. `size`: bytes read from the file;
    `error`: why loading ended early."""

    flags: bytes
    contents: tuple[tuple[int, bytes], ...]
    size: int
    error: VmError | None

    @property
    def pages(self) -> Iterator[slice]:
        """Those that it stores to, each as a whole."""
        for address, content in self.contents:
            yield slice(address >> PAGE_SHIFT, (address + len(content)) >> PAGE_SHIFT)

    @property
    def executable_end(self) -> int:
        """As `Memory.executable_end`."""
        return executable_end_of(self.flags)

    def apply(self, memory: Memory) -> int:
        """Load it into an empty memory. Returns `size`, or raises a new `error`."""
        memory.flags[:] = self.flags
        for address, content in self.contents:
            memory.data[address : address + len(content)] = content
        if self.error is not None:
            raise type(self.error)
        return self.size


class Loading:
    """The image of one program on one machine version. It is taken at the second load."""

    def __init__(self) -> None:
        self.image: Image | None = None
        self._was_loaded = False

    def take(self, memory: Memory, size: int, error: VmError | None) -> None:
        """The program was just loaded into an empty memory."""
        is_repeated, self._was_loaded = self._was_loaded, True
        if not is_repeated or (error is not None and error.args):
            return
        ranges = list(memory.dirty_ranges())
        if sum(end - start for start, end in ranges) << PAGE_SHIFT <= MAX_IMAGE:
            contents = tuple(
                (start << PAGE_SHIFT, bytes(memory.data[start << PAGE_SHIFT : end << PAGE_SHIFT]))
                for start, end in ranges
            )
            self.image = Image(memory.plain_flags(), contents, size, error)


def is_empty(memory: Memory) -> bool:
    """Nothing was loaded and nothing written."""
    return bytes(memory.flags) == _NO_FLAGS
