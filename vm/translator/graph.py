"""From guest code to blocks, and from blocks to functions.

Blocks are those of `vm.isa.block`, exactly as the interpreter would enter them: what is charged together, and what is
decoded before anything of it runs, is the same in every engine. Blocks may overlap in memory; each start address has
one block, and each block belongs to one function.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from vm.constants import MEMORY_SIZE, U64_MASK
from vm.errors import VmError
from vm.isa.block import Block, decode_block
from vm.isa.instruction import Instruction
from vm.isa.profile import Isa
from vm.isa.table import BY_NAME, CODE, OPS, Form
from vm.memory import Memory
from vm.registers import RA
from vm.translator.limits import Limits, TooLargeError

_LINK_REGISTERS: Final = (1, 5)  # ra and t0: jumping to what they hold is a return
_MAX_BLOCK_LENGTH: Final = 0xFF  # longer ones are left to the interpreter: their length wraps, see the reference engine
_FAR_JUMPS: Final = (CODE["far_jump_rel"], CODE["far_jump_abs"])
_JAL, _JALR, _ECALL, _AUIPC = CODE["jal"], CODE["jalr"], CODE["ecall"], CODE["auipc"]
_BRANCHES: Final = frozenset(spec.code for spec in OPS if spec.form is Form.B)
_LOAD_IMM, _ADDI = CODE["load_imm"], CODE["addi"]
_MAX_TABLE: Final = 1024  # entries of a jump table


class Exit(Enum):
    """How a block ends."""

    GO = "goes on at `target`"
    BRANCH = "goes on at `target` or at `next`"
    CALL = "calls `target`, which may return to `next`"
    CALL_REGISTER = "calls what a register says"
    RETURN = "returns to what a register says"
    JUMP_REGISTER = "goes on where a register says"
    ECALL = "leaves to the host, which may go on at `next`"


@dataclass(slots=True)
class Node:
    """A block at `pc`. `next` lies behind it; `target` is where its last instruction leads, if that is known."""

    pc: int
    block: Block
    exit: Exit
    next: int
    target: int = -1

    @property
    def last(self) -> Instruction:
        """The last instruction of the block."""
        return self.block.instructions[-1]

    @property
    def link(self) -> int:
        """The register that a call writes its return address to."""
        return RA if self.last.op in _FAR_JUMPS else self.last.rd

    def flow(self) -> tuple[int, ...]:
        """Addresses where the same function may go on. A call goes on behind it."""
        match self.exit:
            case Exit.GO:
                return (self.target,)
            case Exit.BRANCH:
                return (self.target, self.next) if self.target != self.next else (self.next,)
            case Exit.CALL | Exit.CALL_REGISTER:
                return (self.next,)
        return ()


@dataclass(slots=True)
class Graph:
    """All blocks by address; `owners` gives the function of each block by its first address."""

    nodes: dict[int, Node]
    owners: dict[int, int]

    def functions(self) -> dict[int, list[int]]:
        """The blocks of each function."""
        found: dict[int, list[int]] = {}
        for pc, owner in self.owners.items():
            found.setdefault(owner, []).append(pc)
        return found


class _KnownCode:
    """The code of a program. Whether a fetch went beyond it is remembered: there, other code may be at run time."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.went_outside = False

    def execute_load16(self, address: int) -> int:
        try:
            return self._memory.execute_load16(address)
        except VmError:
            self.went_outside = True
            raise

    def execute_load32(self, address: int) -> int:
        try:
            return self._memory.execute_load32(address)
        except VmError:
            self.went_outside = True
            raise


def read_block(memory: Memory, pc: int, version: int, isa: Isa) -> Node | None:
    """The block at `pc`, or None if it has to be left to the interpreter."""
    if pc & 1 or not 0 <= pc < MEMORY_SIZE:
        return None
    code = _KnownCode(memory)
    try:
        block = decode_block(code, pc, version, isa)
    except VmError:
        return None
    if code.went_outside or block.length > _MAX_BLOCK_LENGTH:
        return None
    return _node(pc, block)


def _node(pc: int, block: Block) -> Node:
    behind = pc + block.length
    last = block.instructions[-1]
    own = behind - last.length
    if last.op in _BRANCHES:
        return Node(pc, block, Exit.BRANCH, behind, (own + last.imm) & U64_MASK)
    if last.op == _JAL:
        exit_ = Exit.CALL if last.rd else Exit.GO
        return Node(pc, block, exit_, behind, (own + last.imm) & U64_MASK)
    if last.op in _FAR_JUMPS:
        base = own if last.op == _FAR_JUMPS[0] else 0
        return Node(pc, block, Exit.CALL, behind, (base + last.imm) & U64_MASK & ~1)
    if last.op == _JALR:
        if last.rd:
            return Node(pc, block, Exit.CALL_REGISTER, behind)
        return Node(pc, block, Exit.RETURN if last.rs1 in _LINK_REGISTERS else Exit.JUMP_REGISTER, behind)
    if last.op == _ECALL:
        return Node(pc, block, Exit.ECALL, behind)
    return Node(pc, block, Exit.GO, behind, behind)


class _Discovery:
    """Finds all blocks that can be reached from some addresses, and addresses that code takes of other code."""

    def __init__(self, memory: Memory, version: int, isa: Isa, limits: Limits) -> None:
        self.memory, self.version, self.isa, self.limits = memory, version, isa, limits
        self.nodes: dict[int, Node] = {}
        self.calls: set[int] = set()
        self.constants: set[int] = set()
        self._refused: set[int] = set()
        self._instructions = 0

    def add(self, addresses: Iterable[int]) -> None:
        """Read what is reachable from here. Raises TooLargeError."""
        work = list(addresses)
        while work:
            pc = work.pop()
            if pc in self.nodes or pc in self._refused:
                continue
            node = read_block(self.memory, pc, self.version, self.isa)
            if node is None:
                self._refused.add(pc)
                continue
            self.nodes[pc] = node
            self._instructions += len(node.block.instructions)
            if len(self.nodes) > self.limits.blocks or self._instructions > self.limits.instructions:
                raise TooLargeError
            work.extend(node.flow())
            self._note(node)
            if node.exit is Exit.CALL:
                work.append(node.target)
            if node.exit is Exit.ECALL:
                work.append(node.next)

    def _note(self, node: Node) -> None:
        if node.exit is Exit.CALL:
            self.calls.add(node.target)
        previous = None
        for instruction in node.block.instructions:
            if instruction.op == _LOAD_IMM:
                self.constants.add(instruction.imm)
            elif instruction.op == _ADDI and previous is not None and previous.op == CODE["lui"]:
                self.constants.add(previous.imm + instruction.imm)
            previous = instruction

    def relative_constants(self) -> Iterator[int]:
        """Sums of an auipc, which ends a block, and of the first instruction of the next block."""
        for node in list(self.nodes.values()):
            following = self.nodes.get(node.next)
            if node.last.op != _AUIPC or following is None:
                continue
            use = following.block.instructions[0]
            if use.rs1 == node.last.rd and use.op in {_ADDI, _JALR, BY_NAME["ld"].code, BY_NAME["lw"].code}:
                yield node.next - node.last.length + node.last.imm + use.imm


def discover(memory: Memory, entry: int, pointers: Iterable[int], version: int, isa: Isa, limits: Limits) -> Graph:
    """Read a program and part it into functions. Raises TooLargeError.

    `pointers`: addresses that may be called from anywhere, as far as they are code.
    """
    discovery = _Discovery(memory, version, isa, limits)
    roots = {entry, *pointers}
    discovery.add(roots)
    while True:  # until no more code is found through addresses that code takes
        taken = discovery.constants | set(discovery.relative_constants())
        for constant in list(taken):
            taken.update(_table_targets(memory, constant))
        if taken <= roots:
            break
        roots |= taken
        discovery.add(taken)
    nodes = discovery.nodes
    roots |= discovery.calls
    roots.update(node.next for node in nodes.values() if node.exit is Exit.ECALL)
    roots.update(_suspendable_returns(nodes))
    return Graph(nodes, _owners(nodes, {root for root in roots if root in nodes}, limits))


def _table_targets(memory: Memory, address: int) -> Iterator[int]:
    """Targets of the jump table at an address, if there seems to be one: offsets of 32 bits relative to it."""
    for index in range(_MAX_TABLE):
        position = address + 4 * index
        if not 0 <= position <= MEMORY_SIZE - 4:
            return
        offset = int.from_bytes(memory.data[position : position + 4], "little", signed=True)
        target = address + offset
        try:
            memory.execute_load16(target & U64_MASK)
        except VmError:
            return
        if offset == 0 or target & 1:
            return
        yield target


def _suspendable_returns(nodes: dict[int, Node]) -> Iterator[int]:
    """Return addresses of calls within which the run may be left for the host.

    After that, no caller waits any more, so functions begin there. To other calls their caller's code waits to return.
    """
    callers: dict[int, set[int]] = {}  # by callee
    suspending: list[int] = []
    reached = _reachable_calls(nodes)
    for function, (callees, suspends) in reached.items():
        for callee in callees:
            callers.setdefault(callee, set()).add(function)
        if suspends:
            suspending.append(function)
    found = set(suspending)
    while suspending:
        for caller in callers.get(suspending.pop(), ()):
            if caller not in found:
                found.add(caller)
                suspending.append(caller)
    for node in nodes.values():
        if node.exit is Exit.CALL_REGISTER or (
            node.exit is Exit.CALL and (node.target in found or node.target not in nodes)
        ):
            yield node.next


def _reachable_calls(nodes: dict[int, Node]) -> dict[int, tuple[set[int], bool]]:
    """For each block: the blocks whose suspending makes it suspending, and whether it suspends by itself."""
    found: dict[int, tuple[set[int], bool]] = {}
    for pc, node in nodes.items():
        following = set(node.flow())
        if node.exit is Exit.CALL:
            following.add(node.target)
        unknown = node.exit in {Exit.ECALL, Exit.CALL_REGISTER, Exit.JUMP_REGISTER}
        found[pc] = (following, unknown or any(target not in nodes for target in following))
    return found


def _owners(nodes: dict[int, Node], roots: set[int], limits: Limits) -> dict[int, int]:
    """The function of each block. More functions are begun where two of them meet, where control flow cannot be
    structured, and where one is too large."""
    for _ in range(limits.rounds):
        owners, meeting = _spread(nodes, roots)
        if not meeting:
            meeting = _cuts(nodes, owners, limits)
        if not meeting:
            break
        roots |= meeting
    else:
        owners, _ = _spread(nodes, set(nodes))
    if len(set(owners.values())) > limits.functions:
        raise TooLargeError
    return owners


def _spread(nodes: dict[int, Node], roots: set[int]) -> tuple[dict[int, int], set[int]]:
    """Blocks by the root from which they are reached, and blocks that are reached from several roots."""
    owners = {root: root for root in roots}
    meeting: set[int] = set()
    work = sorted(roots)
    while work:
        pc = work.pop()
        for target in nodes[pc].flow():
            if target in nodes and target not in roots:
                known = owners.get(target)
                if known is None:
                    owners[target] = owners[pc]
                    work.append(target)
                elif known != owners[pc]:
                    meeting.add(target)
    return owners, meeting


def _cuts(nodes: dict[int, Node], owners: dict[int, int], limits: Limits) -> set[int]:
    """Blocks at which functions have to be cut."""
    cuts: set[int] = set()
    for entry, members in Graph(nodes, owners).functions().items():
        too_far = _size_cuts(nodes, _reverse_postorder(nodes, entry, set(members)), limits)
        # Dominators of large functions would take long, and most of what is irreducible may be cut already.
        cuts |= too_far or Order.of(nodes, entry, set(members)).irreducible_targets()
    return cuts


def _size_cuts(nodes: dict[int, Node], blocks: list[int], limits: Limits) -> set[int]:
    """Blocks at which new functions begin, so that no function has too many blocks."""
    cuts: set[int] = set()
    count = instructions = 0
    for pc in blocks:
        size = len(nodes[pc].block.instructions)
        count += 1
        instructions += size
        if count > limits.function_blocks or instructions > limits.function_instructions:
            cuts.add(pc)
            count, instructions = 1, size
    return cuts


def _reverse_postorder(nodes: dict[int, Node], entry: int, members: set[int]) -> list[int]:
    """The members of a function in an order in which, without loops, each comes before those that it leads to."""
    postorder: list[int] = []
    seen = {entry}
    stack = [(entry, iter(nodes[entry].flow()))]
    while stack:
        pc, targets = stack[-1]
        for target in targets:
            if target in members and target not in seen:
                seen.add(target)
                stack.append((target, iter(nodes[target].flow())))
                break
        else:
            postorder.append(pc)
            stack.pop()
    return postorder[::-1]


@dataclass(slots=True)
class Order:
    """The blocks of a function in reverse postorder, their positions in it, and edges within the function."""

    blocks: list[int]
    position: dict[int, int]
    predecessors: dict[int, list[int]]
    dominator: dict[int, int]  # the immediate dominator; of the entry, itself

    @classmethod
    def of(cls, nodes: dict[int, Node], entry: int, members: set[int]) -> "Order":
        """Of the function that begins at `entry`: its members are reached through members only."""
        blocks = _reverse_postorder(nodes, entry, members)
        predecessors: dict[int, list[int]] = {pc: [] for pc in blocks}
        for pc in blocks:
            for target in nodes[pc].flow():
                if target in members:
                    predecessors[target].append(pc)
        position = {pc: index for index, pc in enumerate(blocks)}
        return cls(blocks, position, predecessors, _dominators(blocks, position, predecessors))

    def is_back(self, source: int, target: int) -> bool:
        """Whether an edge leads back in the order."""
        return self.position[target] <= self.position[source]

    def dominates(self, above: int, below: int) -> bool:
        """Whether every way to `below` leads through `above`."""
        while self.position[below] > self.position[above]:
            below = self.dominator[below]
        return above == below

    def irreducible_targets(self) -> set[int]:
        """Targets of edges that lead back to where not all ways came through."""
        return {
            target
            for target, sources in self.predecessors.items()
            for source in sources
            if self.is_back(source, target) and not self.dominates(target, source)
        }


def _dominators(blocks: list[int], position: dict[int, int], predecessors: dict[int, list[int]]) -> dict[int, int]:
    """Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm."""
    dominator = {blocks[0]: blocks[0]}
    changed = True
    while changed:
        changed = False
        for pc in blocks[1:]:
            new = -1
            for source in predecessors[pc]:
                if source in dominator:
                    new = source if new < 0 else _common(source, new, position, dominator)
            if dominator.get(pc) != new:
                dominator[pc] = new
                changed = True
    return dominator


def _common(a: int, b: int, position: dict[int, int], dominator: dict[int, int]) -> int:
    while a != b:
        while position[a] > position[b]:
            a = dominator[a]
        while position[b] > position[a]:
            b = dominator[b]
    return a
