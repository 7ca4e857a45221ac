"""Arguments of programs: the interpreter gathers them as the plain way does, and fails as it does."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from vm import Machine, create_machine
from vm.arguments import Arguments
from vm.constants import MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MEMORY_SIZE, PAGE_SIZE, U64_MAX
from vm.errors import VmError
from vm.memory import Memory

TABLE = 0x10000
TEXT = MEMORY_SIZE - 80_000
Outcome = Arguments | str | None


@pytest.fixture(scope="module")
def machine() -> Machine:
    return create_machine(1, 0, "wasm")


def outcome(gather: Callable[[int, int, int], Arguments | None], argc: int, argv: int, each: int) -> Outcome:
    try:
        return gather(argc, argv, each)
    except VmError as error:
        return str(error)


def agreed(machine: Machine, argc: int, argv: int, each: int = 8) -> Outcome:
    """What both ways say of the same memory."""
    memory = machine.memory
    result = outcome(memory.gather_arguments, argc, argv, each)
    assert result == outcome(lambda *given: Memory.gather_arguments(memory, *given), argc, argv, each)
    return result


def put_pointers(memory: Memory, pointers: list[int], at: int = TABLE) -> None:
    memory.store_bytes(at, b"".join(pointer.to_bytes(8, "little") for pointer in pointers))


@pytest.mark.parametrize("each", [1, 8])
@pytest.mark.parametrize("seed", range(8))
def test_random_strings(machine: Machine, seed: int, each: int) -> None:
    rng = random.Random(seed)
    machine.reset()
    text = bytearray(rng.choices(range(1, 256), k=MEMORY_SIZE - TEXT))
    for _ in range(rng.choice([5, 1000, 20_000])):
        text[rng.randrange(len(text))] = 0
    machine.memory.store_bytes(TEXT, bytes(text))
    for _ in range(30):
        count, offset = rng.choice([1, 2, 9, 100]), rng.randrange(8)
        top = rng.choice([MEMORY_SIZE, MEMORY_SIZE, MEMORY_SIZE - 20, MEMORY_SIZE + 1])
        put_pointers(machine.memory, [rng.randrange(TEXT - 100, top) for _ in range(count)], TABLE + offset)
        agreed(machine, count, TABLE + offset, each)


def test_strings_of_every_short_size_at_every_place(machine: Machine) -> None:
    machine.reset()
    machine.memory.store_bytes(TEXT, b"\xff" * 200)
    for size in range(70):
        machine.memory.store8(TEXT + 100, 0)
        put_pointers(machine.memory, [TEXT + 100 - size, TEXT + 100, TEXT + 100 - size])
        result = agreed(machine, 3, TABLE)
        assert isinstance(result, Arguments)
        assert list(result) == [b"\xff" * size, b"", b"\xff" * size]


@pytest.mark.parametrize("size", range(20))
def test_a_string_that_the_memory_cuts_off(machine: Machine, size: int) -> None:
    machine.reset()
    machine.memory.store_bytes(MEMORY_SIZE - size - 1, b"x" * size + b"\0")
    put_pointers(machine.memory, [MEMORY_SIZE - size - 1])
    assert isinstance(agreed(machine, 1, TABLE), Arguments)
    machine.memory.store8(MEMORY_SIZE - 1, 1)
    assert agreed(machine, 1, TABLE) == "MemOutOfBound"


@pytest.mark.parametrize("pointer", [MEMORY_SIZE, MEMORY_SIZE + 8, 1 << 32, 1 << 63, U64_MAX])
def test_pointers_out_of_bound(machine: Machine, pointer: int) -> None:
    machine.reset()
    assert agreed(machine, 1, pointer) == "MemOutOfBound"
    put_pointers(machine.memory, [0, pointer])
    assert agreed(machine, 2, TABLE) == "MemOutOfBound"
    assert isinstance(agreed(machine, 1, TABLE), Arguments)
    assert isinstance(agreed(machine, 0, pointer), Arguments)


@pytest.mark.parametrize(
    ("argc", "each", "expected"),
    [
        (MAX_ARGUMENTS, 8, "gathered"),
        (MAX_ARGUMENTS + 1, 8, None),
        (U64_MAX, 8, None),
        (MAX_ARGUMENTS, 1, "gathered"),
        (MAX_ARGUMENTS + 1, 1, None),
        (500_000, 1, None),
        (1 << 20, 1, "MemOutOfBound"),  # the pointers leave the memory before the strings are too long
        (U64_MAX, 1, "MemOutOfBound"),
    ],
)
def test_empty_strings_without_end(machine: Machine, argc: int, each: int, expected: str | None) -> None:
    machine.reset()
    result = agreed(machine, argc, TABLE, each)
    assert ("gathered" if isinstance(result, Arguments) else result) == expected


@pytest.mark.parametrize("each", [1, 8])
def test_the_limit_counts_to_the_byte(machine: Machine, each: int) -> None:
    machine.reset()
    size = MAX_ARGUMENT_BYTES - each
    machine.memory.store_bytes(TABLE + PAGE_SIZE, b"x" * (size + 1))
    put_pointers(machine.memory, [TABLE + PAGE_SIZE + 1])
    assert isinstance(agreed(machine, 1, TABLE, each), Arguments)
    put_pointers(machine.memory, [TABLE + PAGE_SIZE])
    assert agreed(machine, 1, TABLE, each) is None
    put_pointers(machine.memory, [TABLE + PAGE_SIZE + 1, 0])
    assert agreed(machine, 2, TABLE, each) is None
    assert agreed(machine, 1, TABLE + 8, each) == Arguments.of([b""])


def test_a_string_that_is_too_long_comes_before_what_follows(machine: Machine) -> None:
    machine.reset()
    machine.memory.store_bytes(PAGE_SIZE * 20, b"x" * (3 << 20))
    put_pointers(machine.memory, [PAGE_SIZE * 20, MEMORY_SIZE], at=0)
    assert agreed(machine, 2, 0) is None
    put_pointers(machine.memory, [MEMORY_SIZE, PAGE_SIZE * 20], at=0)
    assert agreed(machine, 2, 0) == "MemOutOfBound"


def test_gathering_leaves_the_guest_alone(machine: Machine) -> None:
    machine.reset()
    machine.memory.store_bytes(0, bytes([1]) * 3000 + bytes(1))  # its vectors begin before the memory
    before = machine.snapshot()
    assert machine.memory.gather_arguments(100_000, PAGE_SIZE, 8) is None
    assert machine.memory.gather_arguments(300, PAGE_SIZE, 8) is not None
    assert machine.snapshot() == before
