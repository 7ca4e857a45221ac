"""The scripts of blocks' transactions, run by several processes; the verdict is that of running them in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from ckb_node.verification.messages import Done, Ending, Setup
from ckb_node.verification.stopping import POLL_S, Stop
from ckb_node.verification.watch import StartPauses
from ckb_node.verification.worker_handle import (
    MAX_RESIDENT_BYTES,
    RETIRE_BYTES,
    START_S,
    Work,
    WorkerDiedError,
    WorkerHandle,
    readable,
)
from consensus.script.context import ScriptChain

log = structlog.get_logger("scripts")

BATCH = 8
"""Transactions that are sent to a worker at once."""
WORTH_STARTING = 32
"""Transactions in a block for which workers are started; once workers are ready, two transactions are enough."""
MAX_DEATHS = 3
"""Workers that may die over one block; after that the rest of it runs in this thread."""

Plain = Callable[[Work], int | None]
"""Runs a transaction's scripts in this thread: cycles, or None when they fail."""


class _MemoryExceededError(Exception):
    """A process holds more than MAX_RESIDENT_BYTES."""


class BlockWorkerPool:
    """Worker processes for blocks, one a core, started when a block is large enough. One thread at a time may use it;
    any thread may `close` it.

    Memory is no rule of consensus. When a worker takes too much, one worker runs the rest of the current blocks, a
    transaction at a time and without a limit of memory: there must be a verdict, but only one transaction may be large.
    """

    def __init__(self, setup: Setup, count: int) -> None:
        self._setup, self._count = setup, count
        self._processes: list[WorkerHandle] = []
        self._pauses = StartPauses()
        self._next_memory_check = 0.0

    def __len__(self) -> int:
        """Processes that were started, ready or not."""
        return len(self._processes)

    def is_worth_it(self, transactions: int) -> bool:
        """Whether to run so many transactions' scripts here."""
        return transactions >= (2 if self._has_ready() else WORTH_STARTING)

    def _has_ready(self) -> bool:
        for process in [each for each in self._processes if not each.is_ready]:
            try:
                process.poll_ready()
            except WorkerDiedError:
                self._end(process)
        return any(each.is_ready for each in self._processes)

    def run(self, work: Sequence[Work], chain: ScriptChain, plain: Plain, limit: int, stop: Stop) -> list[int]:
        """Cycles of the longest beginning of `work` in which all pass and no block takes more than `limit` cycles.

        While no worker is ready this thread runs scripts itself, so a worker that dies costs time only. Raises
        ScriptsStopped.
        """
        self._refresh()
        progress = _Progress(work, limit)
        deaths, is_alone = 0, False
        try:
            while not progress.is_decided:
                stop.check()
                ready = [process for process in self._processes if process.is_ready]
                try:
                    for process in ready:
                        _assign(process, progress, chain, is_alone=is_alone)
                    waits = bool(ready) or (is_alone and any(not each.is_stuck for each in self._processes))
                    if not waits:
                        progress.put_plain(plain)
                    self._receive(progress, POLL_S if waits else 0)
                    for process in ready:
                        process.check_progress()
                    if not is_alone:
                        self._check_memory()
                except WorkerDiedError:
                    deaths += 1
                    self._replace(progress, 0 if deaths >= MAX_DEATHS else 1 if is_alone else self._count)
                except _MemoryExceededError:
                    is_alone = True
                    self._replace(progress, 1)
        finally:
            for process in self._processes:
                process.forget_work()
        return progress.cycles

    def _receive(self, progress: _Progress, wait_s: float) -> None:
        if not self._processes:
            return
        for process in readable(self._processes, wait_s):
            try:
                finished = process.receive()
            except WorkerDiedError:
                if process.is_ready:
                    raise
                self._end(process)
                continue
            for work, done in finished:
                progress.put(work, done)

    def _check_memory(self) -> None:
        """Raises _MemoryExceededError."""
        now = time.monotonic()
        if now < self._next_memory_check:
            return
        self._next_memory_check = now + POLL_S
        if any(process.resident_bytes() > MAX_RESIDENT_BYTES for process in self._processes):
            raise _MemoryExceededError

    def _replace(self, progress: _Progress, count: int) -> None:
        """Replace all workers by `count` new ones: which one died is not known."""
        self.close()
        progress.take_back()
        self._start(count)

    def await_ready(self, stop: Stop) -> None:
        """Start the processes and return when one is ready, or when that takes too long. Raises ScriptsStopped."""
        self._refresh()
        deadline = time.monotonic() + START_S
        while not self._has_ready() and self._processes and time.monotonic() < deadline:
            stop.check()
            with suppress(WorkerDiedError):  # `_has_ready` finds it
                readable(self._processes, POLL_S)

    def _refresh(self) -> None:
        for process in [each for each in self._processes if each.process.poll() is not None or each.is_stuck]:
            self._end(process)
        for process in [each for each in self._processes if each.resident_bytes() > RETIRE_BYTES]:
            process.close()
            self._processes.remove(process)
        self._start(self._count)

    def _start(self, count: int) -> None:
        if any(process.is_ready for process in self._processes):
            self._pauses.worked()
        if not self._pauses.is_over:
            return
        with suppress(WorkerDiedError):  # the system has no room for one more: go on with fewer, or with this thread
            while len(self._processes) < count:
                self._processes.append(WorkerHandle(self._setup))

    def _end(self, process: WorkerHandle) -> None:
        """Close a worker that is dead or stuck. If it was never ready, the next one starts after a pause."""
        process.close()
        self._processes.remove(process)
        if not process.is_ready:
            pause = self._pauses.failed()
            log.warning(
                "a script process ended before it was of use", code=process.process.returncode, again_in_s=pause
            )

    def close(self) -> None:
        while self._processes:
            self._processes.pop().close()


def _assign(process: WorkerHandle, progress: _Progress, chain: ScriptChain, *, is_alone: bool) -> None:
    """Send a worker as much as it has room for; when it works alone, one transaction once it is idle."""
    if is_alone:
        if not process.is_at_work and (batch := progress.take(1)):
            process.assign(batch, chain)
        return
    while process.has_room and (batch := progress.take(BATCH)):
        process.assign(batch, chain)


class _Progress:
    """Results of the transactions so far."""

    def __init__(self, work: Sequence[Work], limit: int) -> None:
        self._work, self._limit = work, limit
        self._todo = deque(range(len(work)))
        self._results: list[int | None] = [None] * len(work)
        self._first_bad = len(work)
        self.cycles: list[int] = []
        self._block, self._used = -1, 0

    @property
    def is_decided(self) -> bool:
        """The results of all transactions before the first that fails are known."""
        while len(self.cycles) < self._first_bad:
            known = self._results[len(self.cycles)]
            if known is None:
                return False
            block = self._work[len(self.cycles)].block
            self._block, self._used = block, known + (self._used if block == self._block else 0)
            if self._used > self._limit:
                self._first_bad = len(self.cycles)
                return True
            self.cycles.append(known)
        return True

    def take(self, count: int) -> list[Work]:
        """The next transactions to run; none after one that failed."""
        taken: list[Work] = []
        while self._todo and len(taken) < count and self._todo[0] < self._first_bad:
            taken.append(self._work[self._todo.popleft()])
        return taken

    def take_back(self) -> None:
        """Workers are gone: what has no result is to be done again."""
        self._todo = deque(i for i in range(self._first_bad) if self._results[i] is None)

    def put(self, work: Work, done: Done) -> None:
        """Note the end of a run. One without a verdict counts as failed: the caller runs it again, in order."""
        if done.ending is Ending.PASSED:
            self._results[work.index] = done.cycles
        else:
            self._first_bad = min(self._first_bad, work.index)

    def put_plain(self, plain: Plain) -> None:
        """Run the next one in this thread."""
        for work in self.take(1):
            cycles = plain(work)
            if cycles is None:
                self._first_bad = min(self._first_bad, work.index)
            else:
                self._results[work.index] = cycles
