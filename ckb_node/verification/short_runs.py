"""Worker processes for the pool's short transactions: each always has the next ones at hand.

The event loop talks to them itself: a thread in between would wait for the interpreter lock at each of its system
calls. Processes start when there is enough to do and end when there is nothing for a while; without them the pool's
threads run short scripts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Final

import structlog

from ckb_node.verification.messages import Answer, Ask, Done, Ending, Setup
from ckb_node.verification.script_log import log_run
from ckb_node.verification.stopping import POLL_S, Gate, ScriptsStopped, Stop
from ckb_node.verification.transfer import unpack_error
from ckb_node.verification.watch import StartPauses
from ckb_node.verification.worker_handle import MAX_RESIDENT_BYTES, RETIRE_BYTES, Work, WorkerDiedError, WorkerHandle
from consensus.context import ChainReader
from consensus.types.core import ResolvedTransaction

log = structlog.get_logger("scripts")

DEPTH: Final = 6
"""Transactions that a process has at hand: it must not wait for the event loop. What comes later waits for these, so
they are few."""
AHEAD: Final = 3
"""Transactions for each process that wait here: it gets them as soon as it tells of others."""
SLOW_S: Final = 0.02
"""A process gets no more while its oldest one takes longer."""
IDLE_S: Final = 60.0
"""Processes without work for so long end."""
SIZES_EVERY: Final = 5
"""Looks at the processes' memory are rarer than others."""

Verdict = int | Exception | None
"""Cycles, the error, or None when it takes long."""


@dataclass(eq=False, slots=True)
class ShortRun:
    """A transaction to run. `before` are rules that come first: its verdict if it is known then, else None; `passed`
    notes the cycles."""

    reader: ChainReader
    rtx: ResolvedTransaction
    epoch: int
    max_cycles: int
    stop: Stop
    before: Callable[[], int | None]
    passed: Callable[[int], None]
    answer: asyncio.Future[int | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, verdict: Verdict) -> None:
        """Tell its caller, unless he has left."""
        if self.answer.done():
            return
        if isinstance(verdict, Exception):
            self.answer.set_exception(verdict)
        else:
            self.answer.set_result(verdict)


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
    """So many processes. Belongs to the event loop; `close` may come after the loop's end."""

    def __init__(self, setup: Setup, processes: int, seconds: float, gate: Gate, stop: Stop) -> None:
        """Each run may take so many seconds of work; while the gate is shut all wait."""
        self._setup, self._count, self._seconds, self._gate, self._stop = setup, processes, seconds, gate, stop
        self._waiting: Final[deque[ShortRun]] = deque()
        self._workers: list[_Worker] = []
        self._pauses = StartPauses()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="short-scripts")
        """Reads what scripts ask for, and waits for the end of processes."""
        self._is_filling = self._is_closing = False
        self._worked = 0.0
        self._looks = count()
        self._numbers = count()
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
        if self._is_closing or (self._task is not None and not self._task.done()):
            return
        self._loop = asyncio.get_running_loop()
        self._worked = time.monotonic()
        self._start()
        self._task = self._loop.create_task(self._look_after(), name="short scripts")

    async def run(self, run: ShortRun) -> int | None:
        """Cycles; None when it takes long. Raises what `before` raises, ScriptError, ScriptsStopped; WorkerDiedError
        when the processes cannot tell."""
        if not self.is_ready:
            raise WorkerDiedError
        run.stop.check()
        known = run.before()
        if known is not None:
            return known
        self._waiting.append(run)
        self._fill_soon()
        return await run.answer

    # ------------------------------------------------------------ giving

    def _fill_soon(self) -> None:
        """What comes in the same round of the loop is given together."""
        if not self._is_filling and self._loop is not None:
            self._is_filling = True
            self._loop.call_soon(self._fill)

    def _fill(self) -> None:
        self._is_filling = False
        now = time.monotonic()
        for worker in list(self._workers):
            self._fill_one(worker, now)

    def _fill_one(self, worker: _Worker, now: float) -> None:
        """Give a process as much as it has room for."""
        runs = self._next_runs(worker.room(now)) if self._waiting else []
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
        except Exception as error:  # noqa: BLE001 - a cell cannot be read: the other way tells whose
            log.error("short scripts cannot be given to a process", reason=str(error))  # noqa: TRY400
            for number, run in numbered:
                if worker.runs.pop(number, None) is not None:
                    run.end(WorkerDiedError())
        else:
            self._send_when_it_takes_more(worker)

    def _next_runs(self, room: int) -> list[ShortRun]:
        """Those that are still wanted."""
        runs: list[ShortRun] = []
        while self._waiting and len(runs) < room:
            run = self._waiting.popleft()
            if run.stop.is_set:
                run.end(ScriptsStopped())
            elif not run.answer.done():
                runs.append(run)
        return runs

    def _assign(self, worker: _Worker, runs: Sequence[tuple[int, ShortRun]]) -> None:
        """What their scripts ask is answered from the state of the chain that all of them were checked at."""
        work = [Work(number, run.rtx, run.epoch, run.max_cycles, self._seconds) for number, run in runs]
        worker.handle.assign(work, runs[0][1].reader)

    def _send_when_it_takes_more(self, worker: _Worker) -> None:
        """What its socket has no room for."""
        if worker.handle.has_unsent and self._loop is not None:
            self._loop.add_writer(worker.handle.fileno(), self._send_on, worker)

    def _send_on(self, worker: _Worker) -> None:
        try:
            worker.handle.send_on()
        except WorkerDiedError:
            self._lose(worker)
            return
        if not worker.handle.has_unsent and self._loop is not None:
            self._loop.remove_writer(worker.handle.fileno())
            self._fill_soon()

    # ------------------------------------------------------------ what processes tell

    def _receive(self, worker: _Worker) -> None:
        try:
            finished, asks = worker.handle.read()
        except WorkerDiedError:
            self._lose(worker)
            return
        self.is_ready = self.is_ready or worker.handle.is_ready
        for work, done in finished:
            run = worker.runs.pop(work.index, None)
            if run is not None:
                run.end(_verdict_of(run, done))
        now = time.monotonic()
        if finished:
            worker.since = now
        for ask in asks:
            self._answer_later(worker, ask)
        self._fill_one(worker, now)

    def _answer_later(self, worker: _Worker, ask: Ask) -> None:
        """What a script asks is read beside the loop: it may be a block."""
        assert self._loop is not None  # noqa: S101 - there are processes
        reading = self._loop.run_in_executor(self._threads, worker.handle.answer, ask)
        reading.add_done_callback(lambda done: self._answer(worker, done))

    def _answer(self, worker: _Worker, read: asyncio.Future[Answer]) -> None:
        if worker not in self._workers or read.cancelled():
            return
        try:
            worker.handle.send(read.result())
        except Exception as error:  # noqa: BLE001 - the chain cannot be read: who waits for it tells
            log.error("what a script asks for cannot be read", reason=str(error))  # noqa: TRY400
            self._lose(worker)
        else:
            self._send_when_it_takes_more(worker)

    def _lose(self, worker: _Worker) -> None:
        """A process is gone. The one that it was at may be to blame, and takes the other way; the others come first."""
        if worker.handle.is_ready:
            self._pauses.worked()
        else:
            self._pauses.failed()
        self._drop(worker)
        first, *others = worker.runs.values() or (None,)
        if first is not None:
            first.end(None)
        self._waiting.extendleft(reversed(others))
        worker.runs.clear()
        self._fill_soon()

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self.is_ready = any(each.handle.is_ready for each in self._workers)
        self._forget(worker)
        self._threads.submit(worker.handle.close)

    def _forget(self, worker: _Worker) -> None:
        with suppress(RuntimeError, ValueError, OSError):  # the loop is closed, or the socket
            if self._loop is not None:
                self._loop.remove_reader(worker.handle.fileno())
                self._loop.remove_writer(worker.handle.fileno())

    # ------------------------------------------------------------ looking after them

    def _start(self) -> None:
        """Have all processes, as far as the system has room."""
        assert self._loop is not None  # noqa: S101 - of `want`
        while len(self._workers) < self._count and self._pauses.is_over:
            try:
                worker = _Worker(WorkerHandle(self._setup))
            except WorkerDiedError:
                self._pauses.failed()
                return
            self._workers.append(worker)
            self._loop.add_reader(worker.handle.fileno(), self._receive, worker)

    async def _look_after(self) -> None:
        """Cancel when the node stops, replace what hangs or holds too much; end when there is nothing to do."""
        try:
            while time.monotonic() - self._worked < IDLE_S:
                is_idle = self.is_ready and not self._waiting and not any(worker.runs for worker in self._workers)
                await asyncio.sleep(10 * POLL_S if is_idle else POLL_S)
                self._look()
        except Exception:
            log.exception("short scripts run in the node's own threads for a while")
        finally:
            self._give_up()

    def _look(self) -> None:
        if self._stop.is_set:
            self._cancel()
        looks_at_sizes = next(self._looks) % SIZES_EVERY == 0
        for worker in list(self._workers):
            worker.handle.control.is_paused = not self._gate.is_open
            try:
                worker.handle.check_progress()
            except WorkerDiedError:
                self._lose(worker)
                continue
            if worker.handle.is_stuck or (looks_at_sizes and _is_too_large(worker)):
                self._lose(worker)
        self._start()
        if self._waiting:
            self._fill_soon()

    def _cancel(self) -> None:
        for worker in self._workers:
            self._waiting.extend(worker.runs.values())
            worker.runs.clear()
            worker.handle.forget_work()
        while self._waiting:
            self._waiting.popleft().end(ScriptsStopped())

    def _give_up(self) -> None:
        """What is not decided yet takes the other way."""
        left = list(self._waiting)
        self._waiting.clear()
        for worker in list(self._workers):
            left += worker.runs.values()
            self._drop(worker)
        for run in left:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                run.end(ScriptsStopped() if self._stop.is_set else WorkerDiedError())

    # ------------------------------------------------------------ from other threads

    def _on_gate(self, is_open: bool) -> None:
        for worker in list(self._workers):
            worker.handle.control.is_paused = not is_open

    def close(self) -> None:
        """End all processes, and return when they are gone."""
        self._is_closing = True
        if self._task is not None:
            with suppress(RuntimeError):  # the loop is closed, and the task with it
                self._task.cancel()
        self._give_up()
        self._threads.shutdown()


def _is_too_large(worker: _Worker) -> bool:
    held = worker.handle.resident_bytes()
    is_gone = worker.handle.process.poll() is not None
    return is_gone or held > MAX_RESIDENT_BYTES or (held > RETIRE_BYTES and not worker.runs)


def _verdict_of(run: ShortRun, done: Done) -> Verdict:
    """What goes wrong here is its caller's, who waits for an answer."""
    try:
        return _read_verdict(run, done)
    except Exception as error:  # noqa: BLE001
        return error


def _read_verdict(run: ShortRun, done: Done) -> Verdict:
    if done.ending not in (Ending.PASSED, Ending.FAILED):
        return None if done.ending is Ending.OUT_OF_TIME else WorkerDiedError()
    error = None if done.error is None else unpack_error(done.error)
    log_run(run.rtx.hash, done.prints, done.left_out, error)
    if done.ending is Ending.FAILED:
        return error
    run.passed(done.cycles)
    return done.cycles
