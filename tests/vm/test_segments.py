"""Programs with many segments: generated code parses and loads them exactly as the plain way does."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.vm.assembler import CODE_BASE, ECALL, PAGE, PF_R, PF_W, PF_X, Segment, elf
from vm import create_machine, parse_program
from vm.constants import MEMORY_SIZE, U64_MASK
from vm.elf import LoadingAction, ProgramMetadata, parse_elf
from vm.errors import ElfSegmentAddrOrSizeError, MemOutOfBound, MemWriteOnFreezedPage, VmError
from vm.machine import Machine
from vm.reference.engine import ReferenceMachine
from vm.segments import ACTION, PackedActions, actions_with_content
from vm.wasm.machine import WasmMachine
from vm.wasm.programs import MANY

CODE: Final = Segment(CODE_BASE, ECALL, PF_R | PF_X)
DATA: Final = Segment(0x20000, b"data" * 2000, PF_R | PF_W)
NOTHING: Final = Segment(0x20000, b"", PF_R | PF_W)
HEADER_SIZE: Final = 64

ADDRESSES: Final = (0, 1, PAGE - 1, 63 * PAGE, 64 * PAGE + 5, 1000 * PAGE, MEMORY_SIZE - PAGE, MEMORY_SIZE - 1)
SIZES: Final = (0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 63 * PAGE, 64 * PAGE, 65 * PAGE, 200 * PAGE + 9)
HOSTILE: Final = (MEMORY_SIZE, MEMORY_SIZE + 1, 1 << 32, 1 << 63, U64_MASK - PAGE, U64_MASK - PAGE + 1, U64_MASK)
CONTENT: Final = random.Random(5).randbytes(20_000)
FILE_SIZES: Final = (0, 0, 1, 7, PAGE, PAGE + 1, 9000)


def _segment(rng: random.Random, hostility: float) -> Segment:
    """Mostly such that more can follow it: data, of version 1 on, that may be covered again."""

    def pick(usual: tuple[int, ...]) -> int:
        return rng.choice(HOSTILE) if rng.random() < hostility else rng.choice(usual)

    permissions = PF_R | PF_W
    if rng.random() < 0.01 + hostility:
        permissions = rng.choice([PF_R, PF_R | PF_X, PF_R | PF_W | PF_X, PF_W, PF_X, 0, 8 | PF_R, 1 << 31 | PF_R])
    address = pick(ADDRESSES) if rng.random() < 0.3 else rng.randrange(MEMORY_SIZE)
    size = pick(SIZES)
    if rng.random() >= hostility:
        size = min(size, max(MEMORY_SIZE - address, 0))
    return Segment(
        address,
        b"",
        permissions,
        memory_size=size,
        kind=rng.choice([1, 1, 1, 1, 1, 1, 0, 2, 1 << 31 | 1]),
        offset=pick((HEADER_SIZE, *range(HEADER_SIZE, 3000, 177))),
        file_size=pick(FILE_SIZES),
    )


def _file(segments: list[Segment], order: str) -> bytes:
    """The contents, which segments name by their offsets, lie behind the headers."""
    return elf(segments, entry=CODE_BASE, order=order) + CONTENT


def _parsed(parse: Callable[[bytes, int], ProgramMetadata], file: bytes, version: int) -> ProgramMetadata | str:
    try:
        return parse(file, version)
    except VmError as error:
        return repr(error)


def _loaded(machine: Machine, file: bytes, metadata: ProgramMetadata) -> object:
    try:
        return machine.load_metadata(file, metadata)
    except VmError as error:
        return repr(error)


def _state(machine: Machine) -> tuple[object, ...]:
    return machine.pc, bytes(machine.memory.flags), bytes(machine.memory.data)


def assert_same(file: bytes, version: int) -> object:
    """What both ways make of a program, or of the failure to parse it."""
    plain, quick = _parsed(parse_elf, file, version), _parsed(parse_program, file, version)
    if isinstance(plain, str) or isinstance(quick, str):
        assert plain == quick
        return plain
    assert isinstance(quick.actions, PackedActions)
    assert (tuple(quick.actions), quick.entry) == (plain.actions, plain.entry)
    reference, machine = create_machine(version, 1000, "reference"), create_machine(version, 1000, "wasm")
    expected = _loaded(reference, file, plain)
    for _ in range(3):  # the third time from what is remembered
        assert _loaded(machine, file, quick) == expected
        assert _state(machine) == _state(reference)
        machine.reset()
    return expected


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, U64_MASK),
    version=st.sampled_from([0, 1, 2]),
    order=st.sampled_from(["<", ">"]),
    count=st.integers(MANY + 1, 200),
    hostility=st.sampled_from([0.0, 0.0, 0.001, 0.02]),
)
def test_random_and_hostile_segments(seed: int, version: int, order: str, count: int, hostility: float) -> None:
    rng = random.Random(seed)
    assert_same(_file([_segment(rng, hostility) for _ in range(count)], order), version)


@settings(max_examples=50, deadline=None)
@given(
    headers=st.binary(min_size=1, max_size=56 * 40),
    version=st.sampled_from([0, 1, 2]),
    good=st.integers(MANY, MANY + 50),
)
def test_random_headers(headers: bytes, version: int, good: int) -> None:
    """Behind some good ones; loadable, so that the rest of them counts."""
    file = bytearray(elf([DATA] * (good + len(headers) // 56 + 1)))
    start = HEADER_SIZE + 56 * good
    file[start : start + len(headers)] = headers
    for position in range(start, start + len(headers), 56):
        struct.pack_into("<I", file, position, 1)
    assert_same(bytes(file), version)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(
    "special",
    [
        Segment(CODE_BASE + 8, b"code", PF_R | PF_X),  # of version 0: a store to a page that is executable
        Segment(MEMORY_SIZE, b"", PF_R | PF_W, memory_size=1),
        Segment(MEMORY_SIZE, b"", PF_R | PF_W),
        Segment(MEMORY_SIZE + 1, b"", PF_R | PF_W),
        Segment(0x30010, b"x" * 9000, PF_R | PF_W, memory_size=U64_MASK),  # wraps to nothing, but for its padding
        Segment(0x30000, b"x" * 9000, PF_R | PF_W, memory_size=10),
        Segment(0, b"", PF_R | PF_W, memory_size=MEMORY_SIZE),
        Segment(0, b"", PF_R, memory_size=MEMORY_SIZE),
        Segment(0x1F00F, b"y" * 5000, PF_R | PF_W, memory_size=20 * PAGE),
        Segment(0x40000, b"", PF_W),
        Segment(0x40000, b"", PF_R | PF_W | PF_X),
        Segment(0x40000, b"", PF_W, offset=U64_MASK, file_size=2),  # two faults: the first one counts
    ],
)
def test_one_among_many(special: Segment, version: int) -> None:
    many = [NOTHING] * MANY
    for order in ("<", ">"):
        assert_same(elf([CODE, DATA, *many, special, DATA], order=order), version)
        assert_same(elf([DATA, special, special, *many], order=order), version)


def test_the_first_fault_counts() -> None:
    outside = Segment(0, b"", PF_R, offset=U64_MASK, file_size=1)
    unreadable = Segment(0, b"", 0)
    assert assert_same(elf([CODE] * MANY + [outside, unreadable]), 1) == repr(ElfSegmentAddrOrSizeError())
    beyond = Segment(MEMORY_SIZE, b"", PF_R, memory_size=1)
    assert assert_same(elf([CODE, beyond, CODE] + [NOTHING] * MANY), 1) == repr(MemOutOfBound())
    assert assert_same(elf([CODE, CODE, beyond] + [NOTHING] * MANY), 1) == repr(MemWriteOnFreezedPage())


def test_ordinary_programs_are_parsed_the_plain_way() -> None:
    file = elf([CODE, *[DATA] * (MANY - 1)])
    assert parse_program(file, 1) == parse_elf(file, 1)
    assert not isinstance(parse_program(file, 1).actions, PackedActions)


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 56, 57, 58, 63, 64, 65, 64 + 56 * MANY, 64 + 56 * (MANY + 9) - 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_cut_short_is_refused_the_plain_way(cut: int, order: str) -> None:
    file = elf([NOTHING] * (MANY + 9), order=order)[:cut]
    plain = _parsed(parse_elf, file, 1)
    assert isinstance(plain, str)
    assert _parsed(parse_program, file, 1) == plain


def test_most_segments_that_there_can_be() -> None:
    """More than there is room for beside the machine are loaded one by one."""
    file = bytearray(elf([Segment(0x20000, b"abc", PF_R | PF_W, memory_size=PAGE)]))
    header, count = bytes(file[HEADER_SIZE : HEADER_SIZE + 56]), 0xFFFF
    expected = parse_elf(bytes(file), 1).actions[0]
    struct.pack_into("<Q", file, 32, len(file))
    struct.pack_into("<H", file, 56, count)
    program = bytes(file) + header * count
    metadata = parse_program(program, 1)
    assert isinstance(metadata.actions, PackedActions)
    assert len(metadata.actions) == count
    assert metadata.actions[-1] == expected
    machine = create_machine(1, 1000, "wasm")
    assert machine.load_metadata(program, metadata) == 3 * count
    assert machine.memory.load_bytes(0x20000, 4) == b"abc\0"


def test_packed_actions_read_as_a_list() -> None:
    actions = [LoadingAction(*range(index, index + 6)) for index in range(3)]
    packed = PackedActions(b"".join(ACTION.pack(*action) for action in actions))
    assert list(packed) == actions
    assert len(packed) == 3
    assert packed[-1] == actions[-1]
    assert packed[1:] == tuple(actions[1:])
    with pytest.raises(IndexError):
        packed[3]


@pytest.mark.parametrize("kind", [tuple, PackedActions])
def test_actions_with_content(kind: type) -> None:
    sizes = [0, 5, 4, 6, 0]
    actions = [LoadingAction(index, 0, 0, index, index + size, 0) for index, size in enumerate(sizes)]
    given = tuple(actions) if kind is tuple else PackedActions(b"".join(ACTION.pack(*action) for action in actions))
    assert list(actions_with_content(given, 5)) == [actions[1], actions[3]]


@pytest.mark.parametrize("version", [1, 2])
def test_a_memory_that_is_not_empty(version: int) -> None:
    """Only an empty one is filled by generated code."""
    file = elf([CODE, DATA, *[NOTHING] * MANY, Segment(0x21000, b"", PF_R | PF_W, memory_size=PAGE)])
    machines = [ReferenceMachine(version, 1000), create_machine(version, 1000, "wasm")]
    assert isinstance(machines[1], WasmMachine)
    for machine in machines:
        machine.memory.store_bytes(0x21100, b"old")
        machine.memory.store_bytes(0x50000, b"old")
        machine.load_elf(file)
    assert _state(machines[0]) == _state(machines[1])
