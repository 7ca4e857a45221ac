"""The worker process that runs scripts for the node: `main([SOCKET, CONTROL])`, see vm.child.

It reads jobs, runs one after the other, and asks for what scripts read beyond them. CONTROL is memory shared with the
node: three u64, see `Control`. It ends with the node, or when the node closes the socket.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.runtime.interpreter import collect_seldom
from ckb_node.verification.debug_output import Prints
from ckb_node.verification.messages import (
    DECODE_TO_PROCESS,
    MAX_TO_PROCESS,
    Answer,
    Ask,
    Cell,
    Done,
    Ending,
    FromProcess,
    Job,
    Jobs,
    Ready,
    Setup,
    Subject,
    ToProcess,
    encode,
)
from ckb_node.verification.transfer import TransactionMaker, pack_error
from consensus.errors import ScriptError
from consensus.params import Hardforks
from consensus.script.scheduler import MachineFactory
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import Block, Header
from network.framing import Frames
from vm import Engines, create_machine
from vm.errors import EngineFailure

RECEIVE_SIZE = 1 << 18
KEPT_BYTES = 16 << 20
"""Of cells' data, mostly code."""
MAX_REPORTS = 7
"""Endings of jobs that are kept to be sent with the next one's."""
LAST_JOBS = 1
"""When no more are left, endings are sent: while these run the node gives the next."""
PAUSE_S = 0.005
LOOK_S = 0.001
"""Between two looks at the clock of processor time and at what the node wants: short scripts pause ten times."""
_U64 = 1 << 64


class Control:
    """Shared memory of three numbers. The node writes the first two: jobs with ids below the first are cancelled, and
    while the second is not 0 the current job waits. The worker writes the third, a counter that shows progress."""

    SIZE = 24

    def __init__(self, descriptor: int) -> None:
        self._words = memoryview(mmap.mmap(descriptor, self.SIZE)).cast("Q")

    @property
    def first_wanted(self) -> int:
        return self._words[0]

    @first_wanted.setter
    def first_wanted(self, job: int) -> None:
        self._words[0] = job

    @property
    def is_paused(self) -> bool:
        return self._words[1] != 0

    @is_paused.setter
    def is_paused(self, value: bool) -> None:
        self._words[1] = value

    @property
    def beats(self) -> int:
        return self._words[2]

    def beat(self) -> None:
        self._words[2] = (self._words[2] + 1) % _U64


class NodeGoneError(Exception):
    """The node closed the socket."""


class _NotWantedError(Exception):
    """The job at hand is not wanted any more."""


class _OutOfTimeError(Exception):
    """The job at hand has used its time."""


class _Channel:
    """Messages of the node; jobs that come while an answer is awaited are queued."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = Frames(MAX_TO_PROCESS)
        self._messages: deque[ToProcess] = deque()
        self._reports: list[bytes] = []
        self.jobs: deque[Job] = deque()

    def send(self, message: FromProcess) -> None:
        """Send a message at once, behind the endings that were kept."""
        self._reports.append(encode(message))
        self._connection.sendall(b"".join(self._reports))
        self._reports.clear()

    def report(self, done: Done) -> None:
        """Send an ending, several at once while there are more jobs: waking the node costs a tenth of a transaction."""
        if len(self._reports) < MAX_REPORTS and done.ending is Ending.PASSED and self._has_more_jobs():
            self._reports.append(encode(done))
        else:
            self.send(done)

    def _has_more_jobs(self) -> bool:
        """There are more than the last few, those included that have come meanwhile."""
        if len(self.jobs) <= LAST_JOBS:
            self._receive_what_is_there()
        return len(self.jobs) > LAST_JOBS

    def _receive_what_is_there(self) -> None:
        """Jobs only: while none waits for an answer the node sends nothing else."""
        with contextlib.suppress(BlockingIOError):
            self._receive(socket.MSG_DONTWAIT)
        while self._messages:
            self._keep_jobs(self._messages.popleft())

    def setup(self) -> Setup:
        message = self._next()
        if not isinstance(message, Setup):
            raise TypeError("the first message must be the setup")
        return message

    def job(self) -> Job:
        while not self.jobs:
            self._keep_jobs(self._next())
        return self.jobs.popleft()

    def answer(self) -> Answer:
        while True:
            message = self._next()
            if isinstance(message, Answer):
                return message
            self._keep_jobs(message)

    def _keep_jobs(self, message: ToProcess) -> None:
        if not isinstance(message, Jobs):
            raise TypeError("unexpected message")
        self.jobs += message.jobs

    def _next(self) -> ToProcess:
        while not self._messages:
            self._receive(0)
        return self._messages.popleft()

    def _receive(self, flags: int) -> None:
        """Raises NodeGoneError, and BlockingIOError if the flags forbid to wait."""
        data = self._connection.recv(RECEIVE_SIZE, flags)
        if not data:
            raise NodeGoneError
        self._messages += map(DECODE_TO_PROCESS, self._frames.feed(data))


_Contents = BoundedMap[bytes, bytes]
"""Cells' data by hash; the least recently used leave."""


@dataclass
class _Run:
    """The current job: what its scripts can read (ScriptChain), and its pauses."""

    job: Job
    channel: _Channel
    contents: _Contents
    control: Control
    parent: int

    def __post_init__(self) -> None:
        self._end: float | None = None
        self._next_look = 0.0

    def header(self, block_hash: bytes) -> Header | None:
        raw = self._ask(Subject.HEADER, block_hash)
        return None if raw is None else Header.trusted(raw)

    def block(self, block_hash: bytes) -> Block | None:
        raw = self._ask(Subject.BLOCK, block_hash)
        return None if raw is None else Block.trusted(raw)

    def data_of(self, cell: Cell) -> bytes:
        content = self.contents.use(cell.data_hash)
        if content is None:
            content = self._ask(Subject.CELL_DATA, cell.data_hash) or b""
            self.contents.put(cell.data_hash, content)
        return content

    def _ask(self, subject: Subject, key: bytes) -> bytes | None:
        self.channel.send(Ask(self.job.id, subject, key))
        answer = self.channel.answer()
        if not answer.is_wanted:
            raise _NotWantedError
        return answer.content

    def pause(self) -> None:
        """See consensus.script.scheduler.Pause. Time counts from the first one on: an engine that is compiled before
        costs the transaction nothing."""
        if time.monotonic() < self._next_look:
            return
        self.wait()
        self._next_look = time.monotonic() + LOOK_S
        if self.job.seconds is None:
            return
        now = time.process_time()
        if self._end is None:
            self._end = now + self.job.seconds
        elif now > self._end:
            raise _OutOfTimeError

    def wait(self) -> None:
        """While a block is verified."""
        self._check_wanted()
        self.control.beat()
        while self.control.is_paused:
            time.sleep(PAUSE_S)
            self.control.beat()
            self._check_wanted()

    def _check_wanted(self) -> None:
        if self.job.id < self.control.first_wanted:
            raise _NotWantedError
        if os.getppid() != self.parent:
            raise NodeGoneError


class WorkerMain:
    """Runs jobs and reports their endings."""

    def __init__(self, channel: _Channel, control: Control) -> None:
        self._channel, self._control = channel, control
        self._parent = os.getppid()
        self._contents = _Contents(max_bytes=KEPT_BYTES, size_of=len)
        self._run: _Run | None = None
        self._maker = TransactionMaker(self._data_of)
        self._is_heard = False
        self._prints: Prints | None = None

    def serve(self) -> NoReturn:
        """Until the node is gone: NodeGoneError."""
        setup = self._channel.setup()
        self.hardforks = Hardforks(**setup.hardforks)
        self._is_heard = setup.prints
        os.nice(setup.own_niceness)
        with Engines(Path(setup.engines), niceness=setup.niceness) as engines:
            self._machine_factory = engines.create_machine
            collect_seldom()
            self._channel.send(Ready())
            while True:
                job = self._channel.job()
                self._channel.report(self._done(job))

    def _done(self, job: Job) -> Done:
        run = self._run = _Run(job, self._channel, self._contents, self._control, self._parent)
        done = self._ending_of(run)
        if self._prints is None:
            return done
        return msgspec.structs.replace(done, prints=self._prints.kept, left_out=self._prints.left_out)

    def _data_of(self, cell: Cell) -> bytes:
        assert self._run is not None  # noqa: S101 - cells are read by scripts
        return self._run.data_of(cell)

    def _ending_of(self, run: _Run) -> Done:
        job = run.job
        try:
            return Done(job.id, Ending.PASSED, self._verify(run))
        except ScriptError as error:
            return Done(job.id, Ending.FAILED, error=pack_error(error))
        except _NotWantedError:
            return Done(job.id, Ending.STOPPED)
        except _OutOfTimeError:
            return Done(job.id, Ending.OUT_OF_TIME)
        except EngineFailure:
            return Done(job.id, Ending.BROKEN)

    def _verify(self, run: _Run) -> int:
        run.wait()
        job = run.job
        rtx = self._maker.resolved(job)
        try:
            return self._verifier(run, self._machine_factory).verify(rtx, _Env(job.epoch), job.max_cycles)
        except EngineFailure:
            return self._verifier(run, create_machine).verify(rtx, _Env(job.epoch), job.max_cycles)

    def _verifier(self, run: _Run, machines: MachineFactory) -> ScriptVerifier:
        self._prints = Prints() if self._is_heard else None
        return ScriptVerifier(self, run, debug=self._prints, machine_factory=machines, pause=run.pause)


@dataclass(frozen=True)
class _Env:
    epoch_without_proposal_window: int


def _offer_to_die_first() -> None:
    """When memory runs out, Linux ends this process rather than the node, which starts another."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def main(arguments: list[str]) -> int:
    """Ignore Ctrl-C, which reaches the whole process group: the node decides when a worker ends."""
    _offer_to_die_first()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor, control = map(int, arguments)
    with socket.socket(fileno=descriptor) as connection, contextlib.suppress(NodeGoneError, ConnectionError):
        WorkerMain(_Channel(connection), Control(control)).serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
