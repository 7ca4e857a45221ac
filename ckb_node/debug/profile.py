"""Where the cycles go, by function and by who called it: folded stacks, as tools that draw flame graphs read them.

Each line is `caller;callee;… cycles`. Calls and returns are recognised by the registers of the calling convention (ra,
or t0 for millicode): a jump that links calls, a jump to a link that is remembered returns. A jump into another
function replaces the one on top of the stack: a tail call. Functions without a symbol go by the address at which they
were called.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vm.isa.table import CODE, OPS
from vm.machine import Machine
from vm.reference.tracing import Step
from vm.registers import RA, ZERO
from vm.symbols import Span, SymbolTable, read_symbols

MAX_DEPTH = 512
"""Depth of a stack. Cycles of deeper calls are counted for the function at this depth."""
MAX_FRAMES = 100_000
"""Number of different stacks. Cycles of further ones are counted for their callers."""
SYSTEM = "[system]"
"""Cycles for loading programs, and what system calls cost besides the instruction: the bytes that they move."""
SWITCHING = "[switching]"
"""Cycles for switching between processes."""

_NOWHERE: Final = Span(0, 0, None)
_T0: Final = 5
_LINKS: Final = frozenset({RA, _T0})
_JAL, _JALR = CODE["jal"], CODE["jalr"]
_FAR_JUMPS: Final = frozenset({CODE["far_jump_rel"], CODE["far_jump_abs"]})


class Profile:
    """A tree of all stacks of a run."""

    def __init__(self) -> None:
        self._roots: dict[str, Frame] = {}
        self._frames = 0

    def root(self, name: str) -> Frame:
        """The lowest frame of all stacks of a script group."""
        return self._roots.setdefault(name, Frame(self))

    def make_frame(self, parent: Frame) -> Frame:
        """A new frame above another; the other itself when there are too many."""
        if self._frames >= MAX_FRAMES:
            return parent
        self._frames += 1
        return Frame(self)

    def folded(self) -> Iterator[str]:
        """The lines, each stack once, deepest last."""
        pending = [(name, root) for name, root in reversed(self._roots.items())]
        while pending:
            stack, frame = pending.pop()
            if frame.cycles:
                yield f"{stack} {frame.cycles}"
            pending += [(f"{stack};{name}", child) for name, child in reversed(frame.children.items())]


class Frame:
    """A function, called by the one below it. `cycles` are its own, without what it calls."""

    __slots__ = ("_profile", "children", "cycles")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.children: dict[str, Frame] = {}
        self.cycles = 0

    def child(self, name: str) -> Frame:
        """The frame of a function that this one calls."""
        found = self.children.get(name)
        if found is None:
            found = self._profile.make_frame(self)
            if found is not self:
                self.children[name] = found
        return found

    def total(self) -> int:
        """Cycles of this frame and of all above it."""
        total, pending = 0, [self]
        while pending:
            frame = pending.pop()
            total += frame.cycles
            pending += frame.children.values()
        return total


@dataclass(slots=True)
class _Call:
    """A call that has not returned: the return address, and the frame and function that contain it."""

    link: int
    frame: Frame
    span: Span


class Profiler:
    """Observes one process. `base` is the lowest frame of its stacks."""

    def __init__(self, base: Frame) -> None:
        self._base = self._frame = base
        self._begin(SymbolTable([]))

    def _begin(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._frame = self._base
        self._span = _NOWHERE
        self._calls: list[_Call] = []
        self._beyond = 0  # open calls beyond MAX_DEPTH
        self._entered = True  # whether the next instruction is the first of a function

    def loaded(self, machine: Machine, program: bytes) -> None:
        self._begin(read_symbols(program))

    def before(self, machine: Machine, step: Step) -> None:
        if self._entered or not self._span.holds(step.pc):
            self._enter(step.pc)

    def after(self, machine: Machine, step: Step) -> None:
        i = step.instruction
        self._frame.cycles += OPS[i.op].cost
        if i.op in _FAR_JUMPS:
            self._call(machine.get_register(RA))
        elif i.op in (_JAL, _JALR) and i.rd in _LINKS:
            self._call(machine.get_register(i.rd))
        elif i.op == _JALR and i.rd == ZERO and i.rs1 in _LINKS:
            self._return(machine.pc)

    def charged(self, machine: Machine, cycles: int) -> None:
        self._frame.child(SYSTEM).cycles += cycles

    def _enter(self, pc: int) -> None:
        span = self._symbols.find(pc)
        self._span = span
        if span.name is not None or self._entered:
            below = self._calls[-1].frame if self._calls else self._base
            self._frame = below.child(span.name or f"{pc:#x}")
        self._entered = False

    def _call(self, link: int) -> None:
        self._entered = True
        if len(self._calls) < MAX_DEPTH:
            self._calls.append(_Call(link, self._frame, self._span))
        else:
            self._beyond += 1

    def _return(self, target: int) -> None:
        if self._beyond:
            self._beyond -= 1
            return
        for depth in range(len(self._calls) - 1, -1, -1):
            call = self._calls[depth]
            if call.link == target:
                self._frame, self._span = call.frame, call.span
                del self._calls[depth:]
                return
