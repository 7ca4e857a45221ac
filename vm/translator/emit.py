"""The statements of one translated block.

What an instruction computes is said once, in `vm.wasm.handlers`; here its registers are locals instead of entries of a
decoded block.
"""

from dataclasses import dataclass
from typing import Final

from vm.constants import FLAG_DIRTY, FLAG_EXECUTABLE, MEMORY_SIZE, PAGE_SHIFT, PAGE_SIZE, VERSION0
from vm.isa.block import Block
from vm.isa.instruction import Instruction
from vm.isa.profile import Isa
from vm.isa.table import BY_NAME, CODE, OPS, Form
from vm.translator import layout as to
from vm.translator.flow import kind, registers, writes
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Label, Local, Module, Value, const, if_else, load
from vm.wasm.handlers import Handlers
from vm.wasm.operations import ATOMICS, LOADS, STORES
from vm.wasm.tables import Kind

_ZERO: Final = const(I32, 0)
_ZERO64: Final = const(I64, 0)
_CLEAN: Final = FLAG_DIRTY | FLAG_EXECUTABLE

# Locals of a translated function: its parameters, registers 1 to 31, four for `Handlers`, and the next pc.
REMAINING: Final = Local(I64, 0)
DEPTH: Final = Local(I32, 1)
_REGISTER_LOCALS: Final = tuple(Local(I64, index + 1) for index in range(32))  # that of x0 is not used
_SCRATCH: Final = tuple(Local(I64, 33 + index) for index in range(4))
TARGET: Final = Local(I64, 37)
RESUME: Final = Local(I32, 38)
LOCAL_TYPES: Final = [I64] * 36 + [I32]

_FIELDS: Final = {at.ENTRY_RD: "rd", at.ENTRY_RS1: "rs1", at.ENTRY_RS2: "rs2", at.ENTRY_RS3: "rs3", at.ENTRY_RS4: "rs4"}
_LOADS: Final = {CODE[name]: access for name, access in LOADS.items()}
_STORES: Final = {CODE[name]: size for name, size in STORES.items()}
_ATOMICS: Final = {CODE[name]: size for name, size in ATOMICS.items()}
_ACCESS_SIZE: Final = {op: size for op, (size, _) in _LOADS.items()} | _STORES | _ATOMICS
_WRITING: Final = {*_STORES, *(CODE[name] for name in ATOMICS if BY_NAME[name].form is not Form.UNARY)}
_AUIPC: Final = CODE["auipc"]


@dataclass(slots=True)
class Access:
    """Loads or stores of one block by the same value of a register: offsets [low, high). Checked at the first. What
    atomics do to memory is a load (lr) or a store (all others)."""

    is_store: bool
    base: int
    low: int
    high: int


def accesses(block: Block) -> dict[int, Access]:
    """What has to be checked, by the position of the instruction before which it is."""
    found: dict[int, Access] = {}
    current: dict[tuple[bool, int], Access] = {}
    for index, instruction in enumerate(block.instructions):
        size = _ACCESS_SIZE.get(instruction.op)
        if size is not None:
            key = (instruction.op in _WRITING, instruction.rs1)
            low, high = instruction.imm, instruction.imm + size
            known = current.get(key)
            if known is not None and max(known.high, high) - min(known.low, low) <= PAGE_SIZE:
                known.low, known.high = min(known.low, low), max(known.high, high)
            else:
                current[key] = found[index] = Access(key[0], key[1], low, high)
        for register in registers(writes(instruction)):
            current.pop((False, register), None)
            current.pop((True, register), None)
    return found


def entry_offset(block: Block, index: int) -> int:
    """Where the entry of an instruction lies in the block as `vm.wasm.decoder` decodes it."""
    entries = 0
    for instruction in block.instructions[:index]:
        form = kind(instruction)
        if form in {Kind.PURE, Kind.LOAD} and not instruction.rd:
            entries += 2 if form is Kind.LOAD else 0
        else:
            clears_zero = form is Kind.WIDE and not (instruction.rd and instruction.rs3)
            entries += 2 if clears_zero else 1
    return at.BLOCK_HEADER + at.ENTRY_SIZE * entries


def read(register: int) -> Value:
    """The value of a register, from its local."""
    return _REGISTER_LOCALS[register].value if register else _ZERO64


class BlockEmitter(Handlers):
    """Emits blocks into `f`, which changes from function to function."""

    def __init__(self, module: Module, interpret: Function, version: int, isa: Isa) -> None:
        nowhere = Function(0, (), ())
        super().__init__(module, nowhere, version, isa, Local(I32, 0), TARGET, Local(I32, 0))
        self.a, self.b, self.c, self.d = _SCRATCH
        self.interpret = interpret
        self._current = Instruction(0, 0, 0, 0, 0, 0)

    # What `Handlers` builds on

    def register(self, offset: int) -> Value:
        """As `Handlers.register`, from the local of the current instruction's register."""
        return read(getattr(self._current, _FIELDS[offset]))

    def write_register(self, offset: int, value: Value) -> None:
        """As `Handlers.write_register`, into the local."""
        self.write(getattr(self._current, _FIELDS[offset]), value)

    def immediate(self) -> Value:
        """The immediate of the current instruction, a constant."""
        return const(I64, self._current.imm)

    def write(self, register: int, value: Value) -> None:
        """Set the local of a register; writes to x0 are dropped."""
        if register:
            self.f.set(_REGISTER_LOCALS[register], value)

    def check_atomic(self, name: str) -> None:
        """Was done with the checks of the block."""

    # Carry chains, by additions of 128 bits: for those the processor keeps the carry in a flag.

    def _sum(self, left: Value, right: Value, more: Value = _ZERO64) -> None:
        """Set `c` to a sum and `d` to its carry plus `more`."""
        self.f.add_with_carry(self.c, self.d, left, right, more)

    def _adc(self) -> bool:
        self._sum(self.register(at.ENTRY_RD), self.register(at.ENTRY_RS1))
        self.f.set(self.a, self.c.value)
        self.f.set(self.b, self.d.value)
        self._sum(self.a.value, self.register(at.ENTRY_RS2))
        self.write_register(at.ENTRY_RD, self.c.value)
        self.write_register(at.ENTRY_RS2, self.d.value)
        self.write_register(at.ENTRY_RS1, self.b.value | self.d.value)
        return False

    def _adcs(self) -> bool:
        self._sum(self.register(at.ENTRY_RS1), self.register(at.ENTRY_RS2))
        self.write_register(at.ENTRY_RD, self.c.value)
        self.write_register(at.ENTRY_RS3, self.d.value)
        return False

    def _add3a(self) -> bool:
        return self._add3(at.ENTRY_RD, at.ENTRY_RS2)

    def _add3b(self) -> bool:
        return self._add3(at.ENTRY_RS2, at.ENTRY_RS1)

    def _add3c(self) -> bool:
        return self._add3(at.ENTRY_RS2, None)

    def _add3(self, right: int, carry: int | None) -> bool:
        """rd = rs1 + `right`; `carry` = its carry; rs3 = its carry + rs4, which is neither rd nor `carry`."""
        self.f.set(self.a, self.register(at.ENTRY_RS1))
        self._sum(self.a.value, self.register(right), self.register(at.ENTRY_RS4))
        self.write_register(at.ENTRY_RD, self.c.value)
        if carry is not None:
            self.write_register(carry, self.c.value.compare("lt_u", self.a.value).extend_u())
        self.write_register(at.ENTRY_RS3, self.d.value)
        return False

    # Registers and memory

    def spill(self, mask: int) -> None:
        """Write registers to memory."""
        for register in registers(mask):
            self.f.store(8, _ZERO, read(register), at.REGISTERS + 8 * register)

    def reload(self, mask: int) -> None:
        """Read registers from memory into their locals."""
        for register in registers(mask):
            self.write(register, load(I64, 8, _ZERO, at.REGISTERS + 8 * register))

    # Ways to the interpreter. Registers must be in memory.

    def to_interpreter(self, pc: Value) -> None:
        """Go on in the interpreter."""
        self.f.store(8, _ZERO, pc, at.PC)
        self.f.return_call(self.interpret, REMAINING.value, DEPTH.value)

    def leave_for_good(self, pc: int) -> None:
        """Go on in the interpreter until the run ends."""
        self.f.store(4, _ZERO, const(I32, 1), to.PURE)
        self.to_interpreter(const(I64, pc))

    def check_cycles(self, pc: int, bound: int, dirty: int) -> None:
        """Leave for good unless `bound` cycles remain: only the interpreter knows how a run ends in their lack."""
        with self.f.if_(REMAINING.value.compare("lt_u", bound)):
            self.spill(dirty)
            self.leave_for_good(pc)

    # Blocks

    def straight(self, pc: int, block: Block, dirty: int) -> None:
        """Charge a block and execute it up to a last instruction that jumps. `dirty`: as in `Facts`."""
        f = self.f
        if self.has_slots:
            slot = pc & ((at.SLOT_COUNT - 1) << 2)
            f.store(4, _ZERO, const(I32, pc + 1), at.SLOTS + slot)
        f.set(REMAINING, REMAINING.value - block.cost)
        checks = accesses(block)
        if not checks:
            self._instructions(pc, block, {}, {})
            return
        with f.block() as done:
            self._guarded(pc, block, dirty, checks, {}, done)
            f.store(4, _ZERO, RESUME.value, to.RESUME)
            self.to_interpreter(const(I64, pc))

    def _guarded(
        self, pc: int, block: Block, dirty: int, checks: dict[int, Access], slow: dict[int, Label], done: Label
    ) -> None:
        """The instructions, within a block for each check whose end is where the check leads to if it fails.

        From there the registers that became dirty since the check before are written to memory, and so on back to the
        first: all of them have their present values.
        """
        f = self.f
        if len(slow) == len(checks):
            self._instructions(pc, block, checks, slow)
            f.branch(done)
            return
        index = list(checks)[len(slow)]
        written = 0
        for instruction in block.instructions[max(slow, default=0) : index]:
            written |= writes(instruction)
        with f.block() as label:
            slow[index] = label
            self._guarded(pc, block, dirty, checks, slow, done)
        self.spill(written | (dirty if index == min(checks) else 0))

    def _instructions(self, pc: int, block: Block, checks: dict[int, Access], slow: dict[int, Label]) -> None:
        own = pc
        for index, instruction in enumerate(block.instructions):
            self._current = instruction
            if index in checks:
                self._check(checks[index], entry_offset(block, index), slow[index])
            self._execute(instruction, own)
            own += instruction.length

    def _execute(self, instruction: Instruction, own: int) -> None:
        form = kind(instruction)
        if instruction.op in _ATOMICS:
            self.table[instruction.op]()
        elif form is Kind.LOAD:
            if instruction.rd:
                size, signed = _LOADS[instruction.op]
                address, offset = self._address(instruction)
                self.write(instruction.rd, load(I64, size, address, at.GUEST + offset, signed))
        elif form is Kind.STORE:
            address, offset = self._address(instruction)
            self.f.store(_STORES[instruction.op], address, read(instruction.rs2), at.GUEST + offset)
        elif instruction.op == _AUIPC:
            self.write(instruction.rd, const(I64, own + instruction.imm))
        elif form is Kind.WIDE or (form is Kind.PURE and instruction.rd):
            self.table[instruction.op]()

    def _address(self, instruction: Instruction) -> tuple[Value, int]:
        """Address and constant offset of an access that has been checked."""
        base = read(instruction.rs1)
        if instruction.imm < 0:
            return (base + instruction.imm).wrap(), 0
        return base.wrap(), instruction.imm

    def _check(self, access: Access, resume: int, slow: Label) -> None:
        """Branch to `slow` unless accesses by this register are inside of the memory, for stores in writable pages.

        It may also happen when they are. Offsets from 0 on are added to the low half of the register, so the register
        itself must not lie below the memory. `resume`: where the interpreter is to begin, see `vm.translator.layout`.
        """
        f, base = self.f, read(access.base)
        low = min(access.low, 0)
        first = base + low if low else base
        limit = MEMORY_SIZE - (max(access.high, 0) - low)
        if self.version == VERSION0 and not access.is_store:
            limit -= 1
        is_outside = first.compare("gt_u", limit)
        if access.is_store:
            span = const(I32, access.high - access.low)
            claim = f.call(self._claim, base + access.low, span)
            is_refused = if_else(self._is_not_clean(base, access), claim, _ZERO)
            is_outside = if_else(is_outside, const(I32, 1), is_refused)
        with f.if_(is_outside):
            f.set(RESUME, resume)
            f.branch(slow)

    def _is_not_clean(self, base: Value, access: Access) -> Value:
        """Not 0 if a page that is stored to is executable or not yet dirty. At most two pages are."""

        def flag(offset: int) -> Value:
            address = (base + offset).wrap() if offset else base.wrap()
            return load(I32, 1, address.shr_u(PAGE_SHIFT), at.FLAGS)

        bits = flag(access.low) & _CLEAN ^ FLAG_DIRTY
        if access.high - access.low > 1:
            bits = bits | flag(access.high - 1) & _CLEAN ^ FLAG_DIRTY
        return bits


assert len(OPS) <= 0xFF  # noqa: S101
