"""A worker process for transactions of the pool that take long, one at a time."""

from __future__ import annotations

import time
from threading import Lock
from typing import Final

import structlog

from ckb_node.verification.messages import Done, Ending, Setup
from ckb_node.verification.script_log import log_run
from ckb_node.verification.stopping import POLL_S, BudgetExceeded, Gate, ScriptsStopped, Stop, TimeExceeded
from ckb_node.verification.transfer import unpack_error
from ckb_node.verification.watch import StartPauses
from ckb_node.verification.worker_handle import (
    MAX_RESIDENT_BYTES,
    RETIRE_BYTES,
    Work,
    WorkerDiedError,
    WorkerHandle,
    readable,
)
from consensus.script.context import ScriptChain

log = structlog.get_logger("scripts")

ATTEMPTS = 2
GRACE_S = 5.0
"""Seconds beyond the limit after which a worker counts as hanging and is killed."""
IDLE_S = 60.0
"""A worker without work for so long ends: it holds some 45 MB."""


class LongRuns:
    """Owns the worker, which is started when there is work, stands still while the gate is shut, and ends by
    `end_if_idle`. Any thread may use it."""

    def __init__(self, setup: Setup, gate: Gate) -> None:
        self._setup, self._lock = setup, Lock()
        self.gate: Final = gate
        self._process: WorkerHandle | None = None
        self._pauses = StartPauses()
        self._worked = 0.0

    @property
    def is_started(self) -> bool:
        """There is a process, at work or not."""
        return self._process is not None

    def run(self, work: Work, chain: ScriptChain, stop: Stop) -> int:
        """Cycles of a transaction. Raises ScriptError, BudgetExceeded, ScriptsStopped; WorkerDiedError when each worker
        dies that runs it."""
        while not self._lock.acquire(timeout=POLL_S):
            stop.check()
        try:
            return self._run(work, chain, stop, ATTEMPTS)
        finally:
            self._worked = time.monotonic()
            self._lock.release()

    def end_if_idle(self, now: float) -> None:
        """End the worker if it has rested for IDLE_S at this time (seconds, monotonic). May take KILLED_S."""
        if self._process is None or now - self._worked < IDLE_S or not self._lock.acquire(blocking=False):
            return
        try:
            if now - self._worked >= IDLE_S:
                self.close()
        finally:
            self._lock.release()

    def _run(self, work: Work, chain: ScriptChain, stop: Stop, attempts: int) -> int:
        process = self._usable()
        try:
            done = _follow(process, work, chain, stop, self.gate)
        except WorkerDiedError:
            self.close()
            if not process.is_ready:
                self._pauses.failed()
            if attempts == 1:
                log.warning("a script process died twice over one transaction", transaction=f"0x{work.rtx.hash.hex()}")
                raise
            return self._run(work, chain, stop, attempts - 1)
        except BudgetExceeded:
            self.close()
            raise
        finally:
            process.forget_work()
        self._pauses.worked()
        return _cycles_of(work, done)

    def _usable(self) -> WorkerHandle:
        process = self._process
        if process is not None and (process.process.poll() is not None or process.resident_bytes() > RETIRE_BYTES):
            process.close()
            process = None
        if process is None:
            if not self._pauses.is_over:
                raise WorkerDiedError
            process = self._process = WorkerHandle(self._setup)
        return process

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()


def _follow(process: WorkerHandle, work: Work, chain: ScriptChain, stop: Stop, gate: Gate) -> Done:
    """Send the work and wait for its end, within the limits of time and memory."""
    is_given, worked_s, looked = False, 0.0, time.monotonic()
    while True:
        stop.check()
        if process.has_room and not is_given:
            process.assign([work], chain)
            is_given = True
        process.control.is_paused = not gate.is_open
        if readable([process], POLL_S):
            for _, done in process.receive():
                return done
        process.check_progress()
        now = time.monotonic()
        if gate.is_open:
            worked_s += now - looked
        looked = now
        _check_limits(process, work, worked_s)


def _check_limits(process: WorkerHandle, work: Work, worked_s: float) -> None:
    if process.is_stuck:
        raise WorkerDiedError
    if process.resident_bytes() > MAX_RESIDENT_BYTES:
        raise BudgetExceeded("bytes of memory", str(MAX_RESIDENT_BYTES))
    # The worker measures its own processor time, which on a busy machine is much less than the time of the clock.
    if work.seconds is not None and worked_s > 4 * work.seconds + GRACE_S:
        raise TimeExceeded(work.seconds)


def _cycles_of(work: Work, done: Done) -> int:
    error = None if done.error is None else unpack_error(done.error)
    log_run(work.rtx.hash, done.prints, done.left_out, error)
    match done.ending:
        case Ending.PASSED:
            return done.cycles
        case Ending.STOPPED:
            raise ScriptsStopped
        case Ending.OUT_OF_TIME:
            raise TimeExceeded(work.seconds or 0)
        case Ending.BROKEN:
            raise WorkerDiedError
        case Ending.FAILED:
            raise WorkerDiedError if error is None else error
