"""Scripts of every temper, blocks of them, and services that run them."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from ckb_node.verification.service import ParallelScriptService
from consensus.crypto.hashing import ZERO_HASH
from consensus.params import Consensus
from consensus.rules.verify_block import PreparedBlock
from consensus.tx_env import Phase, TxEnv
from consensus.types.core import EpochFraction, ResolvedTransaction
from tests.support.builders.scripts import make_cell, make_consensus, make_transaction, resolve, script_for
from tests.support.vm.compiled import with_interpreters
from tests.support.vm.script_programs import T0, T1, Program
from vm import Engines

LIMIT = 1 << 40
ENV = TxEnv(1, EpochFraction(10, 0, 1), ZERO_HASH, Phase.COMMITTED)
_NUMBERS = count()


def exiting(code: int) -> bytes:
    program = Program()
    program.exit(code)
    return program.elf()


def looping(rounds: int) -> bytes:
    """Four cycles a round, then success."""
    program = Program()
    program.load_immediate(T0, 0)
    program.load_immediate(T1, rounds)
    program.label("again")
    program.addi(T0, T0, 1)
    program.branch_less(T0, T1, "again")
    program.exit(0)
    return program.elf()


def endless() -> bytes:
    program = Program()
    program.label("again")
    program.jump("again")
    return program.elf()


def calling_for_ever(number: int, *args: int) -> bytes:
    """Nothing but one system call, again and again: little cycles, much work."""
    program = Program(data=b"\0" * 64)
    program.label("again")
    program.syscall(number, *args)
    program.jump("again")
    return program.elf()


def a_transaction(code: bytes, version: int = 1, size: int = 8) -> ResolvedTransaction:
    """Its lock is the program, its witness has `size` bytes; no two are equal."""
    tx = make_transaction(witnesses=[next(_NUMBERS).to_bytes(size, "little")])
    return resolve(tx, [make_cell(lock=script_for(code, version))], [make_cell(code)])


def a_block(consensus: Consensus, transactions: Sequence[ResolvedTransaction]) -> PreparedBlock:
    """With everything found right but the scripts."""
    cellbase = resolve(make_transaction())
    none = [0] * len(transactions)
    return PreparedBlock(
        resolved=[cellbase, *transactions],
        fees=none,
        env=ENV,
        epoch=consensus.genesis_epoch,
        sizes=none,
        witness_hashes=[each.transaction.witness_hash for each in transactions],
    )


def consensus_with(max_block_cycles: int = LIMIT) -> Consensus:
    return replace(make_consensus(), max_block_cycles=max_block_cycles)


@contextmanager
def parallel(directory: Path, consensus: Consensus | None = None) -> Iterator[ParallelScriptService]:
    """A service with two processes for blocks, at work."""
    with (
        Engines(with_interpreters(directory)) as engines,
        closing(ParallelScriptService(consensus or consensus_with(), engines, directory, 2)) as service,
    ):
        yield service


def start_processes(service: ParallelScriptService) -> None:
    """Return when those for blocks are ready."""
    service.blocks._refresh()
    deadline = time.monotonic() + 30
    while not (service.blocks._has_ready() and all(each.is_ready for each in service.blocks._processes)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def no_room(*_: object, **__: object) -> None:
    """Instead of subprocess.Popen: the system starts nothing any more."""
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
