"""Runs the processes of one script group in turns, always in the same order on every node (RFC 50).

VM versions 0 and 1 have one process only, which runs in one turn. From version 2 on a process may spawn others: the
runnable process with the highest id runs until it asks for something that involves others, or ends. At most four
machines are "instantiated"; being (un)instantiated costs cycles, so which ones are is a rule of consensus. Nothing is
really swapped out here but for what that changes in memory (consensus.script.pages), and decoded code.

What a group takes at most: 17 machines of 4 MiB, nearly as much again for the descriptors that each inherited, and
20 MiB of decoded code for each of the four. All of it goes with the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from consensus.script.context import GroupContext, Program
from consensus.script.fds import FD_SIZE, FdTable, other_end
from consensus.script.process import (
    CloseRequest,
    ExecRequest,
    InheritedFdRequest,
    PipeRequest,
    Process,
    ReadRequest,
    Request,
    SpawnRequest,
    WaitRequest,
    WriteRequest,
)
from consensus.script.syscalls import SYSCALLS
from consensus.script.syscalls.numbers import (
    EXEC_CYCLES,
    EXIT,
    INVALID_FD,
    MAX_FDS_CREATED,
    MAX_VMS_SPAWNED,
    OTHER_END_CLOSED,
    SPAWN_CYCLES,
    SUCCESS,
    WAIT_FAILURE,
    transfer_cycles,
)
from vm.arguments import Arguments
from vm.constants import U64_MASK, U64_MAX
from vm.elf import ProgramMetadata
from vm.errors import CyclesExceeded, InvalidEcall, MemOutOfBound, Unexpected, VmError
from vm.machine import Machine
from vm.memory import Memory
from vm.registers import A0, A7
from vm.stack import error_of_refused, room_for_strings

ROOT = 0
MAX_PROCESSES = 16
"""Spawn fails if more machines than this exist. The check comes before the spawn, so there can be 17."""
MAX_INSTANTIATED = 4

MachineFactory = Callable[[int, int], Machine]
"""Makes an empty machine of a version with a limit of cycles."""

SLICE_CYCLES = 1 << 24
"""Must exceed the cost of any block of instructions, or the run makes no progress."""
Pause = Callable[[], None]
"""Called before each stretch of a script, at most SLICE_CYCLES long: it may wait. To abort the
run it raises anything but a VmError; discard the scheduler and its machines then."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A process has ended. `code` is -128..127."""

    code: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Exit code of the first process, and the cycles that all used."""

    exit_code: int
    cycles: int


def run_turn(process: Process, pause: Pause | None = None) -> Request | Exit:
    """Run a process until it ends or asks for something that only the scheduler can do. Raises VmError."""
    machine = process.machine
    handlers = SYSCALLS[machine.version]
    while True:
        if pause is None:
            machine.run()
        else:
            _run_in_slices(machine, pause)
        number = machine.registers[A7]
        if number == EXIT:
            return Exit(_as_i8(machine.get_register(A0)))
        handler = handlers.get(number)
        if handler is None:
            raise InvalidEcall(number)
        answer = handler(process)
        if isinstance(answer, int):
            machine.set_register(A0, answer)
        elif answer is not None:
            return answer
        if machine.cycles > machine.max_cycles:
            raise CyclesExceeded


def _run_in_slices(machine: Machine, pause: Pause) -> None:
    """`Machine.run` in stretches: a machine that has used up its limit can go on when it gets a higher one."""
    limit = machine.max_cycles
    try:
        while True:
            pause()
            machine.max_cycles = min(limit, machine.cycles + SLICE_CYCLES)
            try:
                machine.run()
            except CyclesExceeded:
                if machine.max_cycles == limit:
                    raise
            else:
                return
    finally:
        machine.max_cycles = limit


class Scheduler:
    """All processes of one group. Use it once: `run`."""

    def __init__(
        self, context: GroupContext, vm_version: int, create_machine: MachineFactory, pause: Pause | None = None
    ) -> None:
        self._pause = pause
        self._context = context
        self._vm_version = vm_version
        self._create_machine = create_machine
        self._processes: dict[int, Process] = {}
        self._waiting: dict[int, WaitRequest | ReadRequest | WriteRequest] = {}
        self._instantiated: set[int] = set()
        self._exit_codes: dict[int, int] = {}
        self._fds = FdTable()
        self._next_id = ROOT
        self._total_cycles = 0
        # Used since the last turn was accounted. Not always 0 when a turn begins: moving data between processes comes
        # after the accounting, and what it costs stays here, invisible to current_cycles during the next turn.
        self._pending_cycles = 0

    def run(self, program: Program, max_cycles: int, args: Sequence[bytes] | Arguments = ()) -> Outcome:
        """Run a program until its process ends, whatever those it spawned are doing. Raises VmError.

        `args`: its argv. Transactions give none; debuggers may.
        """
        self._boot(program, args)
        remaining = max_cycles
        while ROOT not in self._exit_codes:
            remaining = self._turn(remaining)
        return Outcome(self._exit_codes[ROOT], self._total_cycles)

    def _turn(self, limit: int) -> int:
        """Let one process run and account for it; returns what remains of the limit."""
        failure: VmError | None = None
        try:
            self._run_one(limit)
        except VmError as error:
            failure = error
        used, self._pending_cycles = self._pending_cycles, 0
        self._total_cycles += used
        if used > limit:
            raise CyclesExceeded
        if failure is not None:
            raise failure
        if self._waiting:
            self._move_data()
        return limit - used

    def _run_one(self, limit: int) -> None:
        process = self._instantiate(self._next_to_run())
        machine = process.machine
        machine.max_cycles = limit
        process.cycles_before = self._total_cycles
        try:
            ending = run_turn(process, self._pause)
        finally:
            self._pending_cycles += machine.cycles
            machine.cycles = 0
        if isinstance(ending, Exit):
            self._end(process.id, ending.code)
            return
        code = self._serve(process, ending)
        if code is not None:
            self._answer(process.id, code)

    def _next_to_run(self) -> int:
        runnable = self._processes.keys() - self._waiting.keys()
        if not runnable:
            raise Unexpected("A deadlock situation has been reached!")
        return max(runnable)

    def _answer(self, process_id: int, code: int) -> None:
        """Give a process the result of its system call, and let it run."""
        self._instantiate(process_id).machine.set_register(A0, code)
        self._waiting.pop(process_id, None)

    # Processes: creation, end, and instantiation.

    def _boot(self, program: Program, args: Sequence[bytes] | Arguments) -> int:
        process = Process(self._next_id, self._create_machine(self._vm_version, U64_MAX), self._context)
        self._next_id += 1
        self._load(process, program, *self._context.load(program, self._vm_version), args)
        while len(self._instantiated) >= MAX_INSTANTIATED:
            self._suspend(min(self._instantiated))
        self._processes[process.id] = process
        self._instantiated.add(process.id)
        return process.id

    def _load(
        self,
        process: Process,
        program: Program,
        elf: bytes,
        metadata: ProgramMetadata,
        args: Sequence[bytes] | Arguments,
    ) -> None:
        """Load a program into an empty machine and charge its transfer."""
        machine = process.machine
        size = machine.load_metadata(elf, metadata) + machine.initialize_stack(args)
        process.pages.program_loaded(machine.memory, metadata, program)
        machine.add_cycles_unchecked(transfer_cycles(size))

    def _end(self, process_id: int, exit_code: int) -> None:
        self._exit_codes[process_id] = exit_code
        if process_id == ROOT:
            self._waiting.clear()
            return
        for waiting_id, request in sorted(self._waiting.items()):
            if isinstance(request, WaitRequest) and request.process_id == process_id:
                self._instantiate(waiting_id).machine.memory.store8(request.exit_code_address, exit_code)
                self._answer(waiting_id, SUCCESS)
        self._fds.close_all(process_id)
        del self._processes[process_id]
        self._instantiated.discard(process_id)

    def _instantiate(self, process_id: int, partner_id: int | None = None) -> Process:
        """Make sure that a process is instantiated, together with its partner; returns the process.

        Missing processes are resumed into free slots, the last id first; then each takes the slot of the lowest idle
        id. The order is consensus: suspending and resuming cost cycles.
        """
        wanted = [process_id] if partner_id is None else [process_id, partner_id]
        missing = [wanted_id for wanted_id in wanted if wanted_id not in self._instantiated]
        while missing and len(self._instantiated) < MAX_INSTANTIATED:
            self._resume(missing.pop())
        idle = [idle_id for idle_id in sorted(self._instantiated) if idle_id not in wanted]
        for idle_id, missing_id in zip(idle, missing, strict=False):
            self._suspend(idle_id)
            self._resume(missing_id)
        return self._processes[process_id]

    def _suspend(self, process_id: int) -> None:
        self._pending_cycles += SPAWN_CYCLES
        self._instantiated.remove(process_id)
        self._processes[process_id].machine.shrink()

    def _resume(self, process_id: int) -> None:
        self._pending_cycles += SPAWN_CYCLES
        process = self._processes[process_id]
        process.pages.restore(process.machine, self._context)
        self._instantiated.add(process_id)

    # Requests. Each answers with a code, or None when the process has to wait or starts anew.

    def _serve(self, process: Process, request: Request) -> int | None:
        match request:
            case ExecRequest():
                self._exec(process, request)
                return None
            case SpawnRequest():
                return self._spawn(process, request)
            case WaitRequest():
                return self._wait(process, request)
            case PipeRequest():
                return self._pipe(process, request)
            case ReadRequest() | WriteRequest():
                return self._begin_transfer(process, request)
            case InheritedFdRequest():
                return self._list_inherited_fds(process, request)
            case CloseRequest():
                if not self._fds.is_owned(request.fd, process.id):
                    return INVALID_FD
                self._fds.close(request.fd)
                return SUCCESS

    def _exec(self, process: Process, request: ExecRequest) -> None:
        machine = process.machine
        machine.add_cycles_unchecked(EXEC_CYCLES)
        elf, metadata = self._context.load(request.program, self._vm_version)
        args = self._read_args(machine.memory, request)
        machine.reset_for(metadata, args)
        self._load(process, request.program, elf, metadata, args)

    def _spawn(self, process: Process, request: SpawnRequest) -> int:
        memory = process.machine.memory
        start, end = _list_of_fds(memory, request.fds_address)
        handed_on = memory.known_words(start, end, self._fds.owned_by(process.id))
        if handed_on is None:
            return INVALID_FD
        if len(self._processes) > MAX_PROCESSES:
            return MAX_VMS_SPAWNED
        inherited = memory.load_bytes(start, end - start)
        child_id = self._boot(request.program, self._read_args(memory, request))
        for fd in handed_on:
            self._fds.give(fd, child_id)
        self._processes[child_id].inherited_fds = inherited
        self._instantiate(process.id).machine.memory.store64(request.process_id_address, child_id)
        return SUCCESS

    def _read_args(self, memory: Memory, request: ExecRequest | SpawnRequest) -> Arguments:
        """The arguments that a process passes to a program. Raises VmError when they cannot be read, or surely do not
        fit its stack."""
        try:
            args = memory.gather_arguments(request.argc, request.argv, each=1)
        except MemOutOfBound:
            args = None
        if isinstance(args, Arguments):
            return args
        raise self._error_of_args(memory, request)

    def _error_of_args(self, memory: Memory, request: ExecRequest | SpawnRequest) -> VmError:
        """The reference loads the program first, then reads and stores one argument after the other: what fails first
        on that way. Raises it if that is not a store."""
        program, metadata = self._context.load(request.program, self._vm_version)
        machine = self._create_machine(self._vm_version, U64_MAX)
        machine.load_metadata(program, metadata)
        end = machine.memory.executable_end()
        args = memory.gather_arguments(request.argc, request.argv, each=1, room=room_for_strings(end))
        size = len(args.strings) if isinstance(args, Arguments) else args
        return error_of_refused(size, request.argc, end)

    def _wait(self, process: Process, request: WaitRequest) -> int | None:
        exit_code = self._exit_codes.pop(request.process_id, None)
        if exit_code is not None:
            process.machine.memory.store8(request.exit_code_address, exit_code)
            return SUCCESS
        if request.process_id not in self._processes:
            return WAIT_FAILURE
        self._waiting[process.id] = request
        return None

    def _pipe(self, process: Process, request: PipeRequest) -> int:
        ends = self._fds.create_pipe(process.id)
        if ends is None:
            return MAX_FDS_CREATED
        memory = process.machine.memory
        memory.store64(request.fds_address, ends[0])
        memory.store64((request.fds_address + 8) & U64_MASK, ends[1])
        return SUCCESS

    def _begin_transfer(self, process: Process, request: ReadRequest | WriteRequest) -> int | None:
        if not self._fds.is_owned(request.fd, process.id):
            return INVALID_FD
        if not self._fds.is_open(other_end(request.fd)):
            return OTHER_END_CLOSED
        self._waiting[process.id] = request
        return None

    def _list_inherited_fds(self, process: Process, request: InheritedFdRequest) -> int:
        """What was inherited, even if it was closed or given away since. The first process inherited nothing."""
        memory, fds = process.machine.memory, process.inherited_fds
        room = FD_SIZE * memory.load64(request.length_address)
        memory.store_again(request.buffer_address, fds, min(room, len(fds)))
        memory.store64(request.length_address, len(fds) // FD_SIZE)
        return SUCCESS

    # Pipes have no buffer: bytes move when a reader and a writer wait for each other.

    def _move_data(self) -> None:
        """End the waits whose other end was closed, readers' first; then let each writer meet its reader."""
        waiting = sorted(self._waiting.items())
        readers = {request.fd: (at, request) for at, request in waiting if isinstance(request, ReadRequest)}
        writers = [(at, request) for at, request in waiting if isinstance(request, WriteRequest)]
        for process_id, read in readers.values():
            if not self._fds.is_open(other_end(read.fd)):
                self._instantiate(process_id).machine.memory.store64(read.length_address, 0)
                self._answer(process_id, SUCCESS)
        for process_id, write in writers:
            if not self._fds.is_open(other_end(write.fd)):
                self._instantiate(process_id).machine.memory.store64(write.length_address, write.written)
                self._answer(process_id, SUCCESS)
        for writer_id, write in writers:
            if self._fds.is_open(other_end(write.fd)) and other_end(write.fd) in readers:
                self._transfer(*readers[other_end(write.fd)], writer_id, write)

    def _transfer(self, reader_id: int, read: ReadRequest, writer_id: int, write: WriteRequest) -> None:
        """Move as much as fits. The reader goes on at once, the writer when all that it has is read."""
        reader = self._instantiate(reader_id, writer_id).machine
        writer = self._processes[writer_id].machine
        size = min(read.length, write.length - write.written)
        writer.add_cycles_unchecked(transfer_cycles(size))
        data = writer.memory.load_bytes((write.buffer_address + write.written) & U64_MASK, size)
        reader.add_cycles_unchecked(transfer_cycles(size))
        reader.memory.store_bytes(read.buffer_address, data)
        reader.memory.store64(read.length_address, size)
        self._answer(reader_id, SUCCESS)
        written = write.written + size
        if written == write.length:
            writer.memory.store64(write.length_address, written)
            self._answer(writer_id, SUCCESS)
        else:
            self._waiting[writer_id] = replace(write, written=written)


def _list_of_fds(memory: Memory, address: int) -> tuple[int, int]:
    """Where a list of descriptors begins and ends. Raises MemOutOfBound if nothing ends it."""
    if address == 0:
        return 0, 0
    end = memory.find_zero_word(address)
    if end is None:
        raise MemOutOfBound
    return address, end


def _as_i8(value: int) -> int:
    """The low byte as a signed number."""
    return (value & 0xFF ^ 0x80) - 0x80
