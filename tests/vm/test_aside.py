"""What is moved aside between two runs: each run finds the memory as it was loaded, and what it stores itself."""

from __future__ import annotations

import gc
import random

import pytest

from tests.support.vm.script_programs import T0, Program
from tests.support.vm.translated import EagerHost
from vm import Machine, create_machine
from vm.constants import FLAG_EXECUTABLE, FLAG_FREEZED, MEMORY_SIZE, PAGE_SIZE
from vm.errors import MemWriteOnExecutablePage
from vm.memory import Memory
from vm.wasm import aside
from vm.wasm.machine import LinearMemory

VERSION, LIMIT = 1, 1 << 40
TABLE = MEMORY_SIZE // 2 + 1000
RNG = random.Random(11)
CONTENT = RNG.randbytes(300_000)
A_SYSCALL = 7777


def storing_program(address: int) -> bytes:
    """It makes a system call, stores a word of its own, and ends; it has data of its own, too."""
    program = Program(data=b"\5" * 100)
    program.syscall(A_SYSCALL)
    program.load_immediate(T0, 77)
    program.store64(T0, address)
    program.exit(0)
    return program.elf()


CODE = storing_program(TABLE + 100_000)


def plain_machine() -> Machine:
    machine = create_machine(VERSION, LIMIT, "reference")
    machine.load_program(CODE, [])
    return machine


def memory_of(machine: Machine) -> LinearMemory:
    assert isinstance(machine.memory, LinearMemory)
    return machine.memory


def held_bytes(machine: Machine) -> int:
    kept = memory_of(machine).aside
    assert kept is not None
    return kept.size


def assert_same(memory: Memory, plain: Memory) -> None:
    assert memory.data == plain.data
    assert memory.plain_flags() == plain.plain_flags()


def next_machine(host: EagerHost) -> Machine:
    """The instance of the last one, which must be gone, as just loaded."""
    gc.collect()
    machine = host.loaded(CODE, VERSION, LIMIT)
    assert_same(machine.memory, plain_machine().memory)
    return machine


def run_storing(host: EagerHost, data: bytes = CONTENT, address: int = TABLE) -> int:
    """A run that stores a table; the bytes that waited for it."""
    machine, plain = next_machine(host), plain_machine()
    waited = held_bytes(machine)
    for each in (machine, plain):
        each.memory.store_bytes(address, data)
    assert_same(machine.memory, plain.memory)
    return waited


def test_a_table_is_moved_from_run_to_run() -> None:
    host = EagerHost()
    waited = [run_storing(host) for _ in range(4)]
    assert waited[0] == 0
    assert all(len(CONTENT) - 2 * PAGE_SIZE < each < len(CONTENT) for each in waited[1:])
    next_machine(host)  # stores nothing
    assert run_storing(host) == waited[1], "it waits as long as nothing else is stored"


def test_another_table_or_place_is_stored_as_usual() -> None:
    host = EagerHost()
    run_storing(host)
    other = bytes(reversed(CONTENT))
    for data, address in ((other, TABLE), (CONTENT, TABLE + 8), (bytes(bytearray(CONTENT)), TABLE), (CONTENT, 0x80000)):
        run_storing(host, data, address)


def test_what_the_guest_writes_into_its_table_is_not_kept() -> None:
    host = EagerHost()
    for _ in range(3):
        machine, plain = next_machine(host), plain_machine()
        assert held_bytes(machine) == 0
        for each in (machine, plain):
            each.run()
            each.memory.store_bytes(TABLE, CONTENT)
            each.run()
        assert machine.memory.load64(TABLE + 100_000) == 77
        assert_same(machine.memory, plain.memory)
        del machine


def test_a_table_is_not_stored_over_code() -> None:
    host = EagerHost()
    run_storing(host)
    for page in (TABLE // PAGE_SIZE, (TABLE + len(CONTENT)) // PAGE_SIZE):
        machine, plain = next_machine(host), plain_machine()
        assert held_bytes(machine)
        for each in (machine, plain):
            each.memory.init_pages(page * PAGE_SIZE, PAGE_SIZE, FLAG_EXECUTABLE | FLAG_FREEZED, b"", 0)
            with pytest.raises(MemWriteOnExecutablePage):
                each.memory.store_bytes(TABLE, CONTENT)
        assert_same(machine.memory, plain.memory)
        del machine
        run_storing(host)


def test_random_runs() -> None:
    """Tables and small stores in any order, beside a memory that moves nothing."""
    host, rng, moved = EagerHost(), random.Random(12), 0
    tables = [CONTENT, CONTENT[:100_000], bytes(200_000)]
    for _ in range(40):
        machine, plain = next_machine(host), plain_machine()
        for _ in range(rng.randrange(5)):
            data, address = rng.choice(tables), TABLE + rng.choice([0, 0, 0, 0, PAGE_SIZE, 50_000])
            if rng.randrange(4) == 0:
                data, address = rng.randbytes(rng.randrange(1, 9000)), TABLE + rng.randrange(200_000)
            waited = held_bytes(machine)
            for each in (machine, plain):
                each.memory.store_bytes(address, data)
            moved += held_bytes(machine) < waited
            assert_same(machine.memory, plain.memory)
        del machine
    assert moved


def test_where_the_system_cannot_move_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_mremap", lambda *_: None)
    host = EagerHost()
    assert [run_storing(host) for _ in range(3)] == [0, 0, 0]
