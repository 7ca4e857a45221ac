"""The node's end of a worker process, which runs scripts. One thread at a time may use it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from ckb_node.verification.messages import (
    DECODE_FROM_PROCESS,
    MAX_FROM_PROCESS,
    Answer,
    Ask,
    Done,
    Jobs,
    Ready,
    Setup,
    Subject,
    ToProcess,
    encode,
)
from ckb_node.verification.transfer import JobMaker
from ckb_node.verification.watch import Watch
from ckb_node.verification.worker_main import RECEIVE_SIZE, Control
from consensus.script.context import ScriptChain
from consensus.types.core import ResolvedTransaction
from network.framing import Frames, FrameTooLarge
from vm.child import start_child

log = structlog.get_logger("scripts")

MODULE = "ckb_node.verification.worker_main"
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
RETIRE_BYTES = 120 << 20
"""A worker that holds more than this between two jobs is replaced."""
MAX_RESIDENT_BYTES = 1 << 30
"""More than all the machines that one script may have at a time can take, see consensus.script.scheduler."""
ROOM_BYTES = 48 << 10
"""Of jobs that wait in a worker: some milliseconds of work."""
START_S = 30.0
KILLED_S = 2.0


class WorkerDiedError(Exception):
    """The worker is gone, or sent what is no message: its work has to be done elsewhere."""


class Work(NamedTuple):
    """A transaction whose scripts are to run; `index` is its owner's. `epoch`: see ScriptEnv.

    Transactions of one `block` share the limit of its cycles.
    """

    index: int  # type: ignore[assignment]  # the field, not the method of tuples
    rtx: ResolvedTransaction
    epoch: int
    max_cycles: int
    seconds: float | None = None
    block: int = 0


class _Assigned(NamedTuple):
    """Work that a worker has; `chain` answers what its scripts ask. `size` in bytes."""

    work: Work
    chain: ScriptChain
    size: int


class WorkerHandle:
    """Starts a process at once, which can take work when it `is_ready`."""

    def __init__(self, setup: Setup) -> None:
        """Raises WorkerDiedError, also when the system has no room for another process."""
        try:
            self._connection, self.control, self.process = _start()
        except OSError as error:
            raise WorkerDiedError from error
        self._frames = Frames(MAX_FROM_PROCESS)
        self._working: dict[int, _Assigned] = {}
        self._jobs = JobMaker()
        self._next_id = 1
        self._sent_bytes = 0
        self._unsent = bytearray()
        """What the socket had no room for: a worker does not read while a script runs, and a send must not block."""
        self._started = time.monotonic()
        self._watch = Watch(self.process.pid, lambda: self.control.beats)
        self.is_ready = False
        self.send(setup)

    def fileno(self) -> int:
        """For selectors."""
        return self._connection.fileno()

    @property
    def is_at_work(self) -> bool:
        """Not all that it was given is done."""
        return bool(self._working)

    @property
    def has_room(self) -> bool:
        """It is ready, all earlier work was sent, and little is left to do."""
        return self.is_ready and not self._unsent and (not self._working or self._sent_bytes < ROOM_BYTES)

    def assign(self, work: Sequence[Work], chain: ScriptChain) -> None:
        """Send more work, which is done in this order. Does not block. Raises WorkerDiedError."""
        first, jobs = self._next_id, []
        if not self._working:
            self._watch.begin()
        for each in work:
            jobs.append(self._jobs.make(self._next_id, each.rtx, each.epoch, each.max_cycles, each.seconds))
            self._next_id += 1
        share = self.send(Jobs(jobs)) // len(jobs)
        for job_id, each in enumerate(work, start=first):
            self._working[job_id] = _Assigned(each, chain, share)
            self._sent_bytes += share

    @property
    def has_unsent(self) -> bool:
        """`send_on` should be called when the socket has room."""
        return bool(self._unsent)

    def send_on(self) -> None:
        """Send as much of what waits as the socket takes now. Raises WorkerDiedError."""
        try:
            while self._unsent:
                del self._unsent[: self._connection.send(self._unsent, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            return
        except OSError as error:
            raise WorkerDiedError from error

    def receive(self) -> list[tuple[Work, Done]]:
        """Wait for messages of the worker, and answer what it asks; the work that has ended, cancelled work left out.
        WorkerDiedError."""
        finished, asks = self.read()
        for ask in asks:
            self.send(self.answer(ask))
        return finished

    def read(self) -> tuple[list[tuple[Work, Done]], list[Ask]]:
        """The same for who answers what it asks by `answer` and `send`."""
        try:
            data = self._connection.recv(RECEIVE_SIZE)
        except OSError as error:
            raise WorkerDiedError from error
        if not data:
            raise WorkerDiedError
        finished, asks = list[tuple[Work, Done]](), list[Ask]()
        try:
            messages = [DECODE_FROM_PROCESS(body) for body in self._frames.feed(data)]
        except (msgspec.DecodeError, FrameTooLarge) as error:
            raise WorkerDiedError from error
        for message in messages:
            match message:
                case Ready():
                    self.is_ready = True
                case Ask():
                    asks.append(message)
                case Done():
                    given = self._working.pop(message.job, None)
                    if given is not None:
                        self._sent_bytes -= given.size
                        finished.append((given.work, message))
        return finished, asks

    def poll_ready(self) -> None:
        """Find out whether it is ready by now. Raises WorkerDiedError."""
        if readable([self], 0):
            self.receive()

    def answer(self, ask: Ask) -> Answer:
        """From the chain that came with the work."""
        given = self._working.get(ask.job)
        if given is None:
            return Answer(None, is_wanted=False)
        work, chain = given.work, given.chain
        match ask.subject:
            case Subject.HEADER:
                header = chain.header(ask.key)
                return Answer(None if header is None else header.raw)
            case Subject.BLOCK:
                block = chain.block(ask.key)
                return Answer(None if block is None else block.raw)
            case Subject.CELL_DATA:
                cells = (*work.rtx.inputs, *work.rtx.cell_deps)
                return Answer(next((cell.data for cell in cells if cell.data_hash == ask.key), None))

    def send(self, message: ToProcess) -> int:
        """Send a message, or keep it until the socket has room; its size in bytes. Raises WorkerDiedError."""
        data = encode(message)
        self._unsent += data
        self.send_on()
        return len(data)

    def forget_work(self) -> None:
        """Cancel all work; the worker notices at its next pause."""
        self.control.first_wanted = self._next_id
        self.control.is_paused = False
        self._working.clear()
        self._sent_bytes = 0

    @property
    def is_stuck(self) -> bool:
        """It was started long ago and is not ready."""
        return not self.is_ready and time.monotonic() - self._started > START_S

    def check_progress(self) -> None:
        """Raises WorkerDiedError, and logs why, when there is work and no progress. Call it now and then."""
        fault = self._watch.fault() if self._working else None
        if fault is not None:
            log.warning("a script process does not answer and is replaced", pid=self.process.pid, reason=fault)
            raise WorkerDiedError

    def resident_bytes(self) -> int:
        """Memory that the process holds; 0 when it is gone."""
        try:
            fields = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()
        except OSError:
            return 0
        return int(fields[1]) * PAGE_SIZE if len(fields) > 1 else 0

    def close(self) -> None:
        """Kill it, and what it has started."""
        with contextlib.suppress(OSError):
            self._connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that hangs in a system call ends after that
            self.process.wait(KILLED_S)


def _start() -> tuple[socket.socket, Control, subprocess.Popen[bytes]]:
    """A process, its socket, and the memory that is shared with it. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            control = os.memfd_create("scripts")
            try:
                os.ftruncate(control, Control.SIZE)
                shared = Control(control)
                descriptors = theirs.fileno(), control
                process = start_child(MODULE, [str(each) for each in descriptors], pass_fds=descriptors, group=0)
                return ours, shared, process
            finally:
                os.close(control)
    except OSError:
        ours.close()
        raise


class Pollable(Protocol):
    """What `readable` waits for; a WorkerHandle is one."""

    @property
    def has_unsent(self) -> bool: ...

    def fileno(self) -> int: ...

    def send_on(self) -> None: ...


P = TypeVar("P", bound=Pollable)


def readable(processes: Sequence[P], wait_s: float) -> list[P]:
    """Workers that have sent something, or are gone; waits `wait_s` for one, and sends on what waits to be sent.

    Not by `select`, which takes no descriptors from 1024 on: a node with many peers has them. Raises WorkerDiedError.
    """
    poll, by_descriptor = select.poll(), {process.fileno(): process for process in processes}
    for descriptor, process in by_descriptor.items():
        poll.register(descriptor, select.POLLIN | select.POLLOUT if process.has_unsent else select.POLLIN)
    found = []
    for descriptor, events in poll.poll(wait_s * 1000):
        if events & select.POLLOUT:
            by_descriptor[descriptor].send_on()
        if events & ~select.POLLOUT:
            found.append(by_descriptor[descriptor])
    return found
