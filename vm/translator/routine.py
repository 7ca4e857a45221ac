"""Emits one translated function with structured control flow.

Ramsey, "Beyond Relooper" (ICFP 2022): the code of a block contains that of the blocks which it immediately dominates.
Where several forward edges meet (a merge), the block lies behind a `block` around its dominator; where edges lead back
it begins a `loop`.
"""

from collections.abc import Generator, Mapping
from typing import Final

from vm.constants import VERSION0
from vm.isa.table import OPS
from vm.translator import layout as to
from vm.translator.emit import DEPTH, LOCAL_TYPES, REMAINING, TARGET, BlockEmitter, read
from vm.translator.flow import Routine
from vm.translator.graph import Exit, Node
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Label, Value, const
from vm.wasm.status import Status

_ZERO: Final = const(I32, 0)
_CONDITIONS: Final = {"beq": "eq", "bne": "ne", "blt": "lt_s", "bge": "ge_s", "bltu": "lt_u", "bgeu": "ge_u"}

Steps = Generator["Steps", None, None]


class RoutineEmitter:
    """Emits the function of a routine into `f`. `functions` has the wasm functions of all routines by address."""

    def __init__(
        self, emitter: BlockEmitter, routine: Routine, functions: Mapping[int, Function], dispatch: Function
    ) -> None:
        self.emitter, self.routine, self.functions, self.dispatch = emitter, routine, functions, dispatch
        self.f = functions[routine.entry]
        self.f.locals.extend(LOCAL_TYPES)
        self.loops: dict[int, Label] = {}
        self.ends: dict[int, Label] = {}  # of the blocks behind which merges lie
        self.children: dict[int, list[int]] = {pc: [] for pc in routine.order.blocks}
        for pc in routine.order.blocks[1:]:
            self.children[routine.order.dominator[pc]].append(pc)
        self.return_sites: set[int] = set()  # within the function: not themselves functions

    def emit(self) -> None:
        """Emit the whole function."""
        entry, facts = self.routine.entry, self.routine.facts[self.routine.entry]
        self.emitter.f = self.f
        with self.f.if_(DEPTH.value.compare("lt_s", self.routine.frame)):
            self.f.return_(const(I64, entry), REMAINING.value)
        if entry not in self.routine.loops:
            self.emitter.check_cycles(entry, facts.bound, 0)
        self.emitter.reload(facts.live)
        _run(self._tree(entry))
        self.f.unreachable()

    def _tree(self, pc: int) -> Steps:
        """A block and all that it dominates."""
        if pc not in self.routine.loops:
            yield self._around(pc)
            return
        with self.f.loop() as label:
            self.loops[pc] = label
            facts = self.routine.facts[pc]
            self.emitter.check_cycles(pc, facts.bound, facts.dirty)
            yield self._around(pc)

    def _around(self, pc: int) -> Steps:
        """A block, then the merges that it immediately dominates, in order."""
        merges = [child for child in self.children[pc] if child in self.routine.merges]
        yield self._before(pc, merges)

    def _before(self, pc: int, merges: list[int]) -> Steps:
        if not merges:
            yield self._block(pc)
            return
        last = max(merges, key=self.routine.order.position.__getitem__)
        with self.f.block() as label:
            self.ends[last] = label
            yield self._before(pc, [merge for merge in merges if merge != last])
        yield self._tree(last)

    def _block(self, pc: int) -> Steps:
        node, facts = self.routine.nodes[pc], self.routine.facts[pc]
        self.emitter.straight(pc, node.block, facts.dirty)
        dirty = self.routine.dirty_behind(pc)
        match node.exit:
            case Exit.GO:
                yield self._edge(pc, node.target, dirty)
            case Exit.BRANCH:
                yield self._branch(node, dirty)
            case Exit.CALL | Exit.CALL_REGISTER:
                yield self._call(node, dirty)
            case Exit.RETURN:
                self.f.set(TARGET, _register_target(node))
                self.emitter.spill(dirty)
                self.f.return_(TARGET.value, REMAINING.value)
            case Exit.JUMP_REGISTER:
                self.f.set(TARGET, _register_target(node))
                self.emitter.spill(dirty)
                self.f.store(8, _ZERO, TARGET.value, at.PC)
                self.f.return_call(self.dispatch, REMAINING.value, DEPTH.value)
            case Exit.ECALL:
                self.emitter.spill(dirty)
                self.f.store(8, _ZERO, const(I64, node.next), at.PC)
                self.f.store(4, _ZERO, const(I32, Status.ECALL), to.STATUS)
                self.f.return_(const(I64, to.ENDED), REMAINING.value)

    def _edge(self, pc: int, target: int, dirty: int) -> Steps:
        """Go on at `target`."""
        label = self._label(pc, target)
        if label is not None:
            self.f.branch(label)
        elif target in self.routine.members:
            yield self._tree(target)
        else:
            self.emitter.spill(dirty)
            if target in self.functions:
                self.f.return_call(self.functions[target], REMAINING.value, DEPTH.value)
            else:
                self.emitter.to_interpreter(const(I64, target))

    def _label(self, pc: int, target: int) -> Label | None:
        """Where to branch to go on at `target`, if its code does not follow at once."""
        if target not in self.routine.members:
            return None
        if self.routine.order.is_back(pc, target):
            return self.loops[target]
        return self.ends[target] if target in self.routine.merges else None

    def _branch(self, node: Node, dirty: int) -> Steps:
        if node.target == node.next:
            yield self._edge(node.pc, node.next, dirty)
            return
        last = node.last
        condition = read(last.rs1).compare(_CONDITIONS[OPS[last.op].name], read(last.rs2))
        taken, other = self._label(node.pc, node.target), self._label(node.pc, node.next)
        if taken is not None:
            self.f.branch_if(taken, condition)
            yield self._edge(node.pc, node.next, dirty)
        elif other is not None:
            self.f.branch_if(other, condition.eqz())
            yield self._edge(node.pc, node.target, dirty)
        else:
            with self.f.if_(condition):
                yield self._edge(node.pc, node.target, dirty)
            yield self._edge(node.pc, node.next, dirty)

    def _call(self, node: Node, dirty: int) -> Steps:
        """Call, compare the pc that comes back, and go on or return, too."""
        f, emitter, back = self.f, self.emitter, const(I64, node.next)
        is_computed = node.exit is Exit.CALL_REGISTER
        if is_computed and emitter.version != VERSION0:
            f.set(TARGET, _register_target(node))
        emitter.write(node.link, back)
        if is_computed and emitter.version == VERSION0:  # writes the link before it reads the register
            f.set(TARGET, _register_target(node))
        emitter.spill(dirty | 1 << node.link)
        called = self.functions.get(node.target)
        if called is None:
            f.store(8, _ZERO, TARGET.value if is_computed else const(I64, node.target), at.PC)
            called = self.dispatch if is_computed else emitter.interpret
        f.call_into((TARGET, REMAINING), called, REMAINING.value, DEPTH.value - self.routine.frame)
        with f.if_(TARGET.value.compare("ne", back)):
            f.return_(TARGET.value, REMAINING.value)
        if node.next in self.routine.members:
            facts = self.routine.facts[node.next]
            self.return_sites.add(node.next)
            if node.next not in self.routine.loops:
                emitter.check_cycles(node.next, facts.bound, 0)
            emitter.reload(facts.live)
        yield self._edge(node.pc, node.next, 0)


def _register_target(node: Node) -> Value:
    return read(node.last.rs1) + node.last.imm & -2


def _run(steps: Steps) -> None:
    """Run steps which yield the steps that come in between: recursion as deep as the function is nested."""
    stack = [steps]
    while stack:
        inner = next(stack[-1], None)
        if inner is None:
            stack.pop()
        else:
            stack.append(inner)
