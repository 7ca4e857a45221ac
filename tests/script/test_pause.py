"""Scripts that run in slices: nothing changes but that somebody may wait in between, or give the run up."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from consensus.errors import CkbError
from consensus.script import scheduler
from consensus.script.errors import ExceededMaximumCycles, TransactionScriptError
from consensus.script.scheduler import Pause
from consensus.script.verifier import ScriptVerifier
from consensus.types.core import ResolvedTransaction
from tests.support.builders.scripts import Chain, Env, make_cell, make_consensus, make_transaction, resolve, script_for
from tests.support.vm.script_programs import T0, T1, Program

LOOPS = 10_000


class GivenUpError(Exception):
    """Raised in the middle of a run."""


@dataclass
class Counter:
    """Counts pauses; raises at the last that it allows."""

    allowed: int = 1 << 30
    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls > self.allowed:
            raise GivenUpError


def counting(loops: int | None, version: int) -> ResolvedTransaction:
    """A script that counts up to `loops`, or goes round for ever."""
    program = Program()
    program.load_immediate(T0, 0)
    program.load_immediate(T1, loops or 1)
    program.label("again")
    program.addi(T0, T0, 1 if loops else 0)
    program.branch_less(T0, T1, "again")
    program.exit(0)
    code = program.elf()
    return resolve(make_transaction(), [make_cell(lock=script_for(code, version))], [make_cell(code)])


def verify(rtx: ResolvedTransaction, limit: int, pause: Pause | None = None) -> int | str:
    try:
        return ScriptVerifier(make_consensus(), Chain(), pause=pause).verify(rtx, Env(10), limit)
    except CkbError as error:
        return str(error)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_slices_change_neither_cycles_nor_limits(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    monkeypatch.setattr(scheduler, "SLICE_CYCLES", 1024)
    rtx, pause = counting(LOOPS, version), Counter()
    cycles = verify(rtx, 1 << 30)
    assert isinstance(cycles, int)
    assert cycles > 2 * LOOPS
    assert verify(rtx, 1 << 30, pause) == cycles
    assert pause.calls >= 2 * LOOPS // 1024
    for limit in (cycles + 1, cycles, cycles - 1, cycles // 2, 1000, 1, 0):
        assert verify(rtx, limit, Counter()) == verify(rtx, limit), limit


def test_an_endless_script_is_given_up_between_two_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "SLICE_CYCLES", 4096)
    pause = Counter(allowed=3)
    with pytest.raises(GivenUpError):
        verify(counting(None, 1), 1 << 60, pause)
    assert pause.calls == 4


def test_an_endless_script_meets_its_limit_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "SLICE_CYCLES", 4096)
    with pytest.raises(TransactionScriptError) as raised:
        ScriptVerifier(make_consensus(), Chain(), pause=Counter()).verify(counting(None, 1), Env(10), 100_000)
    assert isinstance(raised.value.cause, ExceededMaximumCycles)
    assert raised.value.cause.limit == 100_000
