"""Worker processes for the pool's short transactions: each always has the next ones at hand, and none waits for the
event loop between two.

A thread of its own talks to them, so that the loop is woken once for several verdicts. Processes start when there is
enough to do and end when there is nothing for a while; without them the pool's threads run short scripts.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Final

import structlog

from ckb_node.verification.messages import Done, Ending, Setup
from ckb_node.verification.script_log import log_run
from ckb_node.verification.stopping import POLL_S, Gate, ScriptsStopped, Stop
from ckb_node.verification.transfer import unpack_error
from ckb_node.verification.watch import StartPauses
from ckb_node.verification.worker_handle import (
    MAX_RESIDENT_BYTES,
    RETIRE_BYTES,
    Pollable,
    Work,
    WorkerDiedError,
    WorkerHandle,
    readable,
)
from consensus.context import ChainReader
from consensus.types.core import ResolvedTransaction

log = structlog.get_logger("scripts")

DEPTH: Final = 4
"""Transactions that a process has at hand. What comes later waits for these, so they are few."""
AHEAD: Final = 3
"""Transactions for each process that wait here: it gets them as soon as it tells of others, without the event loop."""
SLOW_S: Final = 0.02
"""A process gets no more while its oldest one takes longer."""
IDLE_S: Final = 60.0
"""Processes without work for so long end."""

Verdict = int | Exception | None
"""Cycles, the error, or None when it takes long."""


@dataclass(eq=False, slots=True)
class ShortRun:
    """A transaction to run. `before` are rules that come first, in the thread: its verdict if it is known then, else
    None; `passed` notes the cycles."""

    reader: ChainReader
    rtx: ResolvedTransaction
    epoch: int
    max_cycles: int
    stop: Stop
    before: Callable[[], int | None]
    passed: Callable[[int], None]
    answer: asyncio.Future[int | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Wake:
    """Ends a poll."""

    has_unsent = False

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        return self._read

    def send_on(self) -> None:
        """Nothing is ever to be sent."""

    def set(self) -> None:
        with suppress(BlockingIOError):  # full: it is set
            os.write(self._write, b"\0")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@dataclass(eq=False)
class _Worker:
    """A process with the runs that it has by number, oldest first. `since`: when the oldest became that."""

    handle: WorkerHandle
    runs: dict[int, ShortRun] = field(default_factory=dict)
    since: float = 0.0

    def room(self, now: float) -> int:
        if not self.handle.is_ready or self.handle.has_unsent or (self.runs and now - self.since > SLOW_S):
            return 0
        return DEPTH - len(self.runs)


class ShortRuns:
    """So many processes. `run`, `want` and `is_ready` belong to the event loop; all else to the thread."""

    def __init__(self, setup: Setup, processes: int, seconds: float, gate: Gate, stop: Stop) -> None:
        """Each run may take so many seconds of work; while the gate is shut all wait."""
        self._setup, self._count, self._seconds, self._gate, self._stop = setup, processes, seconds, gate, stop
        self._given: Final[deque[ShortRun]] = deque()
        self._waiting: Final[deque[ShortRun]] = deque()
        self._workers: list[_Worker] = []
        self._pauses = StartPauses()
        self._verdicts: list[tuple[ShortRun, Verdict]] = []
        self._wake = _Wake()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closing = False
        self._looked = self._worked = 0.0
        self._numbers = count()
        self._lock = threading.Lock()
        self._is_hungry = False
        """The thread waits, and some process has room: else it looks at what was given when a process has told."""
        self.is_ready = False
        """There is a process that takes work."""
        gate.listen(self._on_gate)

    @property
    def depth(self) -> int:
        """Runs that are of use at a time."""
        return self._count * (DEPTH + AHEAD)

    @property
    def process_count(self) -> int:
        return len(self._workers)

    def want(self) -> None:
        """There is much to do: start, if nothing runs yet."""
        if self._is_closing or (self._thread is not None and self._thread.is_alive()):
            return
        self._loop = asyncio.get_running_loop()
        self._worked = time.monotonic()
        self._thread = threading.Thread(target=self._serve, name="short-scripts", daemon=True)
        self._thread.start()

    async def run(self, run: ShortRun) -> int | None:
        """Cycles; None when it takes long. Raises what `before` raises, ScriptError, ScriptsStopped; WorkerDiedError
        when the processes cannot tell."""
        with self._lock:
            if not self.is_ready:
                raise WorkerDiedError
            self._given.append(run)
            if self._is_hungry:
                self._is_hungry = False
                self._wake.set()
        return await run.answer

    # ------------------------------------------------------------ the thread

    def _serve(self) -> None:
        try:
            while not self._is_closing and time.monotonic() - self._worked < IDLE_S:
                self._go_round()
        except Exception:
            log.exception("short scripts run in the node's own threads for a while")
        finally:
            self._give_up()

    def _give_up(self) -> None:
        """What is not decided yet takes the other way."""
        with self._lock:
            self.is_ready = False
            left = [*self._waiting, *self._given]
            self._waiting.clear()
            self._given.clear()
        while self._workers:
            worker = self._workers.pop()
            left += worker.runs.values()
            worker.handle.close()
        verdict = ScriptsStopped() if self._stop.is_set else WorkerDiedError()
        self._verdicts += [(run, verdict) for run in left]
        self._tell()

    def _go_round(self) -> None:
        self._start()
        self._take_given()
        now = time.monotonic()
        for worker in list(self._workers):
            self._fill(worker, now)
        self._tell()
        with self._lock:
            self._is_hungry = any(worker.room(now) for worker in self._workers)
            if self._is_hungry and self._given:
                return
        self._wait()
        self._look_after()
        self._tell()

    def _take_given(self) -> None:
        with self._lock:
            self._is_hungry = False
            self._waiting.extend(self._given)
            self._given.clear()

    def _wait(self) -> None:
        """For messages of processes and for new runs."""
        polled: list[Pollable] = [self._wake, *(worker.handle for worker in self._workers)]
        is_idle = self.is_ready and not any(worker.runs for worker in self._workers)
        try:
            found = readable(polled, 10 * POLL_S if is_idle else POLL_S)
        except WorkerDiedError:
            for worker in [each for each in self._workers if each.handle.has_unsent]:
                self._lose(worker)
            return
        if self._wake in found:
            self._wake.clear()
        for worker in [each for each in self._workers if each.handle in found]:
            self._receive(worker)

    def _start(self) -> None:
        """Have all processes, as far as the system has room."""
        if len(self._workers) < self._count and self._pauses.is_over:
            try:
                self._workers.append(_Worker(WorkerHandle(self._setup)))
            except WorkerDiedError:
                self._pauses.failed()
        self.is_ready = any(worker.handle.is_ready for worker in self._workers)

    def _fill(self, worker: _Worker, now: float) -> None:
        """Give a process as much as it has room for; the event loop hears of the rest."""
        runs: list[ShortRun] = []
        room = worker.room(now)
        while self._waiting and len(runs) < room:
            run = self._waiting.popleft()
            if self._is_wanted(run):
                runs.append(run)
        if not runs:
            return
        self._worked = now
        if not worker.runs:
            worker.since = now
        numbered = [(next(self._numbers), run) for run in runs]
        worker.runs.update(numbered)
        try:
            for _, together in groupby(numbered, key=lambda each: id(each[1].reader)):
                self._assign(worker, list(together))
        except WorkerDiedError:
            self._lose(worker)

    def _assign(self, worker: _Worker, runs: Sequence[tuple[int, ShortRun]]) -> None:
        """What their scripts ask is answered from the state of the chain that all of them were checked at."""
        work = [Work(number, run.rtx, run.epoch, run.max_cycles, self._seconds) for number, run in runs]
        worker.handle.assign(work, runs[0][1].reader)

    def _is_wanted(self, run: ShortRun) -> bool:
        """Rules and cache do not decide it."""
        verdict: Verdict
        try:
            run.stop.check()
            verdict = run.before()
        except Exception as error:  # noqa: BLE001 - its caller gets it
            verdict = error
        if verdict is None:
            return True
        self._verdicts.append((run, verdict))
        return False

    def _receive(self, worker: _Worker) -> None:
        try:
            finished = worker.handle.receive()
        except WorkerDiedError:
            self._lose(worker)
            return
        for work, done in finished:
            run = worker.runs.pop(work.index)
            self._verdicts.append((run, _verdict_of(run, done)))
        if finished:
            worker.since = time.monotonic()

    def _lose(self, worker: _Worker) -> None:
        """A process is gone. The one that it was at may be to blame, and takes the other way; the others come first."""
        if worker.handle.is_ready:
            self._pauses.worked()
        else:
            self._pauses.failed()
        worker.handle.close()
        self._workers.remove(worker)
        first, *others = worker.runs.values() or (None,)
        if first is not None:
            self._verdicts.append((first, None))
        self._waiting.extendleft(reversed(others))
        worker.runs.clear()

    def _look_after(self) -> None:
        """Now and then: cancel when the node stops, replace what hangs or holds too much."""
        now = time.monotonic()
        if now - self._looked < POLL_S:
            return
        self._looked = now
        if self._stop.is_set:
            self._cancel()
        for worker in list(self._workers):
            worker.handle.control.is_paused = not self._gate.is_open
            try:
                worker.handle.check_progress()
                held = worker.handle.resident_bytes()
                is_too_large = held > MAX_RESIDENT_BYTES or (held > RETIRE_BYTES and not worker.runs)
                if is_too_large or worker.handle.is_stuck or worker.handle.process.poll() is not None:
                    self._lose(worker)
            except WorkerDiedError:
                self._lose(worker)

    def _cancel(self) -> None:
        for worker in self._workers:
            self._waiting.extend(worker.runs.values())
            worker.runs.clear()
            worker.handle.forget_work()
        self._verdicts += [(run, ScriptsStopped()) for run in self._waiting]
        self._waiting.clear()

    def _tell(self) -> None:
        """The event loop hears of all verdicts at once."""
        if self._verdicts and self._loop is not None:
            verdicts, self._verdicts = self._verdicts, []
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                self._loop.call_soon_threadsafe(_answer, verdicts)

    # ------------------------------------------------------------ from other threads

    def _on_gate(self, is_open: bool) -> None:
        for worker in self._workers:
            worker.handle.control.is_paused = not is_open

    def close(self) -> None:
        """End the thread and its processes."""
        self._is_closing = True
        if self._thread is not None:
            self._wake.set()
            self._thread.join()
        self._wake.close()


def _verdict_of(run: ShortRun, done: Done) -> Verdict:
    if done.ending not in (Ending.PASSED, Ending.FAILED):
        return None if done.ending is Ending.OUT_OF_TIME else WorkerDiedError()
    error = None if done.error is None else unpack_error(done.error)
    log_run(run.rtx.hash, done.prints, done.left_out, error)
    if done.ending is Ending.FAILED:
        return error
    run.passed(done.cycles)
    return done.cycles


def _answer(verdicts: Iterable[tuple[ShortRun, Verdict]]) -> None:
    for run, verdict in verdicts:
        if run.answer.done():  # its task was cancelled
            continue
        if isinstance(verdict, Exception):
            run.answer.set_exception(verdict)
        else:
            run.answer.set_result(verdict)
