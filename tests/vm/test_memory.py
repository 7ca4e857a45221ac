"""Memory as system calls see it: bounds, permissions, pages."""

import pytest

from vm import Machine, create_machine
from vm.constants import FLAG_DIRTY, FLAG_EXECUTABLE, FLAG_FREEZED, PAGE_COUNT
from vm.errors import MemOutOfBound, MemPageUnalignedAccess, MemWriteOnExecutablePage, MemWriteOnFreezedPage
from vm.memory import Memory

END = 4 << 20
PAGE = 4096


@pytest.fixture
def machine(engine: str) -> Machine:
    """Keeps the memory alive."""
    return create_machine(1, 1000, engine)


@pytest.fixture
def memory(machine: Machine) -> Memory:
    return machine.memory


def test_values(memory: Memory) -> None:
    memory.store64(0x100, 0x1122_3344_5566_7788)
    assert memory.load64(0x100) == 0x1122_3344_5566_7788
    assert memory.load32(0x100) == 0x5566_7788
    assert memory.load16(0x101) == 0x6677
    assert memory.load8(0x107) == 0x11
    memory.store32(0x100, 0xFFFF_FFFF_0000_0001)
    memory.store16(0x104, 0x1_0002)
    memory.store8(0x106, 0x103)
    assert memory.load_bytes(0x100, 8) == bytes([1, 0, 0, 0, 2, 0, 3, 0x11])


def test_bounds(memory: Memory) -> None:
    memory.store8(END - 1, 1)
    assert memory.load_bytes(END - 2, 2) == b"\0\1"
    for address in (END - 7, END, (1 << 64) - 8, (1 << 64) - 1):
        with pytest.raises(MemOutOfBound):
            memory.load64(address)
        with pytest.raises(MemOutOfBound):
            memory.store64(address, 0)
        with pytest.raises(MemOutOfBound):
            memory.load_bytes(address, 8)
        with pytest.raises(MemOutOfBound):
            memory.store_bytes(address, bytes(8))
    with pytest.raises(MemOutOfBound):
        memory.load_bytes(0, (1 << 64) - 1)


def test_nothing_may_lie_anywhere(memory: Memory) -> None:
    assert memory.load_bytes((1 << 64) - 1, 0) == b""
    memory.store_bytes((1 << 64) - 1, b"")


def test_cstring(memory: Memory) -> None:
    memory.store_bytes(PAGE - 2, b"abcdef\0gh")
    assert memory.load_cstring(PAGE - 2) == b"abcdef"
    assert memory.load_cstring(PAGE + 4) == b""
    memory.store_bytes(END - 3, b"xyz")
    with pytest.raises(MemOutOfBound):
        memory.load_cstring(END - 3)
    with pytest.raises(MemOutOfBound):
        memory.load_cstring(END)


def test_long_cstring(memory: Memory) -> None:
    memory.store_bytes(10, b"a" * 10_000)
    assert memory.load_cstring(10) == b"a" * 10_000


class TestPages:
    def test_init(self, memory: Memory) -> None:
        memory.store_bytes(PAGE, b"old" * 2000)
        memory.init_pages(PAGE, 2 * PAGE, FLAG_EXECUTABLE | FLAG_FREEZED, b"code", 5)
        assert memory.load_bytes(PAGE, 2 * PAGE) == bytes(5) + b"code" + bytes(2 * PAGE - 9)
        assert [memory.fetch_flag(page) & ~FLAG_DIRTY for page in (0, 1, 2, 3)] == [0, 3, 3, 0]

    def test_init_cuts_the_source(self, memory: Memory) -> None:
        memory.init_pages(0, PAGE, 0, b"x" * 9000, PAGE - 2)
        assert memory.load_bytes(PAGE - 3, 6) == b"\0xx\0\0\0"

    def test_init_nothing(self, memory: Memory) -> None:
        memory.init_pages(PAGE, 0, FLAG_FREEZED, b"x", 0)
        assert memory.fetch_flag(1) == 0

    @pytest.mark.parametrize(("address", "size"), [(1, PAGE), (0, 1), (PAGE + 8, PAGE)])
    def test_unaligned(self, memory: Memory, address: int, size: int) -> None:
        with pytest.raises(MemPageUnalignedAccess):
            memory.init_pages(address, size, 0, b"", 0)

    @pytest.mark.parametrize(
        ("address", "size", "offset"),
        [
            *((END, PAGE, 0), (END + PAGE, 0, 0), (0, END + PAGE, 0), ((1 << 64) - PAGE, PAGE, 0)),
            *((0, PAGE, PAGE + 1), (END - PAGE, 2 * PAGE, 0)),
        ],
    )
    def test_out_of_bound(self, memory: Memory, address: int, size: int, offset: int) -> None:
        with pytest.raises(MemOutOfBound):
            memory.init_pages(address, size, 0, b"", offset)

    def test_frozen(self, memory: Memory) -> None:
        memory.set_flag(2, FLAG_FREEZED)
        with pytest.raises(MemWriteOnFreezedPage):
            memory.init_pages(PAGE, 2 * PAGE, FLAG_EXECUTABLE, b"code", 0)
        assert memory.fetch_flag(1) == 0
        memory.store_bytes(2 * PAGE, b"a frozen page may be stored to")

    def test_executable_pages_cannot_be_stored_to(self, memory: Memory) -> None:
        memory.set_flag(1, FLAG_EXECUTABLE)
        for address in (PAGE, 2 * PAGE - 1, PAGE - 7):
            with pytest.raises(MemWriteOnExecutablePage):
                memory.store64(address, 1)
            with pytest.raises(MemWriteOnExecutablePage):
                memory.store_bytes(address, bytes(8))
        with pytest.raises(MemWriteOnExecutablePage):
            memory.store_bytes(0, bytes(3 * PAGE))
        memory.store64(PAGE - 8, 1)
        memory.store64(2 * PAGE, 1)
        assert memory.load64(PAGE - 8) == 1

    def test_flags(self, memory: Memory) -> None:
        memory.set_flag(PAGE_COUNT - 1, FLAG_FREEZED | FLAG_DIRTY)
        memory.clear_flag(PAGE_COUNT - 1, FLAG_FREEZED)
        assert memory.fetch_flag(PAGE_COUNT - 1) == FLAG_DIRTY
        for page in (PAGE_COUNT, (1 << 64) - 1):
            with pytest.raises(MemOutOfBound):
                memory.fetch_flag(page)
            with pytest.raises(MemOutOfBound):
                memory.set_flag(page, 1)
            with pytest.raises(MemOutOfBound):
                memory.clear_flag(page, 1)

    def test_dirty_pages(self, memory: Memory) -> None:
        memory.store8(PAGE, 0)
        memory.store64(5 * PAGE - 4, 0)
        assert list(memory.dirty_pages()) == [1, 4, 5]
        memory.clear()
        assert list(memory.dirty_pages()) == []
