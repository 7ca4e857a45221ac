"""The memory of a machine: 4 MiB in pages of 4096 bytes, each either executable or writable (W^X).

Everything may be read. A store needs the W^X bit of each touched page clear, a fetch needs it set. "Frozen" pages may
be stored to; they only refuse to be initialised again.
"""

from collections.abc import Collection, Iterator, Sequence
from struct import Struct
from typing import Final

from vm.arguments import Arguments
from vm.constants import (
    FLAG_COPIED,
    FLAG_DIRTY,
    FLAG_EXECUTABLE,
    FLAG_FREEZED,
    FLAGS_WRITTEN,
    MAX_ARGUMENT_BYTES,
    MAX_ARGUMENTS,
    MEMORY_SIZE,
    PAGE_COUNT,
    PAGE_SHIFT,
    PAGE_SIZE,
    U64_MASK,
)
from vm.errors import MemOutOfBound, MemPageUnalignedAccess, MemWriteOnExecutablePage, MemWriteOnFreezedPage

_U64: Final = Struct("<Q")
_WORD_SIZE: Final = 8
_OFFSET_MASK: Final = PAGE_SIZE - 1
_NO_FLAG: Final = b"\0"
_ZERO_MEMORY: Final = memoryview(bytes(MEMORY_SIZE))
_DENSE: Final = 6  # with at least one dirty page in this many, the range between is cleared in one piece
# Flag bytes by what they allow, for looking at many pages at once.
_WRITABLE_FLAGS: Final = bytes(flag for flag in range(256) if not flag & FLAG_EXECUTABLE)
_CLEAN_FLAGS: Final = bytes(flag for flag in range(256) if not flag & FLAGS_WRITTEN)
_THAWED_FLAGS: Final = bytes(flag for flag in range(256) if not flag & FLAG_FREEZED)
_DIRTIED: Final = bytes(flag | FLAG_DIRTY for flag in range(256))
_PLAIN: Final = bytes(flag & ~FLAGS_WRITTEN | FLAG_DIRTY if flag & FLAGS_WRITTEN else flag for flag in range(256))
_FORGOTTEN: Final = bytes((flag | FLAG_DIRTY) & ~FLAG_COPIED if flag & FLAG_COPIED else flag for flag in range(256))
_REFILLED: Final = bytes(flag & ~FLAGS_WRITTEN | FLAG_COPIED for flag in range(256))
_STALE_MARKS: Final = bytes(flag & (FLAG_COPIED | FLAG_DIRTY) != FLAG_COPIED for flag in range(256))
_WITH_FLAGS: Final = [bytes(flag | more for flag in range(256)) for more in range(FLAG_EXECUTABLE + FLAG_FREEZED + 1)]
_DIRTY_MARKS: Final = bytes(bool(flag & FLAGS_WRITTEN) for flag in range(256))
_UNTOUCHED_FLAGS: Final = bytes(
    flag for flag in range(256) if flag & (FLAG_COPIED | FLAG_DIRTY | FLAG_EXECUTABLE) == FLAG_COPIED
)
_EXECUTABLE_MARKS: Final = bytes(bool(flag & FLAG_EXECUTABLE) for flag in range(256))


class Memory:
    """`data` (4 MiB) and `flags` (one byte a page) are any writable buffers; engines decide where they live.

    Invariant: a page without any of FLAGS_WRITTEN holds zeros only. Addresses and sizes are integers 0..2^64-1;
    whatever leaves the memory raises MemOutOfBound.
    """

    def __init__(self, data: bytearray | memoryview, flags: bytearray | memoryview) -> None:
        self.data = memoryview(data)
        self.flags = memoryview(flags)
        self._copied: tuple[bytes, int] | None = None  # what the pages with FLAG_COPIED hold, and where it begins

    # Single values, as instructions see them.

    def load8(self, address: int) -> int:
        """The byte at an address. Raises MemOutOfBound."""
        return self._load(address, 1)

    def load16(self, address: int) -> int:
        """2 bytes at an address, little endian. Raises MemOutOfBound."""
        return self._load(address, 2)

    def load32(self, address: int) -> int:
        """4 bytes at an address, little endian. Raises MemOutOfBound."""
        return self._load(address, 4)

    def load64(self, address: int) -> int:
        """8 bytes at an address, little endian. Raises MemOutOfBound."""
        if address + 8 > MEMORY_SIZE:
            raise MemOutOfBound
        value: int = _U64.unpack_from(self.data, address)[0]  # half the time of `_load`, for each system call
        return value

    def _load(self, address: int, size: int) -> int:
        if address + size > MEMORY_SIZE:
            raise MemOutOfBound
        return int.from_bytes(self.data[address : address + size], "little")

    def store8(self, address: int, value: int) -> None:
        """Store the low byte. Raises MemOutOfBound, MemWriteOnExecutablePage."""
        self._store(address, value & 0xFF, 1)

    def store16(self, address: int, value: int) -> None:
        """Store the low 2 bytes. Raises as `store8`."""
        self._store(address, value & 0xFFFF, 2)

    def store32(self, address: int, value: int) -> None:
        """Store the low 4 bytes. Raises as `store8`."""
        self._store(address, value & 0xFFFF_FFFF, 4)

    def store64(self, address: int, value: int) -> None:
        """Store the low 8 bytes. Raises as `store8`."""
        if (address & _OFFSET_MASK) + 8 > PAGE_SIZE:
            self.claim(address, 8)
        else:
            self._claim_page(address >> PAGE_SHIFT)
        _U64.pack_into(self.data, address, value & 0xFFFF_FFFF_FFFF_FFFF)  # half the time of `_store`

    def claim(self, address: int, size: int) -> None:
        """Make sure that `size` bytes (at most a page) may be stored, and mark their pages dirty."""
        page = address >> PAGE_SHIFT
        self._claim_page(page)
        if (address & _OFFSET_MASK) + size > PAGE_SIZE:
            self._claim_page(page + 1)

    def _store(self, address: int, value: int, size: int) -> None:
        self.claim(address, size)
        self.data[address : address + size] = value.to_bytes(size, "little")

    def _claim_page(self, page: int) -> None:
        """Make sure that a page exists and may be stored to, and mark it dirty."""
        if page >= PAGE_COUNT:
            raise MemOutOfBound
        flag = self.flags[page]
        if flag & FLAG_EXECUTABLE:
            raise MemWriteOnExecutablePage
        self.flags[page] = flag | FLAG_DIRTY

    # Fetching of instructions.

    def execute_load16(self, address: int) -> int:
        """2 bytes of code. Raises MemOutOfBound, MemWriteOnExecutablePage if the page is not executable."""
        self._check_executable(address, 2)
        return self._load(address, 2)

    def execute_load32(self, address: int) -> int:
        """4 bytes of code. Raises as `execute_load16`."""
        self._check_executable(address, 4)
        return self._load(address, 4)

    def _check_executable(self, address: int, size: int) -> None:
        last = (address + size - 1) >> PAGE_SHIFT
        for page in range(address >> PAGE_SHIFT, last + 1):
            if page >= PAGE_COUNT:
                raise MemOutOfBound
            if not self.flags[page] & FLAG_EXECUTABLE:
                raise MemWriteOnExecutablePage

    # Ranges, as the loader and system calls see them. A range of no bytes is fine anywhere.

    def load_bytes(self, address: int, size: int) -> bytes:
        """A copy of `size` bytes. Raises MemOutOfBound."""
        if size == 0:
            return b""
        if address + size > MEMORY_SIZE:
            raise MemOutOfBound
        return bytes(self.data[address : address + size])

    def store_bytes(self, address: int, data: bytes | memoryview) -> None:
        """Store bytes. Raises MemOutOfBound, MemWriteOnExecutablePage; then nothing is stored."""
        size = len(data)
        if size == 0:
            return
        if (address & _OFFSET_MASK) + size <= PAGE_SIZE:
            self._claim_page(address >> PAGE_SHIFT)
            self.data[address : address + size] = data
        else:
            self._store_pages(address, data)

    def _store_pages(self, address: int, data: bytes | memoryview) -> None:
        """`store_bytes` over the end of a page. Engines may know a faster way."""
        pages = _pages(address, len(data))
        self.flags[pages] = self._writable_flags(pages).translate(_DIRTIED)
        self.data[address : address + len(data)] = data

    def store_again(self, address: int, data: bytes, size: int) -> None:
        """Store the first `size` bytes of `data`, as `store_bytes`, but quickly if the same was stored there before.

        Pages that were not written since stay as they are.
        """
        if size < 2 * PAGE_SIZE:
            self.store_bytes(address, memoryview(data)[:size])
            return
        pages = _pages(address, size)
        flags = self._writable_flags(pages)
        if self._copied is None or self._copied[0] is not data or self._copied[1] != address:
            self.flags[:] = bytes(self.flags).translate(_FORGOTTEN)
            self._copied = data, address
            flags = bytes(self.flags[pages])
        stale = flags[1:-1].translate(_STALE_MARKS)
        first, last = stale.find(1), stale.rfind(1)
        content = memoryview(data)
        if first >= 0:
            start, end = (pages.start + 1 + first) << PAGE_SHIFT, (pages.start + 2 + last) << PAGE_SHIFT
            self.data[start:end] = content[start - address : end - address]
            self.flags[start >> PAGE_SHIFT : end >> PAGE_SHIFT] = flags[1 + first : 2 + last].translate(_REFILLED)
        head, tail = (pages.start + 1) << PAGE_SHIFT, (pages.stop - 1) << PAGE_SHIFT
        self.store_bytes(address, content[: head - address])
        self.store_bytes(tail, content[tail - address : size])

    def untouched_copy(self) -> tuple[bytes, int, slice] | None:
        """What `store_again` has filled, its address, and the pages between the first and the last, if none of them was
        written since."""
        if self._copied is None:
            return None
        data, address = self._copied
        pages = slice((address >> PAGE_SHIFT) + 1, (address + len(data) - 1) >> PAGE_SHIFT)
        if pages.stop <= pages.start or bytes(self.flags[pages]).translate(None, delete=_UNTOUCHED_FLAGS):
            return None
        return data, address, pages

    def mark_copied(self, data: bytes, address: int, pages: slice) -> None:
        """These whole pages have what `store_again` of the data at the address would store there."""
        if self._copied is None or self._copied[0] is not data or self._copied[1] != address:
            self.flags[:] = bytes(self.flags).translate(_FORGOTTEN)
            self._copied = data, address
        self.flags[pages] = bytes(self.flags[pages]).translate(_REFILLED)

    def fill_zero(self, address: int, size: int) -> None:
        """Store `size` zero bytes."""
        if size == 0:
            return
        pages = _pages(address, size)
        flags = self._writable_flags(pages)
        if not flags.translate(None, delete=_CLEAN_FLAGS):
            return  # all zero already
        for first, last in _runs(flags.translate(_DIRTY_MARKS)):
            start = max(address, (pages.start + first) << PAGE_SHIFT)
            end = min(address + size, (pages.start + last) << PAGE_SHIFT)
            self.data[start:end] = _ZERO_MEMORY[: end - start]
            self.flags[pages.start + first : pages.start + last] = flags[first:last].translate(_DIRTIED)

    def _writable_flags(self, pages: slice) -> bytes:
        """The flags of pages that are going to be stored to."""
        if self.any_executable(pages):
            raise MemWriteOnExecutablePage
        return bytes(self.flags[pages])

    def load_cstring(self, address: int) -> bytes:
        """The bytes from `address` up to the next zero byte, without it."""
        if address >= MEMORY_SIZE:
            raise MemOutOfBound
        start = address
        while start < MEMORY_SIZE:
            chunk = bytes(self.data[start : start + PAGE_SIZE])
            end = chunk.find(0)
            if end >= 0:
                return bytes(self.data[address : start + end])
            start += PAGE_SIZE
        raise MemOutOfBound

    # Lists of 64-bit words. Engines may know a faster way.

    def has_zero_word(self, address: int) -> bool:
        """Whether there is a word of zero at `address`, or any multiple of 8 behind it."""
        return self.find_zero_word(address) is not None

    def find_zero_word(self, address: int) -> int | None:
        """The address of the first such word."""
        words = (max(MEMORY_SIZE - address, 0)) // _WORD_SIZE
        for index, word in enumerate(self.data[address : address + _WORD_SIZE * words].cast("Q")):
            if word == 0:
                return address + _WORD_SIZE * index
        return None

    def known_words(self, start: int, end: int, known: Collection[int]) -> set[int] | None:
        """Which words there are from `start` up to `end`; None if there is another than the known ones.

        At most 128 of those, none of them 0. The range lies in the memory.
        """
        words = set(self.data[start:end].cast("Q"))
        return words if words.issubset(known) else None

    def gather_arguments(self, argc: int, argv: int, each: int, room: int = MAX_ARGUMENT_BYTES) -> Arguments | int:
        """The strings that an array of pointers names, read in turn. If they are too many or too long: how many bytes.

        That is: they, with `each` bytes for each, exceed `room` (the first that does is counted still); or, if that is
        not so, there are more than MAX_ARGUMENTS. Raises MemOutOfBound if a pointer or a string leaves the memory
        before that is noticed. `room` is at most MAX_ARGUMENT_BYTES.
        """
        strings: list[bytes] = []
        total = 0
        for index in range(argc):
            strings.append(self.load_cstring(self.load64((argv + _WORD_SIZE * index) & U64_MASK)))
            total += each + len(strings[-1])
            if total > room:
                return total
        return Arguments.of(strings) if argc <= MAX_ARGUMENTS else total

    # Pages.

    def init_pages(self, address: int, size: int, flags: int, source: bytes | memoryview, offset: int) -> None:
        """Initialise whole pages: `offset` zero bytes, then `source` (cut to fit), then zeros up to `size` bytes.

        The pages then also have `flags`. Raises MemPageUnalignedAccess if `address` or `size` is no multiple of the
        page size, MemWriteOnFreezedPage if one of the pages is frozen.
        """
        if address % PAGE_SIZE or size % PAGE_SIZE:
            raise MemPageUnalignedAccess
        if address + size > MEMORY_SIZE or offset > size:
            raise MemOutOfBound
        pages = slice(address >> PAGE_SHIFT, (address + size) >> PAGE_SHIFT)
        before = bytes(self.flags[pages])
        if before.translate(None, delete=_THAWED_FLAGS):
            raise MemWriteOnFreezedPage
        if not source and not before.strip(_NO_FLAG):  # a hostile file may have thousands of such segments
            self.flags[pages] = before.translate(_WITH_FLAGS[flags])
            return
        content = memoryview(source)[: size - offset]
        self.fill_zero(address, offset)
        self.store_bytes(address + offset, content)
        filled = offset + len(content)
        self.fill_zero(address + filled, size - filled)
        self.flags[pages] = bytes(self.flags[pages]).translate(_WITH_FLAGS[flags])

    def fetch_flag(self, page: int) -> int:
        """The flags of a page. Raises MemOutOfBound."""
        if page >= PAGE_COUNT:
            raise MemOutOfBound
        return self.flags[page]

    def set_flag(self, page: int, flag: int) -> None:
        """Add flags to a page. Raises MemOutOfBound."""
        if page >= PAGE_COUNT:
            raise MemOutOfBound
        self.flags[page] |= flag

    def clear_flag(self, page: int, flag: int) -> None:
        """Take flags from a page. Raises MemOutOfBound."""
        if page >= PAGE_COUNT:
            raise MemOutOfBound
        self.flags[page] &= ~flag & 0xFF

    def plain_flags(self) -> bytes:
        """All flags, FLAG_DIRTY in place of those that stand for it."""
        return bytes(self.flags).translate(_PLAIN)

    def dirty_pages(self) -> Iterator[int]:
        """Numbers of the pages that were written, in order."""
        return self._pages_by(_DIRTY_MARKS)

    def executable_pages(self) -> Iterator[int]:
        """Numbers of the executable pages, in order."""
        return self._pages_by(_EXECUTABLE_MARKS)

    def _pages_by(self, marks: bytes) -> Iterator[int]:
        """Pages whose flags have a mark. Few have, as a rule, so they are searched for."""
        marked = bytes(self.flags).translate(marks)
        page = marked.find(1)
        while page >= 0:
            yield page
            page = marked.find(1, page + 1)

    def executable_end(self) -> int:
        """Where the last executable page ends, 0 if there is none."""
        return executable_end_of(bytes(self.flags))

    def dirty_ranges(self) -> Iterator[tuple[int, int]]:
        """Dirty pages [start, end) in a row."""
        return _runs(bytes(self.flags).translate(_DIRTY_MARKS))

    def any_executable(self, pages: slice) -> bool:
        """Whether one of these pages is executable."""
        return bool(bytes(self.flags[pages]).translate(None, delete=_WRITABLE_FLAGS))

    def clear(self, overwritten: Sequence[slice] = ()) -> None:
        """All zero, no flags: the state before a program is loaded.

        Pages of `overwritten` may keep what they hold: the caller stores to all of them before anybody reads.
        """
        flags = bytearray(self.flags)
        for pages in overwritten:
            flags[pages] = bytes(pages.stop - pages.start)
        marked = flags.translate(_DIRTY_MARKS)
        first, last = marked.find(1), marked.rfind(1)
        if first >= 0 and last - first < _DENSE * marked.count(1):
            self._zero(first, last + 1)
        elif first >= 0:
            for start, end in _runs(marked):
                self._zero(start, end)
        self.flags[:] = bytes(PAGE_COUNT)

    def _zero(self, start: int, end: int) -> None:
        """Pages."""
        self.data[start << PAGE_SHIFT : end << PAGE_SHIFT] = _ZERO_MEMORY[: (end - start) << PAGE_SHIFT]


def executable_end_of(flags: bytes) -> int:
    """Where the last executable page ends, 0 if there is none. `flags`: of all pages."""
    return (flags.translate(_EXECUTABLE_MARKS).rfind(1) + 1) << PAGE_SHIFT


def _runs(marked: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Pages [start, end) in a row that are marked by 1, among others by 0."""
    start = marked.find(1)
    while start >= 0:
        end = marked.find(0, start)
        end = len(marked) if end < 0 else end
        yield start, end
        start = marked.find(1, end)


def _pages(address: int, size: int) -> slice:
    """The pages of a range that is not empty."""
    end = address + size
    if end > MEMORY_SIZE:
        raise MemOutOfBound
    return slice(address >> PAGE_SHIFT, ((end - 1) >> PAGE_SHIFT) + 1)
