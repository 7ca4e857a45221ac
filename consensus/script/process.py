"""One running program of a script group, and what it may ask of the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.script.context import GroupContext, Program
from consensus.script.pages import PageSources
from vm.machine import Machine


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """Replace the program of the process. `argv` is an address in the memory of the process that asks."""

    program: Program
    argc: int
    argv: int


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """Start a process and hand file descriptors to it, which a 0 ends in memory; its id is stored at
    `process_id_address`. A `fds_address` of 0 means none."""

    program: Program
    argc: int
    argv: int
    fds_address: int
    process_id_address: int


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """Sleep until a process has ended; its exit code is stored at `exit_code_address`."""

    process_id: int
    exit_code_address: int


@dataclass(frozen=True, slots=True)
class PipeRequest:
    """Create a pipe; its read end and write end are stored at `fds_address`."""

    fds_address: int


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Sleep until bytes arrive, at most `length`."""

    fd: int
    length: int
    buffer_address: int
    length_address: int


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Sleep until all `length` bytes were read at the other end; `written` already were."""

    fd: int
    length: int
    buffer_address: int
    length_address: int
    written: int = 0


@dataclass(frozen=True, slots=True)
class InheritedFdRequest:
    """Store the file descriptors that the process was started with."""

    buffer_address: int
    length_address: int


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """Close a file descriptor."""

    fd: int


Request = (
    ExecRequest
    | SpawnRequest
    | WaitRequest
    | PipeRequest
    | ReadRequest
    | WriteRequest
    | InheritedFdRequest
    | CloseRequest
)


@dataclass(eq=False)
class Process:
    """A machine with what its system calls need. `cycles_before`: what the group used before this turn of it.

    `inherited_fds`: the descriptors that it was started with, 8 bytes each: there may be half a million of them.
    """

    id: int
    machine: Machine
    context: GroupContext
    inherited_fds: bytes = b""
    pages: PageSources = field(default_factory=PageSources)
    cycles_before: int = 0


Handler = Callable[[Process], int | Request | None]
"""Does a system call. A number goes to a0, None leaves a0 alone, a request ends the turn of the process.

Raises VmError when the script cannot go on. Cycles are charged without a look at the limit, which the caller checks.
"""
