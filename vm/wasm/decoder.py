"""Generates the decoder: guest code to blocks of entries, inside WebAssembly.

It does what `vm.isa.block` does, by the same tables: fetch with permission checks, decode, and collect up to 16
instructions, fused by `vm.wasm.fusion`.
"""

from typing import Final

from vm.constants import BLOCK_LIMIT, FLAG_EXECUTABLE, MEMORY_SIZE, PAGE_COUNT, PAGE_SHIFT, PAGE_SIZE
from vm.isa.table import CODE, Form
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Local, Module, Value, const, load
from vm.wasm.fusion import generate_fuse
from vm.wasm.status import Status
from vm.wasm.tables import FORM_NUMBER, GOTO, GROUP_BASE, JUMP_REGISTER, Kind

ZERO: Final = const(I32, 0)
_INFO_MATCH, _INFO_FORM, _INFO_KIND, _INFO_COST, _INFO_FUSES = 4, 8, 9, 10, 12
_OK: Final = const(I32, Status.OK)


def generate_decoder(module: Module, version: int) -> Function:
    """`decode_block(pc) -> address of the block`, or 0 after setting FAULT_STATUS. `pc` is in the memory."""
    decode_single = _generate_decode_single(module)
    fuse = generate_fuse(module, decode_single, version)
    return _generate_decode_block(module, decode_single, fuse, _generate_forget(module))


# One instruction


def _generate_decode_single(module: Module) -> Function:
    """`(pc, record) -> status`: decode the instruction at `pc`, unfused, into a record."""
    fetch = _generate_fetch(module)
    f = module.function((I32, I32), (I32,))
    pc, record = f.param(0), f.param(1)
    bits, status = f.local(I32), f.local(I32)
    f.store(4, record.value, pc.value, at.PART_PC)
    with f.if_(f.tee(status, f.call(fetch, pc.value))):
        f.return_(status.value)
    f.set(bits, load(I32, 4, ZERO, at.FAULT_BITS))
    with f.block() as invalid:
        with f.if_((bits.value & 3).compare("eq", 3)):
            f.store(4, record.value, const(I32, 4), at.PART_LENGTH)
            _decode_word(f, bits, record)
            f.else_()
            f.store(4, record.value, const(I32, 2), at.PART_LENGTH)
            f.store(8, record.value, load(I64, 8, bits.value << 3, at.COMPRESSED))
        f.branch_if(invalid, load(I32, 1, record.value).compare("eq", at.NO_OP))
        f.return_(_OK)
    f.store(4, ZERO, pc.value, at.FAULT_PC)
    f.return_(const(I32, Status.INVALID_INSTRUCTION))
    f.unreachable()
    return f


def _generate_fetch(module: Module) -> Function:
    """`pc -> status`: the 16 or 32 bits at `pc` go to FAULT_BITS."""
    f = module.function((I32,), (I32,))
    pc = f.param(0)
    bits = f.local(I32)
    with f.if_((pc.value & (PAGE_SIZE - 1)).compare("lt_u", PAGE_SIZE - 2)):
        _check_fetch(f, pc.value, 4)
        f.set(bits, load(I32, 4, pc.value, at.GUEST))
        with f.if_((bits.value & 3).compare("ne", 3)):
            f.set(bits, bits.value & 0xFFFF)
        f.else_()
        _check_fetch(f, pc.value, 2)
        f.set(bits, load(I32, 2, pc.value, at.GUEST))
        with f.if_((bits.value & 3).compare("eq", 3)):
            _check_fetch(f, pc.value + 2, 2)
            f.set(bits, bits.value | load(I32, 2, pc.value + 2, at.GUEST) << 16)
    f.store(4, ZERO, bits.value, at.FAULT_BITS)
    f.return_(_OK)
    f.unreachable()
    return f


def _check_fetch(f: Function, pc: Value, size: int) -> None:
    """Return a status unless the bytes at `pc` lie in executable pages."""
    for address in (pc, pc + (size - 1)):
        with f.if_(address.compare("ge_u", MEMORY_SIZE)):
            f.return_(const(I32, Status.OUT_OF_BOUND))
        with f.if_((load(I32, 1, address.shr_u(PAGE_SHIFT), at.FLAGS) & FLAG_EXECUTABLE).eqz()):
            f.return_(const(I32, Status.PERMISSION))


def _decode_word(f: Function, bits: Local, record: Local) -> None:
    """Put the instruction with 32 `bits` into a record; its op is NO_OP if there is none."""
    op, info = f.local(I32), f.local(I32)
    word = bits.value
    key = word.shr_u(2) & 31 | word.shr_u(12) << 5 & 0xE0 | word.shr_u(25) << 8
    f.set(op, load(I32, 1, key, at.WORD_OPS))
    with f.if_(op.value.compare("ne", at.NO_OP)):
        with f.if_(op.value.compare("ge_u", GROUP_BASE)):
            index = (op.value - GROUP_BASE) << 5 | word.shr_u(20) & 31
            f.set(op, load(I32, 1, index, at.GROUPS))
        f.set(info, op.value << 4)
        mask, match = load(I32, 4, info.value, at.OP_INFO), load(I32, 4, info.value, at.OP_INFO + _INFO_MATCH)
        with f.if_((word & mask).compare("ne", match)):
            f.set(op, at.NO_OP)
    f.store(1, record.value, op.value)
    with f.if_(op.value.compare("ne", at.NO_OP)):
        _operands(f, word, record.value, load(I32, 1, info.value, at.OP_INFO + _INFO_FORM))


_RD, _RS1, _RS2 = 7, 15, 20  # where register numbers begin
_REGISTERS_OF: Final = {
    Form.R: (_RD, _RS1, _RS2),
    Form.UNARY: (_RD, _RS1),
    Form.I: (_RD, _RS1),
    Form.SHIFT6: (_RD, _RS1),
    Form.SHIFT5: (_RD, _RS1),
    Form.S: (_RS1, _RS2),
    Form.B: (_RS1, _RS2),
    Form.U: (_RD,),
    Form.J: (_RD,),
    Form.NONE: (),
}


def _operands(f: Function, word: Value, record: Value, form: Value) -> None:
    """Take the operands of `word` apart; those that the form does not have become 0."""
    forms = list(_REGISTERS_OF)
    with f.block() as done:
        for kind in forms:
            with f.if_(form.compare("eq", FORM_NUMBER[kind])):
                for offset, position in ((1, _RD), (2, _RS1), (3, _RS2)):
                    present = position in _REGISTERS_OF[kind]
                    f.store(1, record, word.shr_u(position) & 31 if present else ZERO, offset)
                f.store(4, record, _immediate(kind, word), 4)
                f.branch(done)


def _immediate(form: Form, word: Value) -> Value:
    def bits(low: int, count: int, to: int) -> Value:
        return (word.shr_u(low) & ((1 << count) - 1)) << to

    match form:
        case Form.I:
            return word.shr_s(20)
        case Form.SHIFT6:
            return bits(20, 6, 0)
        case Form.SHIFT5:
            return bits(20, 5, 0)
        case Form.S:
            return word.shr_s(25) << 5 | bits(7, 5, 0)
        case Form.B:
            return word.shr_s(31) << 12 | bits(7, 1, 11) | bits(25, 6, 5) | bits(8, 4, 1)
        case Form.U:
            return word & 0xFFFF_F000
        case Form.J:
            return word.shr_s(31) << 20 | bits(12, 8, 12) | bits(20, 1, 11) | bits(21, 10, 1)
    return ZERO


# One block


class _BlockDecoder:
    """The statements of `decode_block`, with its local variables."""

    def __init__(self, f: Function) -> None:
        self.f = f
        self.pc = f.param(0)
        self.start, self.out, self.cursor = f.local(I32), f.local(I32), f.local(I32)
        self.cost, self.count, self.status = f.local(I32), f.local(I32), f.local(I32)
        self.kind, self.info, self.length = f.local(I32), f.local(I32), f.local(I32)
        self.behind, self.own = f.local(I32), f.local(I32)
        self.packed = f.local(I64)

    def emit(self, entry: Value) -> None:
        """Append an entry to the block."""
        self.f.store(8, self.out.value, entry)
        self.f.set(self.out, self.out.value + at.ENTRY_SIZE)

    def scaled(self) -> Value:
        """The instruction with register numbers times 8, as entries have them."""
        packed = self.packed.value
        registers = (packed & 0xFFFF_FF00) << 3  # numbers are below 32: nothing spills into the next byte
        return packed & 0xFF | registers | (packed.shr_u(32) << 32)

    def clear_zero_register(self) -> None:
        """Append an entry that makes x0 zero again."""
        self.emit(const(I64, CODE["lui"]))

    def field(self, offset: int) -> Value:
        return load(I32, 1, ZERO, at.RESULT + offset)

    def is_kind(self, kind: Kind) -> Value:
        return self.kind.value.compare("eq", kind)

    def begin(self, forget: Function) -> None:
        """Make room, and start an empty block."""
        f = self.f
        next_free = load(I32, 4, ZERO, at.ARENA_NEXT)
        with f.if_(f.tee(self.start, next_free).eqz()):
            f.set(self.start, at.ARENA)
        with f.if_(self.start.value.compare("gt_u", at.ARENA + at.ARENA_SIZE - at.MAX_BLOCK_SIZE)):
            f.call_statement(forget)  # full
            f.set(self.start, at.ARENA)
        f.set(self.out, self.start.value + at.BLOCK_HEADER)
        f.set(self.cursor, self.pc.value)

    def append_plain(self) -> None:
        """Entries of an instruction that does not end the block."""
        f = self.f
        with f.if_(self.kind.value.compare("le_u", Kind.LOAD) & self.field(at.PART_RD).eqz()):
            with f.if_(self.is_kind(Kind.LOAD)):  # may still fail; what it loads goes nowhere
                self.emit(self.scaled())
                self.clear_zero_register()
            f.else_()
            self.emit(self.scaled())
            with f.if_(self.is_kind(Kind.WIDE)):
                f.store(2, self.out.value - at.ENTRY_SIZE, self._scaled_rs3_rs4(), at.ENTRY_RS3)
                with f.if_(self.field(at.PART_RD).eqz() | self.field(at.PART_RS3).eqz()):
                    self.clear_zero_register()

    def _scaled_rs3_rs4(self) -> Value:
        return load(I32, 2, ZERO, at.RESULT + at.PART_RS3) << 3

    def append_last(self) -> None:
        """The entry that ends the block. `behind` and `own` are set."""
        f = self.f
        f.store(4, self.out.value, self.behind.value, at.ENTRY_NEXT)
        f.store(4, self.out.value, self.own.value, at.ENTRY_SELF)
        f.store(8, self.out.value, self.scaled())
        target = self.own.value + load(I32, 4, ZERO, at.RESULT + at.PART_IMM)
        has_no_rd = self.field(at.PART_RD).eqz()
        with f.block() as done:
            with f.if_(self.is_kind(Kind.BRANCH) | self.is_kind(Kind.JUMP)):
                f.store(4, self.out.value, target, at.ENTRY_IMM)
                with f.if_(self.is_kind(Kind.JUMP) & has_no_rd):
                    f.store(1, self.out.value, const(I32, GOTO))
                f.branch(done)
            with f.if_(self.is_kind(Kind.JUMP_REGISTER) & has_no_rd):
                f.store(1, self.out.value, const(I32, JUMP_REGISTER))
            falls_through = self.kind.value.compare("lt_u", Kind.BRANCH) | self.is_kind(Kind.IDLE)
            with f.if_(falls_through | self.is_kind(Kind.PC_RELATIVE) & has_no_rd):
                f.store(1, self.out.value, const(I32, GOTO))
                f.store(4, self.out.value, self.behind.value, at.ENTRY_IMM)
        f.set(self.out, self.out.value + 2 * at.ENTRY_SIZE)


def _generate_forget(module: Module) -> Function:
    """`() -> 0`: forget all blocks. They begin on executable pages only; to clear the tables of the others would make
    all 16 MiB resident."""
    f = module.function((), (I32,))
    page, start = f.local(I32), f.local(I32)
    size = const(I32, at.BLOCKS_PAGE_SIZE)
    with f.loop() as next_page:
        with f.if_(load(I32, 1, page.value, at.FLAGS) & FLAG_EXECUTABLE):
            f.set(start, page.value * at.BLOCKS_PAGE_SIZE)
            f.memory_fill(start.value + at.BLOCKS, ZERO, size)
            f.memory_fill(start.value + at.BLOCKS_ODD, ZERO, size)
        f.set(page, page.value + 1)
        f.branch_if(next_page, page.value.compare("lt_u", PAGE_COUNT))
    f.return_(ZERO)
    f.unreachable()
    return f


def _generate_decode_block(module: Module, decode_single: Function, fuse: Function, forget: Function) -> Function:
    f = module.function((I32,), (I32,))
    d = _BlockDecoder(f)
    d.begin(forget)
    with f.loop() as following:
        with f.if_(f.tee(d.status, f.call(decode_single, d.cursor.value, const(I32, at.PARTS)))):
            f.store(4, ZERO, d.status.value, at.FAULT_STATUS)
            f.return_(ZERO)
        _take_result(f, d, fuse)
        f.set(d.cost, d.cost.value + load(I32, 2, d.info.value, at.OP_INFO + _INFO_COST))
        f.set(d.cursor, d.cursor.value + d.length.value)
        f.set(d.count, d.count.value + 1)
        with f.if_(d.kind.value.compare("lt_u", Kind.BRANCH)):
            d.append_plain()
            f.branch_if(following, d.count.value.compare("lt_u", BLOCK_LIMIT))
    # The length of a block is kept in 8 bits, see the reference engine.
    f.set(d.behind, (d.cursor.value - d.pc.value) & 0xFF)
    with f.if_(d.behind.value.eqz()):
        f.store(4, ZERO, const(I32, Status.STALLED), at.FAULT_STATUS)
        f.return_(ZERO)
    f.set(d.behind, d.behind.value + d.pc.value)
    f.set(d.own, d.behind.value - d.length.value)
    d.append_last()
    f.store(4, d.start.value, d.cost.value, at.BLOCK_COST)
    table = (d.pc.value & 1) * (at.BLOCKS_ODD - at.BLOCKS)
    f.store(4, table + (d.pc.value.shr_u(1) << 2), d.start.value, at.BLOCKS)
    f.store(4, ZERO, d.out.value, at.ARENA_NEXT)
    f.return_(d.start.value)
    f.unreachable()
    return f


def _take_result(f: Function, d: _BlockDecoder, fuse: Function) -> None:
    """Fuse what begins with the first part, and set the locals that describe the result."""
    f.set(d.packed, load(I64, 8, ZERO, at.PARTS))
    f.set(d.length, load(I32, 4, ZERO, at.PARTS + at.PART_LENGTH))
    f.set(d.info, (d.packed.value.wrap() & 0xFF) << 4)
    f.store(8, ZERO, d.packed.value, at.RESULT)
    with f.if_(load(I32, 1, d.info.value, at.OP_INFO + _INFO_FUSES)):
        f.call_statement(fuse)
        f.set(d.packed, load(I64, 8, ZERO, at.RESULT))
        f.set(d.length, load(I32, 4, ZERO, at.RESULT + at.PART_LENGTH))
        f.set(d.info, (d.packed.value.wrap() & 0xFF) << 4)
    f.set(d.kind, load(I32, 1, d.info.value, at.OP_INFO + _INFO_KIND))
