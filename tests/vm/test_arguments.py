"""Arguments of programs: the interpreter gathers them as the plain way does, and fails as it does."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate

import pytest

from vm import Machine, create_machine
from vm.arguments import Arguments
from vm.constants import MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MEMORY_SIZE, PAGE_SIZE, U64_MAX
from vm.errors import VmError
from vm.memory import Memory

TABLE = 0x10000
TEXT = MEMORY_SIZE - 80_000
Outcome = Arguments | int | str


@pytest.fixture(scope="module")
def machine() -> Machine:
    return create_machine(1, 0, "wasm")


def outcome(gather: Callable[[int, int, int, int], Arguments | int], *given: int) -> Outcome:
    try:
        return gather(*given)
    except VmError as error:
        return str(error)


def agreed(machine: Machine, argc: int, argv: int, each: int = 8, room: int = MAX_ARGUMENT_BYTES) -> Outcome:
    """What both ways say of the same memory."""
    memory = machine.memory
    result = outcome(memory.gather_arguments, argc, argv, each, room)
    assert result == outcome(lambda *given: Memory.gather_arguments(memory, *given), argc, argv, each, room)
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
        agreed(machine, count, TABLE + offset, each, rng.randrange(40 * count))


@pytest.mark.parametrize("seed", range(4))
def test_long_strings_among_short_ones(machine: Machine, seed: int) -> None:
    """Short ones are gathered some at a time, unless there is a long one among them."""
    rng = random.Random(seed)
    machine.reset()
    sizes = [rng.choice([0, 1, 15, 16, 30, 31, 32, 33, 70]) for _ in range(300)]
    text = b"".join(bytes(rng.choices(range(1, 256), k=size)) + b"\0" for size in sizes)
    places = list(accumulate((size + 1 for size in sizes[:-1]), initial=MEMORY_SIZE - len(text)))
    machine.memory.store_bytes(places[0], text)  # it ends where the memory ends
    for _ in range(40):
        chosen = rng.choices(places, k=rng.randrange(30))
        if rng.random() < 0.2 and chosen:
            chosen[rng.randrange(len(chosen))] = rng.choice([MEMORY_SIZE, 1 << 32, U64_MAX, 0])
        put_pointers(machine.memory, chosen)
        for room in (MAX_ARGUMENT_BYTES, rng.randrange(30 * 30)):
            agreed(machine, len(chosen), TABLE, rng.choice([1, 8]), room)


@pytest.mark.parametrize("argv", [*range(MEMORY_SIZE - 70, MEMORY_SIZE + 9), *range(U64_MAX - 70, U64_MAX + 1)])
def test_pointers_where_the_memory_ends(machine: Machine, argv: int) -> None:
    machine.reset()
    for argc in range(9):
        assert isinstance(agreed(machine, argc, argv), Arguments) == (argc == 0 or argv + 8 * argc <= MEMORY_SIZE)


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
        (MAX_ARGUMENTS + 1, 8, MAX_ARGUMENT_BYTES + 8),
        (U64_MAX, 8, MAX_ARGUMENT_BYTES + 8),
        (MAX_ARGUMENTS, 1, "gathered"),
        (MAX_ARGUMENTS + 1, 1, MAX_ARGUMENTS + 1),
        (500_000, 1, 500_000),
        (1 << 20, 1, "MemOutOfBound"),  # the pointers leave the memory before the strings are too long
        (U64_MAX, 1, "MemOutOfBound"),
    ],
)
def test_empty_strings_without_end(machine: Machine, argc: int, each: int, expected: int | str) -> None:
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
    assert agreed(machine, 1, TABLE, each) == MAX_ARGUMENT_BYTES + 1
    put_pointers(machine.memory, [TABLE + PAGE_SIZE + 1, 0])
    assert agreed(machine, 2, TABLE, each) == MAX_ARGUMENT_BYTES + each
    assert agreed(machine, 1, TABLE + 8, each) == Arguments.of([b""])


def test_a_string_that_is_too_long_comes_before_what_follows(machine: Machine) -> None:
    machine.reset()
    machine.memory.store_bytes(PAGE_SIZE * 20, b"x" * (3 << 20))
    put_pointers(machine.memory, [PAGE_SIZE * 20, MEMORY_SIZE], at=0)
    assert agreed(machine, 2, 0) == (3 << 20) + 8
    put_pointers(machine.memory, [MEMORY_SIZE, PAGE_SIZE * 20], at=0)
    assert agreed(machine, 2, 0) == "MemOutOfBound"


def test_gathering_leaves_the_guest_alone(machine: Machine) -> None:
    machine.reset()
    machine.memory.store_bytes(0, bytes([1]) * 3000 + bytes(1))  # its vectors begin before the memory
    before = machine.snapshot()
    assert isinstance(machine.memory.gather_arguments(100_000, PAGE_SIZE, 8), int)
    assert isinstance(machine.memory.gather_arguments(300, PAGE_SIZE, 8), Arguments)
    assert machine.snapshot() == before
