"""Long lists of words in the memory: every engine's way of looking through them gives what the plain way does."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from vm import create_machine
from vm.constants import FLAG_DIRTY, FLAG_EXECUTABLE, FLAG_FREEZED, MEMORY_SIZE, PAGE_SIZE, U64_MAX
from vm.errors import MemOutOfBound, MemWriteOnExecutablePage
from vm.memory import Memory

PAGES = MEMORY_SIZE // PAGE_SIZE
LIST = MEMORY_SIZE - 40 * PAGE_SIZE  # near the end: the plain way is slow


@pytest.fixture(params=["reference", "wasm"])
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    machine = create_machine(2, 0, request.param)  # owns the memory
    yield machine.memory
    assert machine.pc == 0


def has_zero_word(memory: Memory, address: int) -> bool:
    """The plain way."""
    return Memory.find_zero_word(memory, address) is not None


def fill(memory: Memory) -> None:
    memory.store_bytes(0, b"\1" * MEMORY_SIZE)


def test_an_empty_memory_is_full_of_zero_words(memory: Memory) -> None:
    assert memory.has_zero_word(0)
    assert memory.find_zero_word(5) == 5
    assert memory.has_zero_word(MEMORY_SIZE - 8)
    assert memory.find_zero_word(MEMORY_SIZE - 8) == MEMORY_SIZE - 8


@pytest.mark.parametrize("address", [MEMORY_SIZE - 7, MEMORY_SIZE, MEMORY_SIZE + 1, 1 << 32, 1 << 63, U64_MAX])
def test_no_word_lies_there(memory: Memory, address: int) -> None:
    assert not memory.has_zero_word(address)
    assert memory.find_zero_word(address) is None


@pytest.mark.parametrize("offset", range(8))
def test_only_words_in_step_count(memory: Memory, offset: int) -> None:
    fill(memory)
    for zero in (LIST + 5 * PAGE_SIZE + offset, LIST + 7 * PAGE_SIZE - 8 + offset, MEMORY_SIZE - 16 + offset):
        memory.store_bytes(zero, bytes(8))
        for start in range(LIST, LIST + 8):
            expected = start % 8 == zero % 8
            assert memory.has_zero_word(start) == expected
            assert memory.find_zero_word(start) == (zero if expected else None)
        assert memory.has_zero_word(zero)
        assert not memory.has_zero_word(zero + 8)
        memory.store_bytes(zero, b"\1" * 8)
        assert not memory.has_zero_word(zero)


def test_what_is_known_of_a_page_ends_with_a_store() -> None:
    """Random stores of all kinds between questions of all kinds, beside a memory that knows nothing."""
    rng = random.Random(8)
    machine, plain = create_machine(2, 0, "wasm"), create_machine(2, 0, "reference").memory
    memory = machine.memory
    lists = [rng.randbytes(60_000) for _ in range(2)]  # 80,000 from LIST on are stored to
    for each in (memory, plain):
        fill(each)
    for step in range(600):
        address = LIST + rng.randrange(80_000)
        size = rng.choice([1, 7, 8, 9, 15, 5000])
        match rng.randrange(5):
            case 0:
                data = rng.randbytes(size)
                memory.store_bytes(address, data)
                plain.store_bytes(address, data)
            case 1:
                memory.fill_zero(address, size)
                plain.fill_zero(address, size)
            case 2:
                data, start = rng.choice(lists), LIST + rng.choice([0, 0, 0, 8, 12_345])
                room = rng.choice([len(data), 30_000])
                memory.store_again(start, data, room)
                plain.store_bytes(start, data[:room])
            case 3:
                memory.store64(address, step)
                plain.store64(address, step)
            case _:
                assert memory.has_zero_word(address) == has_zero_word(plain, address)
                start = MEMORY_SIZE - rng.randrange(40)
                assert memory.has_zero_word(start) == has_zero_word(plain, start)
        if step % 20 == 0:
            assert memory.data == plain.data
            assert memory.plain_flags() == plain.plain_flags()


def test_a_snapshot_tells_nothing_of_it() -> None:
    machine = create_machine(2, 0, "wasm")
    fill(machine.memory)
    assert not machine.memory.has_zero_word(0)
    machine.memory.store_again(LIST, b"\2" * 100_000, 100_000)
    assert machine.snapshot().flags == bytes([FLAG_DIRTY]) * PAGES
    assert list(machine.memory.dirty_pages()) == list(range(PAGES))
    machine.reset()
    assert machine.memory.has_zero_word(0)
    assert bytes(machine.memory.data) == bytes(MEMORY_SIZE)


def test_words_that_are_known(memory: Memory) -> None:
    rng = random.Random(9)
    known = {rng.randrange(1, 1 << 64) for _ in range(65)}
    some = sorted(known)[:40]
    words = [rng.choice(some) for _ in range(3000)] + some
    memory.store_bytes(LIST, b"".join(word.to_bytes(8, "little") for word in words))
    end = LIST + 8 * len(words)
    for _ in range(2):  # nothing is left of the first time
        assert memory.known_words(LIST, end, known) == set(some)
        assert memory.known_words(LIST, end, known - {some[7]}) is None
    assert memory.known_words(LIST, LIST, known) == set()
    assert memory.known_words(LIST, LIST + 8, ()) is None


def test_storing_again_asks_whether_it_may(memory: Memory) -> None:
    data = b"\1" * (5 * PAGE_SIZE)
    memory.store_again(LIST, data, len(data))
    memory.init_pages(LIST + 2 * PAGE_SIZE, PAGE_SIZE, FLAG_EXECUTABLE | FLAG_FREEZED, b"", 0)
    with pytest.raises(MemWriteOnExecutablePage):
        memory.store_again(LIST, data, len(data))
    with pytest.raises(MemOutOfBound):
        memory.store_again(MEMORY_SIZE - PAGE_SIZE, data, len(data))
    memory.store_again(U64_MAX, data, 0)
