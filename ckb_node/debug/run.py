"""Runs script groups of a case, one after the other, and prints what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ckb_node.debug.case import DebugCase, with_program
from ckb_node.debug.profile import SWITCHING, Frame, Profile, Profiler
from ckb_node.debug.trace import BreakpointPrinter, Breakpoints, Budget, Tracer, Write
from ckb_node.jsonrpc_types.chain import HASH_TYPE_NAMES
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.runtime.errors import CommandError
from consensus.errors import ScriptError
from consensus.script.context import TransactionContext
from consensus.script.errors import ValidationFailure
from consensus.script.groups import GroupKind, ScriptGroup, script_groups
from consensus.script.scheduler import MachineFactory, Outcome
from consensus.script.type_id import is_type_id, verify_type_id
from consensus.script.verifier import ScriptVerifier
from vm import create_machine
from vm.machine import Machine
from vm.reference.tracing import Observer, Observers, TracingMachine

PASSED, SCRIPT_FAILED = 0, 1
"""Exit codes of the command."""
STANDARD = "-"


@dataclass(frozen=True)
class GroupChoice:
    """Which script groups to run: those of a kind, those that a cell belongs to. None does not restrict."""

    kind: GroupKind | None = None
    cell_type: Literal["input", "output"] | None = None
    cell_index: int | None = None

    def fits(self, group: ScriptGroup) -> bool:
        """Whether a group is to run."""
        if self.kind is not None and group.kind is not self.kind:
            return False
        if self.cell_type is None and self.cell_index is None:
            return True
        indexes = group.output_indexes if self.cell_type == "output" else group.input_indexes
        return bool(indexes) if self.cell_index is None else self.cell_index in indexes


@dataclass(frozen=True)
class WatchOptions:
    """Which observers run. A path `-` means standard output."""

    trace: str | None = None
    trace_limit: int = 1_000_000
    breaks: Sequence[str] = ()
    break_limit: int = 100
    profile: str | None = None

    @property
    def watches(self) -> bool:
        """Whether any observer is asked for."""
        return self.trace is not None or bool(self.breaks) or self.profile is not None


@dataclass(frozen=True)
class DebugOptions:
    """What to run and how. `program` takes the place of the chosen group's."""

    choice: GroupChoice = GroupChoice()
    max_cycles: int = 3_500_000_000
    engine: str = "auto"
    program: bytes | None = None
    watch: WatchOptions = field(default_factory=WatchOptions)


class _Watch(Protocol):
    """Makes the machines that a script group runs on, with or without observers."""

    def factory(self, group: ScriptGroup) -> MachineFactory: ...

    def finish(self, outcome: Outcome | None) -> None:
        """The group has ended; `outcome` is None if an error stopped it before."""
        ...


class _NoWatch:
    def __init__(self, engine: str) -> None:
        self._engine = engine

    def factory(self, _: ScriptGroup) -> MachineFactory:
        return lambda version, max_cycles: create_machine(version, max_cycles, self._engine)

    def finish(self, outcome: Outcome | None) -> None:
        pass


class _Watchers:
    """Observers for each process of each group."""

    def __init__(self, trace: Write | None, write: Write, options: WatchOptions) -> None:
        self._trace, self._write = trace, write
        self._traced, self._broken = Budget(options.trace_limit), Budget(options.break_limit)
        self._profiles = options.profile is not None
        self.breakpoints = Breakpoints(options.breaks)
        self._breaks = bool(options.breaks)
        self.profile = Profile()
        self._root: Frame | None = None
        self._tracers: list[Tracer] = []
        self._processes = 0

    def factory(self, group: ScriptGroup) -> MachineFactory:
        self._root = self.profile.root(group.source) if self._profiles else None
        self._tracers, self._processes = [], 0
        return self._machine

    def finish(self, outcome: Outcome | None) -> None:
        for tracer in self._tracers:
            tracer.finish()
        if self._root is not None and outcome is not None:
            switching = outcome.cycles - self._root.total()
            if switching > 0:
                self._root.child(SWITCHING).cycles += switching

    def _machine(self, version: int, max_cycles: int) -> Machine:
        """The scheduler makes one machine for each process, in the order of their ids."""
        machine = TracingMachine(version, max_cycles, Observers(self._observers(self._processes)))
        self._processes += 1
        return machine

    def _observers(self, process: int) -> list[Observer]:
        observers: list[Observer] = []
        if self._breaks:
            observers.append(BreakpointPrinter(process, self.breakpoints, self._write, self._broken))
        if self._trace is not None:
            tracer = Tracer(process, self._trace, self._traced)
            self._tracers.append(tracer)
            observers.append(tracer)
        if self._root is not None:
            base = self._root if process == 0 else self._root.child(f"process {process}")
            observers.append(Profiler(base))
        return observers


def run_case(case: DebugCase, options: DebugOptions, write: Write, warn: Callable[[str], object]) -> int:
    """Run the chosen groups with a common limit of cycles; PASSED or SCRIPT_FAILED. CommandError, ScriptError, OSError.

    `write` gets what is printed, `warn` lines about what is odd. A group that fails does not keep others from running.
    """
    groups = [group for group in script_groups(case.rtx) if options.choice.fits(group)]
    if not groups:
        raise CommandError("the transaction has no such script group")
    if options.program is not None:
        if len(groups) > 1:
            sources = ", ".join(group.source for group in groups)
            raise CommandError(f"--bin stands for one script: choose one of the groups {sources}")
        case = with_program(case, groups[0], options.program)
    if not options.watch.watches:
        return _run_groups(case, groups, options.max_cycles, _NoWatch(options.engine), write)
    with ExitStack() as stack:
        trace = _open(stack, options.watch.trace, write)
        profile = _open(stack, options.watch.profile, write)
        watch = _Watchers(trace, write, options.watch)
        code = _run_groups(case, groups, options.max_cycles, watch, write)
        for name in watch.breakpoints.not_found:
            warn(f"--break {name}: no program that ran has this symbol")
        if profile is not None:
            for line in watch.profile.folded():
                profile(f"{line}\n")
    return code


def _open(stack: ExitStack, target: str | None, write: Write) -> Write | None:
    if target is None or target == STANDARD:
        return None if target is None else write
    return stack.enter_context(Path(target).open("w", encoding="utf-8")).write


def _run_groups(case: DebugCase, groups: Sequence[ScriptGroup], max_cycles: int, watch: _Watch, write: Write) -> int:
    used, code = 0, PASSED
    for group in groups:
        script = group.script
        hash_type = HASH_TYPE_NAMES.get(script.hash_type, str(script.hash_type))
        write(f"{group.source}: code {bytes_text(script.code_hash)} {hash_type}\n")
        outcome = None
        try:
            outcome = _run_group(case, group, max_cycles - used, watch, write)
            write(f"  exit code {outcome.exit_code}, {outcome.cycles} cycles\n")
            used += outcome.cycles
        except ScriptError as error:
            write(f"  failed: {error}\n")
        if outcome is None or outcome.exit_code != 0:
            code = SCRIPT_FAILED
    write(f"{'passed' if code == PASSED else 'failed'}: {used} cycles\n")
    return code


def _run_group(case: DebugCase, group: ScriptGroup, max_cycles: int, watch: _Watch, write: Write) -> Outcome:
    if is_type_id(group.script):
        return _run_type_id(case, group, max_cycles)

    def print_debug(_: bytes, text: str) -> None:
        write("".join(f"  debug: {_shown(line)}\n" for line in text.splitlines() or [""]))

    verifier = ScriptVerifier(case.rules, case.chain, debug=print_debug, machine_factory=watch.factory(group))
    outcome = None
    try:
        outcome = verifier.run_group(TransactionContext(case.rtx, case.chain), group, case.env, max_cycles, case.args)
    finally:
        watch.finish(outcome)
    return outcome


def _run_type_id(case: DebugCase, group: ScriptGroup, max_cycles: int) -> Outcome:
    """Run the built-in type ID rule in place of a program; a failure costs no cycles."""
    try:
        return Outcome(0, verify_type_id(case.rtx.transaction, group, max_cycles))
    except ValidationFailure as error:
        return Outcome(error.exit_code, 0)


def _shown(text: str) -> str:
    """A line that a script prints, its control characters escaped so that a terminal does not act on them."""
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode() for char in text
    )
