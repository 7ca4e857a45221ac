"""The stack of a new program: laid out at once, it is the same as step by step, also where it ends early."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vm.arguments import Arguments
from vm.constants import FLAG_EXECUTABLE, MEMORY_SIZE, PAGE_SIZE, U64_MASK, VERSION2
from vm.errors import MemOutOfStack, VmError
from vm.machine import Machine
from vm.reference.engine import ReferenceMachine
from vm.registers import SP
from vm.stack import STACK_BOTTOM, error_of_refused, room_for_strings

MIB = 1 << 20
TOP_PAGE = MEMORY_SIZE // PAGE_SIZE - 1


def store_by_steps(machine: Machine, args: list[bytes]) -> None:
    """As the reference does it from version 1 on: value by value, sp follows every step."""
    sp, words, memory = MEMORY_SIZE, [len(args)], machine.memory
    machine.set_register(SP, sp)
    for arg in args:
        sp = (sp - len(arg) - 1) & U64_MASK
        memory.store_bytes(sp, arg)
        memory.store8((sp + len(arg)) & U64_MASK, 0)
        words.append(sp)
        machine.set_register(SP, sp)
        if machine.version >= VERSION2 and sp < STACK_BOTTOM:
            raise MemOutOfStack
    words.append(0)  # argv[argc]
    sp = (((sp - 8 * len(words)) & ~15) + 8 * len(words)) & U64_MASK
    machine.set_register(SP, sp)
    for word in reversed(words):
        sp = (sp - 8) & U64_MASK
        memory.store64(sp, word)
        machine.set_register(SP, sp)
    if sp < STACK_BOTTOM:
        raise MemOutOfStack


def lay_out(
    version: int, args: list[bytes], executable: int | None = None, *, by_steps: bool
) -> tuple[bytes, tuple[int, ...], str]:
    machine = ReferenceMachine(version, 0)
    if executable is not None:
        machine.memory.set_flag(executable, FLAG_EXECUTABLE)
    error = ""
    try:
        if by_steps:
            store_by_steps(machine, args)
        else:
            machine.initialize_stack(args)
    except VmError as caught:
        error = str(caught)
    return bytes(machine.memory.data), tuple(machine.get_register(index) for index in range(32)), error


def agreed(version: int, args: list[bytes], executable: int | None = None) -> str:
    """The error."""
    at_once = lay_out(version, args, executable, by_steps=False)
    assert at_once == lay_out(version, args, executable, by_steps=True)
    return at_once[2]


@given(
    version=st.sampled_from([1, 2]),
    args=st.lists(st.binary(max_size=40).map(lambda arg: arg.replace(b"\0", b"x")), min_size=1, max_size=12),
)
def test_both_ways_agree(version: int, args: list[bytes]) -> None:
    assert agreed(version, args) == ""


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("count", [1, 7])
def test_both_ways_agree_about_a_stack_that_is_too_small(version: int, count: int) -> None:
    assert agreed(version, [b"x" * ((MIB // count) - 10)] * count) == "MemOutOfStack"
    assert agreed(version, [b"x" * MIB]) == "MemOutOfStack"


@given(
    version=st.sampled_from([1, 2]),
    pages_down=st.sampled_from([0, 1, 2, 3, 255, 256, 257, 700, 1023]),
    sizes=st.lists(
        st.sampled_from([0, 1, 7, 8, 100, 4000, PAGE_SIZE - 1, PAGE_SIZE, 70_000, MIB]), min_size=1, max_size=9
    ),
    count=st.sampled_from([1, 1, 1, 30, 600]),
)
@example(version=1, pages_down=1, sizes=[PAGE_SIZE - 1 - 3], count=1)  # no room for a word, sp must be aligned
@example(version=1, pages_down=1, sizes=[PAGE_SIZE - 1 - 3, 0], count=1)
def test_both_ways_agree_about_an_executable_page(version: int, pages_down: int, sizes: list[int], count: int) -> None:
    args = [b"x" * size for size in sizes for _ in range(count if size < 100 else 1)]
    agreed(version, args, TOP_PAGE - pages_down)


@pytest.mark.parametrize("version", [1, 2])
def test_arguments_below_the_memory(version: int) -> None:
    assert agreed(version, [b"x" * (5 * MIB)]) == "MemOutOfBound"
    assert agreed(version, [b"x", b"x" * (5 * MIB)], 1) == "MemOutOfBound"


def test_words_below_the_memory() -> None:
    """An executable page is met before the memory ends."""
    args = [b"x" * (3 * MIB)] + [b""] * 120_000
    assert agreed(1, args) == "MemOutOfBound"
    assert agreed(1, args, 3) == "MemWriteOnExecutablePage"


@pytest.mark.parametrize("page", [None, 1, 600, 767, 768, 900, 1020, 1023])
@pytest.mark.parametrize(
    "sizes",
    [
        [MIB],
        [MIB - 9, 0, 0, 0],
        [5, 5 * MIB],
        [MIB - 9, 3 * MIB + 1000],
        [0] * 131_073,
        [MIB - 200_000] + [0] * 140_000,
    ],
)
def test_what_does_not_fit_fails_as_by_steps(page: int | None, sizes: list[int]) -> None:
    """From sizes alone: the strings that were not gathered cannot be stored to see what fails."""
    end = 0 if page is None else (page + 1) * PAGE_SIZE
    total = 0
    for size in sizes:
        total += size + 1
        if total > room_for_strings(end):
            break
    expected = lay_out(2, [b"x" * size for size in sizes], page, by_steps=True)[2]
    assert str(error_of_refused(total, len(sizes), end)) == expected


def test_arguments_that_are_laid_out_already() -> None:
    args = [b"one", b"", b"three"]
    machine, other = ReferenceMachine(1, 0), ReferenceMachine(1, 0)
    assert machine.initialize_stack(Arguments.of(args)) == other.initialize_stack(args)
    assert machine.snapshot() == other.snapshot()
