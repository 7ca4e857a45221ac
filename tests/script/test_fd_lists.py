"""Lists of descriptors may be as long as the memory, at no price: they are looked through quickly and kept packed."""

from __future__ import annotations

import resource
import sys

import pytest

from consensus.errors import CkbError
from consensus.script import scheduler
from consensus.script.scheduler import Scheduler
from consensus.script.syscalls.numbers import (
    CLOSE,
    INDEX_OUT_OF_BOUND,
    INHERITED_FD,
    INVALID_FD,
    PIPE,
    PROCESS_ID,
    READ,
    SLICE_OUT_OF_BOUND,
    SPAWN,
    WAIT,
)
from consensus.script.verifier import ScriptVerifier
from tests.support.builders.scripts import Chain, Env, make_cell, make_consensus, make_transaction, resolve, script_for
from tests.support.vm.hostile_programs import LIST, LIST_END, store64
from tests.support.vm.script_programs import DATA, S0, S1, T0, T1, Program
from vm.registers import A0

LIMIT = 1 << 40
ENTRIES = (LIST_END - LIST) // 8


def run(*programs: Program) -> int | str:
    codes = [program.elf() for program in programs]
    rtx = resolve(make_transaction(), [make_cell(lock=script_for(codes[0], 2))], [make_cell(code) for code in codes])
    try:
        return ScriptVerifier(make_consensus(), Chain()).verify(rtx, Env(10), LIMIT)
    except CkbError as error:
        return str(error)


def fill(p: Program, register: int, end: int = LIST_END) -> None:
    """Put a register everywhere into the list."""
    p.load_immediate(T0, LIST)
    p.load_immediate(T1, end)
    label = f"fill{len(p.words)}"
    p.label(label)
    store64(p, register, T0, 0)
    p.addi(T0, T0, 8)
    p.branch_less(T0, T1, label)


def spawn(p: Program, index: int, answer: int, code: int, *, bounds: int = 0, fds: int = LIST) -> None:
    for offset, value in ((0, 0), (8, 0), (16, DATA + 64), (24, fds)):
        p.set64(DATA + offset, value)
    p.check(SPAWN, index, 3, 0, bounds, DATA, answer=answer, code=code)


def spawner(*, owned: bool = True) -> Program:
    """With a list of one descriptor all over the memory."""
    p = Program(data=bytes(512))
    p.check(PIPE, DATA + 128, code=99)
    p.load64(S0, DATA + 128)
    if not owned:
        p.addi(S0, S0, 8)
    fill(p, S0)
    return p


def test_a_list_that_fills_the_memory_is_inherited() -> None:
    child = Program(data=bytes(512))
    child.set64(DATA + 32, 1 << 40)
    child.check(INHERITED_FD, LIST, DATA + 32, code=1)
    child.load64(S1, DATA + 32)
    child.expect(S1, ENTRIES, 2)
    for address in (LIST, LIST_END - 8):
        child.load64(S1, address)
        child.expect(S1, 2, 3)
    # A second time, with something changed in between, and not all of it.
    child.set64(LIST + 80_000, 7)
    child.set64(DATA + 32, ENTRIES - 1)
    child.set64(LIST_END - 8, 9)
    child.check(INHERITED_FD, LIST, DATA + 32, code=4)
    for address, value in ((LIST + 80_000, 2), (LIST_END - 16, 2), (LIST_END - 8, 9)):
        child.load64(S1, address)
        child.expect(S1, value, 5)
    child.exit(0)
    root = spawner()
    spawn(root, 1, 0, 1)
    root.load64(A0, DATA + 128)
    root.check(CLOSE, 2, answer=INVALID_FD, code=2)
    root.syscall(WAIT, 1, DATA + 200)
    root.load_byte(A0, DATA + 200)
    root.exit_with_a0()
    assert isinstance(run(root, child), int)


def test_answers_to_a_list_that_fills_the_memory() -> None:
    root = spawner(owned=False)
    spawn(root, 9, INDEX_OUT_OF_BOUND, 1)
    spawn(root, 1, SLICE_OUT_OF_BOUND, 2, bounds=1 << 62)
    spawn(root, 1, INVALID_FD, 3)
    spawn(root, 9, INDEX_OUT_OF_BOUND, 4, fds=LIST_END - 8)
    root.exit(0)
    assert isinstance(run(root, Program()), int)


def test_the_end_of_the_list_moves() -> None:
    """The only zero behind the list is moved before each call."""
    root = Program(data=bytes(512))
    root.load_immediate(S0, 0x0101010101010101)
    fill(root, S0, 0x400000)
    for at in (LIST + 8, LIST + 4096, 0x400000 - 8, LIST + 1_000_000, LIST):
        root.set64(at, 0)
        spawn(root, 9, INDEX_OUT_OF_BOUND, 1)
        root.store64(S0, at)
    root.check(SPAWN, 9, 3, 0, 0, DATA, code=2)
    assert "MemOutOfBound" in str(run(root))


def test_a_list_without_end_is_an_error_whatever_else_is_wrong() -> None:
    for offset in (0, 1, 7):
        root = Program(data=bytes(512))
        root.load_immediate(S0, 0x0101010101010101)
        fill(root, S0, 0x400000)
        spawn(root, 9, INDEX_OUT_OF_BOUND, 1, fds=LIST + offset)
        assert "MemOutOfBound" in str(run(root))


def generations(count: int) -> Program:
    """Each process hands the list on to the next, and ends, which the next waits for."""
    p = Program(data=bytes(512))
    p.syscall(PROCESS_ID)
    p.addi(S0, A0, 0)
    p.load_immediate(T0, 0)
    p._branch_equal(S0, T0, "root")
    p.set64(DATA + 32, ENTRIES)
    p.check(INHERITED_FD, LIST, DATA + 32, code=1)
    p.set64(DATA + 40, 8)
    p.load64(A0, LIST)
    p.load_immediate(A0 + 1, DATA + 48)
    p.load_immediate(A0 + 2, DATA + 40)
    p.check(READ, code=6)
    p.load_immediate(T1, count)
    p.branch_less(S0, T1, "more")
    p.exit(0)
    p.label("more")
    p.check(PIPE, DATA + 128, code=2)
    p.load64(S1, DATA + 128)
    fill(p, S1)
    spawn(p, 1, 0, 3)
    p.exit(0)
    p.label("root")
    p.check(PIPE, DATA + 128, code=4)
    p.load64(S1, DATA + 128)
    fill(p, S1)
    spawn(p, 1, 0, 5)
    p.load64(A0, DATA + 136)
    p.check(CLOSE, code=7)
    p.load_immediate(S0, 1)
    p.load_immediate(S1, count + 1)
    p.label("wait")
    p.addi(A0, S0, 0)
    p.load_immediate(A0 + 1, DATA + 200)
    p.check(WAIT, code=8)
    p.addi(S0, S0, 1)
    p.branch_less(S0, S1, "wait")
    p.exit(0)
    return p


def test_lists_go_with_their_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    end = Scheduler._end

    def watched(self: Scheduler, process_id: int, exit_code: int) -> None:
        end(self, process_id, exit_code)
        lists = [process.inherited_fds for process in self._processes.values()]
        assert all(type(each) is bytes for each in lists)
        kept.append(sum(map(len, lists)))

    monkeypatch.setattr(scheduler.Scheduler, "_end", watched)
    program = generations(12)
    assert isinstance(run(program, program), int)
    assert len(kept) == 13
    assert max(kept) <= 3 * 8 * ENTRIES


def test_memory_of_many_generations_is_bounded() -> None:
    scale = 1 if sys.platform == "darwin" else 1024
    program = generations(4)
    run(program, program)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    program = generations(40)
    assert isinstance(run(program, program), int)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale - before
    assert growth < 60 << 20, "40 lists of 3.7 MB each would be 150 MB"
