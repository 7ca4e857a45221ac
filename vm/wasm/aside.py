"""Pages that wait beside a guest's memory for the next run that stores the same at the same place.

Most locks load a table of a megabyte first. To copy it for each run, and to clear the memory behind it, costs as much
as half of the run itself. Pages are moved instead, which leaves zeros where they were: a run finds what it would find
anyway.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from vm.constants import PAGE_SHIFT, PAGE_SIZE
from vm.memory import Memory

MIN_BYTES: Final = 64 << 10
"""To copy less costs less than to move it."""
_MAYMOVE, _FIXED, _DONTUNMAP = 1, 2, 4


def _find_mremap() -> Callable[..., Any] | None:
    """Linux knows how to move pages and leave others in their place from 5.7 on; before that it refuses."""
    if sys.platform != "linux" or mmap.PAGESIZE != PAGE_SIZE:
        return None
    function = ctypes.CDLL(None).mremap
    function.restype = ctypes.c_void_p
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
    return function


_mremap: Final = _find_mremap()


@dataclass(frozen=True, slots=True)
class _Held:
    """`data` stored at `address`, all pages but the first and the last."""

    data: bytes
    address: int
    pages: slice


class Aside:
    """Belongs to one guest memory, which has it, and to its thread. `size`: bytes that wait."""

    def __init__(self) -> None:
        self._side: mmap.mmap | None = None
        self._held: _Held | None = None
        self._is_possible = _mremap is not None

    @property
    def size(self) -> int:
        return 0 if self._held is None else _size(self._held.pages)

    def put(self, memory: Memory) -> slice | None:
        """Move away what `Memory.store_again` has filled, if nobody wrote to it since. These pages are zero then."""
        found = memory.untouched_copy()
        if found is None or _size(found[2]) < MIN_BYTES or not self._is_possible:
            return None
        held = _Held(*found)
        if self._side is None or len(self._side) != _size(held.pages):
            self._side = mmap.mmap(-1, _size(held.pages), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if not self._move(_place_of(memory, held), _address_of(memoryview(self._side)), _size(held.pages)):
            return None
        self._held = held
        return held.pages

    def take(self, memory: Memory, data: bytes, address: int) -> None:
        """The same is about to be stored by `Memory.store_again`: bring its pages back, if they are here."""
        held = self._held
        if held is None or held.data is not data or held.address != address or self._side is None:
            return
        if memory.any_executable(slice(held.pages.start - 1, held.pages.stop + 1)):  # the store will be refused
            return
        if self._move(_address_of(memoryview(self._side)), _place_of(memory, held), _size(held.pages)):
            memory.mark_copied(data, address, held.pages)
        self._held = None

    def _move(self, source: int, target: int, size: int) -> bool:
        """False, once and for all, where the system cannot do it."""
        moved = None if _mremap is None else _mremap(source, size, size, _MAYMOVE | _FIXED | _DONTUNMAP, target)
        self._is_possible = moved == target
        return self._is_possible


def _place_of(memory: Memory, held: _Held) -> int:
    first: int = held.pages.start
    return _address_of(memory.data) + (first << PAGE_SHIFT)


def _address_of(buffer: memoryview) -> int:
    return ctypes.addressof(ctypes.c_uint8.from_buffer(buffer))


def _size(pages: slice) -> int:
    size: int = (pages.stop - pages.start) << PAGE_SHIFT
    return size
