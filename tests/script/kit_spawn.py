"""Runs programs that spawn others; what the tests of processes, pipes, cycles and swapped pages share."""

from __future__ import annotations

from consensus.errors import CkbError
from consensus.script.verifier import ScriptVerifier
from tests.support.builders.scripts import Chain, Env, make_cell, make_consensus, make_transaction, resolve, script_for
from tests.support.vm.script_programs import Program
from tests.support.vm.spawn_programs import FDS, TMP, WRITE, Child

CURRENT_CYCLES, EXEC, MAP_CODE = 2042, 2043, 2091
WAIT_FAILURE, INVALID_FD, OTHER_END_CLOSED, MAX_VMS_SPAWNED, MAX_FDS_CREATED = 5, 6, 7, 8, 9
NO_LIMIT = (1 << 64) - 1
GROUP = 1 << 56


def run(*programs: Program | bytes, limit: int = NO_LIMIT, version: int = 2) -> int | str:
    """Cycles, or the text of the error. The first program is the lock; program n is cell dep n."""
    codes = [program if isinstance(program, bytes) else program.elf() for program in programs]
    lock = script_for(codes[0], version)
    rtx = resolve(make_transaction(), [make_cell(lock=lock)], [make_cell(code) for code in codes])
    try:
        return ScriptVerifier(make_consensus(), Chain()).verify(rtx, Env(10), limit)
    except CkbError as error:
        return str(error)


def assert_passes(*programs: Program | bytes) -> int:
    result = run(*programs)
    assert isinstance(result, int), result
    return result


def writer_of(size: int, *, then_exit: int = 0) -> Child:
    """Writes `size` bytes of its data to what it inherited."""
    program = Child(data=bytes(0x800) + bytes(range(256)))
    program.inherit(1)
    program.transfer(WRITE, FDS, size, code=1)
    program.expect_memory(TMP, size, 2)
    program.exit(then_exit)
    return program
