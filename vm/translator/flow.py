"""What is known about one function before its code is emitted.

Sets of registers are bit masks; x0 is in none.
"""

from dataclasses import dataclass, field
from typing import Final

from vm.isa.instruction import Instruction
from vm.isa.table import CODE, OPS, Form
from vm.translator.graph import Exit, Graph, Node, Order
from vm.wasm.tables import Kind, kind_of

# Which operands an op reads and writes, as names of fields.
_THREE_MORE: Final = {
    "adc": (("rd", "rs1", "rs2"), ("rd", "rs1", "rs2")),
    "sbb": (("rd", "rs1", "rs2"), ("rd", "rs1", "rs2", "rs3")),
    "adcs": (("rs1", "rs2"), ("rd", "rs3")),
    "sbbs": (("rs1", "rs2"), ("rd", "rs3")),
    "add3a": (("rd", "rs1", "rs4"), ("rd", "rs2", "rs3")),
    "add3b": (("rs1", "rs2", "rs4"), ("rd", "rs1", "rs3")),
    "add3c": (("rs1", "rs2", "rs4"), ("rd", "rs3")),
    **dict.fromkeys(("wide_mul", "wide_mulu", "wide_mulsu", "wide_div", "wide_divu"), (("rs1", "rs2"), ("rd", "rs3"))),
    "load_imm": ((), ("rd",)),
    "far_jump_rel": ((), ()),  # ra is written by the call, see `vm.translator.emit`
    "far_jump_abs": ((), ()),
}
_READS: Final = {
    Form.R: ("rs1", "rs2"),
    Form.I: ("rs1",),
    Form.SHIFT6: ("rs1",),
    Form.SHIFT5: ("rs1",),
    Form.UNARY: ("rs1",),
    Form.S: ("rs1", "rs2"),
    Form.B: ("rs1", "rs2"),
}
_WITHOUT_RESULT: Final = (Form.S, Form.B, Form.NONE)
_NOT_BEFORE_CALL: Final = (CODE["jal"], CODE["jalr"])

_FIELDS: Final = tuple(
    _THREE_MORE.get(spec.name, (_READS.get(spec.form, ()), () if spec.form in _WITHOUT_RESULT else ("rd",)))
    for spec in OPS
)
_KINDS: Final = tuple(kind_of(spec) for spec in OPS)

_FRAME: Final = 1024  # bytes: the least that is assumed of a native stack frame
_FRAME_PER_INSTRUCTION: Final = 8


def kind(instruction: Instruction) -> Kind:
    """How the interpreter groups the op."""
    return _KINDS[instruction.op]


def reads(instruction: Instruction) -> int:
    """The registers that an instruction reads."""
    mask = 0
    for name in _FIELDS[instruction.op][0]:
        mask |= 1 << getattr(instruction, name)
    return mask & ~1


def writes(instruction: Instruction) -> int:
    """The registers that an instruction writes; of a jump, none, see `vm.translator.emit`."""
    if instruction.op in _NOT_BEFORE_CALL:
        return 0
    mask = 0
    for name in _FIELDS[instruction.op][1]:
        mask |= 1 << getattr(instruction, name)
    return mask & ~1


def registers(mask: int) -> list[int]:
    """The members of a set."""
    return [index for index in range(1, 32) if mask >> index & 1]


@dataclass(slots=True)
class Facts:
    """About one block: registers that it reads before it writes them, and that it writes; those whose values at its
    beginning may not be in memory (`dirty`), and those that must be in their local there (`live`); whether it is
    checked there that enough cycles remain, and how many may be used up to the next check (`bound`)."""

    reads: int = 0
    writes: int = 0
    dirty: int = 0
    live: int = 0
    bound: int = 0


@dataclass(slots=True)
class Routine:
    """One function: its blocks in order, and what is known of them."""

    entry: int
    order: Order
    nodes: dict[int, Node]
    members: frozenset[int]
    facts: dict[int, Facts]
    loops: set[int] = field(default_factory=set)
    merges: set[int] = field(default_factory=set)
    frame: int = _FRAME  # bytes of native stack that are counted for it

    def flow(self, pc: int) -> list[int]:
        """Where a block goes on within the function."""
        return [target for target in self.nodes[pc].flow() if target in self.members]

    def dirty_behind(self, pc: int) -> int:
        """Registers that may not be in memory at the end of a block."""
        return self.facts[pc].dirty | self.facts[pc].writes


def analyse(graph: Graph, entry: int, members: list[int]) -> Routine:
    """Everything about the function that begins at `entry`. Its control flow must be reducible."""
    order = Order.of(graph.nodes, entry, set(members))
    facts = {pc: _block_facts(graph.nodes[pc]) for pc in order.blocks}
    routine = Routine(entry, order, graph.nodes, frozenset(order.blocks), facts)
    for pc in order.blocks:
        sources = order.predecessors[pc]
        backward = sum(order.is_back(source, pc) for source in sources)
        if backward:
            routine.loops.add(pc)
        if len(sources) - backward >= 2:
            routine.merges.add(pc)
    instructions = sum(len(graph.nodes[pc].block.instructions) for pc in order.blocks)
    routine.frame = _FRAME + _FRAME_PER_INSTRUCTION * instructions
    _find_dirty(routine)
    _find_live(routine)
    _find_bounds(routine)
    return routine


def _block_facts(node: Node) -> Facts:
    facts = Facts()
    for instruction in node.block.instructions:
        facts.reads |= reads(instruction) & ~facts.writes
        facts.writes |= writes(instruction)
    return facts


def _leaves_memory_current(node: Node) -> bool:
    """Whether all registers are in memory where the block goes on."""
    return node.exit in {Exit.CALL, Exit.CALL_REGISTER}


def _find_dirty(routine: Routine) -> None:
    work = list(routine.order.blocks)
    while work:
        pc = work.pop()
        if _leaves_memory_current(routine.nodes[pc]):
            continue
        behind = routine.dirty_behind(pc)
        for target in routine.flow(pc):
            facts = routine.facts[target]
            if behind & ~facts.dirty:
                facts.dirty |= behind
                work.append(target)


def _find_live(routine: Routine) -> None:
    """What is dirty is written to memory sooner or later, so it must be in its local all the way."""
    changed = True
    while changed:
        changed = False
        for pc in reversed(routine.order.blocks):
            facts = routine.facts[pc]
            behind = routine.dirty_behind(pc)
            if not _leaves_memory_current(routine.nodes[pc]):
                for target in routine.flow(pc):
                    behind |= routine.facts[target].live
            live = (behind & ~facts.writes | facts.reads | facts.dirty) & ~1
            if live != facts.live:
                facts.live = live
                changed = True


def _find_bounds(routine: Routine) -> None:
    for pc in reversed(routine.order.blocks):
        node = routine.nodes[pc]
        bound = 0
        if not _leaves_memory_current(node):  # behind a call there is a check
            for target in routine.flow(pc):
                if target not in routine.loops:
                    bound = max(bound, routine.facts[target].bound)
        routine.facts[pc].bound = node.block.cost + bound
