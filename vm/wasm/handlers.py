"""Generates what each instruction does, inside WebAssembly.

A handler reads the entry at `ip`. Those of plain instructions fall through to the next entry; those that end a block
set the local `target` and say so.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from vm.constants import FLAG_DIRTY, FLAG_EXECUTABLE, MEMORY_SIZE, PAGE_SHIFT, PAGE_SIZE, VERSION0, VERSION2
from vm.isa.profile import Isa
from vm.isa.table import BY_NAME, CODE, Extension, Form
from vm.registers import RA
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Label, Local, Module, Value, const, load, select
from vm.wasm.operations import (
    ATOMIC_RESULTS,
    ATOMICS,
    BINARY,
    BRANCHES,
    DIVISIONS,
    IMMEDIATE,
    LOADS,
    STORES,
    UNARY,
    Unary,
    low32,
)
from vm.wasm.status import Status
from vm.wasm.tables import GOTO, JUMP_REGISTER

_MULTIPLY_DIVIDE: Final = (
    *("mulh", "mulhu", "mulhsu"),
    *("div", "divu", "rem", "remu", "divw", "divuw", "remw", "remuw"),
)
_WIDE: Final = ("wide_mul", "wide_mulu", "wide_mulsu", "wide_div", "wide_divu")
_ALONE: Final = ("adc", "sbb", "adcs", "sbbs", "add3a", "add3b", "add3c", "jal", "jalr", "auipc", "ecall")
"""Each has a method of its name."""
_ALONE_ELSEWHERE: Final = ("far_jump_rel", "far_jump_abs", "slliuw", "clmul", "clmulh", "clmulr")
"""The same, with `_` behind the name."""


class Handlers:
    """The statements of all handlers, within the function `f`. `leave` is where a set `status` is returned."""

    def __init__(
        self, module: Module, f: Function, version: int, isa: Isa, ip: Local, target: Local, status: Local
    ) -> None:
        self.f = f
        self.version, self.isa = version, isa
        self.ip, self.target, self.status = ip, target, status
        # Whether it can be observed which blocks are cached, so that the pc may have a high half; see the reference.
        self.has_slots = version < VERSION2
        self.high = f.local(I64)
        self.a, self.b, self.c, self.d = (f.local(I64) for _ in range(4))
        self.leave = Label(0)
        self._claim = _generate_claim(module)
        self._clmul = _generate_clmul(module, reverse=False)
        self._clmulr = _generate_clmul(module, reverse=True)
        self.table = self._collect()

    def _collect(self) -> dict[int, Callable[[], bool]]:
        """What emits the handler of each op; it returns whether the handler ends the block."""
        kinds: tuple[tuple[Iterable[str], Callable[[str], bool]], ...] = (
            (BINARY, self._binary),
            (IMMEDIATE, self._binary_with_immediate),
            (UNARY, self._unary),
            (LOADS, self._load),
            (STORES, self._store),
            (BRANCHES, self._branch),
            (_MULTIPLY_DIVIDE, self._multiply_divide),
            (_WIDE, self._wide),
            (ATOMICS if self.isa.has(Extension.A, self.version) else (), self._atomic),
        )
        table: dict[str, Callable[[], bool]] = {name: partial(emit, name) for names, emit in kinds for name in names}
        table |= {name: getattr(self, f"_{name}") for name in _ALONE}
        table |= {name: getattr(self, f"_{name}_") for name in _ALONE_ELSEWHERE}
        table["lui"] = table["load_imm"] = lambda: self._write(self.immediate())
        table["fence"] = table["fencei"] = table["ebreak"] = self._unreachable  # decoded to GOTO
        codes = {CODE[name]: handler for name, handler in table.items()}
        return codes | {GOTO: self._goto, JUMP_REGISTER: self._jump_register}

    def _binary(self, name: str) -> bool:
        return self._write(BINARY[name](*self._sources()))

    def _binary_with_immediate(self, name: str) -> bool:
        return self._write(BINARY[IMMEDIATE[name]](*self._source_and_immediate()))

    def _unary(self, name: str) -> bool:
        return self._write(UNARY[name](self._local(self.a, self.register(at.ENTRY_RS1))))

    # Access to the entry

    def entry_byte(self, offset: int) -> Value:
        """A byte of the entry."""
        return load(I32, 1, self.ip.value, offset)

    def register(self, offset: int) -> Value:
        """The register whose scaled number is at `offset` of the entry."""
        return load(I64, 8, self.entry_byte(offset), at.REGISTERS)

    def immediate(self) -> Value:
        """The immediate of the entry, sign-extended."""
        return load(I64, 4, self.ip.value, at.ENTRY_IMM, signed=True)

    def write_register(self, offset: int, value: Value) -> None:
        """Set the register whose scaled number is at `offset` of the entry."""
        self.f.store(8, self.entry_byte(offset), value, at.REGISTERS)

    def _write(self, value: Value) -> bool:
        self.write_register(at.ENTRY_RD, value)
        return False

    def _local(self, local: Local, value: Value) -> Value:
        self.f.set(local, value)
        return local.value

    def _sources(self) -> tuple[Value, Value]:
        """rs1 and rs2, in locals so that they may be used more than once."""
        return (
            self._local(self.a, self.register(at.ENTRY_RS1)),
            self._local(self.b, self.register(at.ENTRY_RS2)),
        )

    def _source_and_immediate(self) -> tuple[Value, Value]:
        return self.register(at.ENTRY_RS1), self.immediate()

    def _unreachable(self) -> bool:
        self.f.unreachable()
        return True

    def _fail(self, status: Status) -> None:
        self.f.set(self.status, status)
        self.f.branch(self.leave)

    # Memory

    def _load(self, name: str) -> bool:
        size, signed = LOADS[name]
        limit = MEMORY_SIZE - size - (1 if self.version == VERSION0 else 0)  # version 0: never the last byte
        address = self.f.tee(self.a, self.register(at.ENTRY_RS1) + self.immediate())
        with self.f.if_(address.compare("gt_u", limit)):
            self._fail(Status.OUT_OF_BOUND)
        return self._write(load(I64, size, self.a.value.wrap(), at.GUEST, signed))

    def _store(self, name: str) -> bool:
        f, size = self.f, STORES[name]
        address = self.a.value
        f.set(self.a, self.register(at.ENTRY_RS1) + self.immediate())
        with f.block() as checked:
            with f.block() as unusual:
                f.branch_if(unusual, address.compare("gt_u", MEMORY_SIZE - size))
                flag = load(I32, 1, address.wrap().shr_u(PAGE_SHIFT), at.FLAGS)
                wrong = flag & (FLAG_DIRTY | FLAG_EXECUTABLE) ^ FLAG_DIRTY
                if size > 1:
                    last_byte = (address.wrap() & (PAGE_SIZE - 1)) + (size - 1)
                    wrong = wrong | last_byte.shr_u(PAGE_SHIFT)
                f.branch_if(checked, wrong.eqz())
            f.set(self.status, f.call(self._claim, address, const(I32, size)))
            f.branch_if(self.leave, self.status.value)
        f.store(size, address.wrap(), self.register(at.ENTRY_RS2), at.GUEST)
        return False

    def _atomic(self, name: str) -> bool:
        address, size = self._local(self.a, self.register(at.ENTRY_RS1)), ATOMICS[name]
        self.check_atomic(name)
        if name.startswith("lr"):
            self.f.store(8, const(I32, 0), address + 1, at.RESERVATION)
            return self._write(load(I64, size, address.wrap(), at.GUEST, signed=True))
        operand = self._local(self.b, self.register(at.ENTRY_RS2))
        if name.startswith("sc"):
            return self._store_conditional(size)
        old = self._local(self.c, load(I64, size, address.wrap(), at.GUEST, signed=True))
        if size == 4:  # sign-extended, the order of unsigned numbers is the same
            operand = self._local(self.b, operand.sign_extend(32))
        self.f.store(size, address.wrap(), ATOMIC_RESULTS[name[:-2]](old, operand), at.GUEST)
        return self._write(old)

    def _store_conditional(self, size: int) -> bool:
        """Of the value in `b` at the address in `a`."""
        f, nowhere = self.f, const(I32, 0)
        f.set(self.c, load(I64, 8, nowhere, at.RESERVATION).compare("ne", self.a.value + 1).extend_u())
        f.store(8, nowhere, const(I64, 0), at.RESERVATION)
        with f.if_(self.c.value.eqz()):
            f.store(size, self.a.value.wrap(), self.b.value, at.GUEST)
        return self._write(self.c.value)

    def check_atomic(self, name: str) -> None:
        """Fail unless the address in `a` may be accessed."""
        f, address, size = self.f, self.a.value, ATOMICS[name]
        if BY_NAME[name].form is Form.UNARY:  # only reads
            with f.if_(address.compare("gt_u", MEMORY_SIZE - size)):
                self._fail(Status.OUT_OF_BOUND)
            return
        f.set(self.status, f.call(self._claim, address, const(I32, size)))
        f.branch_if(self.leave, self.status.value)

    # Control

    def _code_address(self, offset: int) -> Value:
        """An address in the entry, which is relative to the high half of the pc if there is one."""
        low = load(I64, 4, self.ip.value, offset, signed=True)
        return low + self.high.value if self.has_slots else low

    def _behind(self) -> Value:
        """The address behind the block."""
        return self._code_address(at.ENTRY_NEXT)

    def _goto(self) -> bool:
        self.f.set(self.target, self._code_address(at.ENTRY_IMM))
        return True

    def _branch(self, name: str) -> bool:
        taken = self.register(at.ENTRY_RS1).compare(BRANCHES[name], self.register(at.ENTRY_RS2))
        self.f.set(self.target, select(taken, self._code_address(at.ENTRY_IMM), self._behind()))
        return True

    def _jal(self) -> bool:
        self.write_register(at.ENTRY_RD, self._behind())
        return self._goto()

    def _jump_register(self) -> bool:
        self.f.set(self.target, self.register(at.ENTRY_RS1) + self.immediate() & -2)
        return True

    def _jalr(self) -> bool:
        if self.version == VERSION0:  # writes rd before it reads rs1
            self.write_register(at.ENTRY_RD, self._behind())
            return self._jump_register()
        self._jump_register()
        self.write_register(at.ENTRY_RD, self._behind())
        return True

    def _far_jump_rel_(self) -> bool:
        self.f.store(8, const(I32, 8 * RA), self._behind(), at.REGISTERS)
        self.f.set(self.target, self._code_address(at.ENTRY_SELF) + self.immediate() & -2)
        return True

    def _far_jump_abs_(self) -> bool:
        self.f.store(8, const(I32, 8 * RA), self._behind(), at.REGISTERS)
        self.f.set(self.target, self.immediate() & -2)
        return True

    def _auipc(self) -> bool:
        self.write_register(at.ENTRY_RD, self._code_address(at.ENTRY_SELF) + self.immediate())
        self.f.set(self.target, self._behind())
        return True

    def _ecall(self) -> bool:
        self.f.set(self.target, self._behind())
        self._fail(Status.ECALL)
        return True

    # Multiplication and division

    def _wide_product(self, name: str) -> None:
        """Set `c` to the low and `d` to the high half of the product of `a` and `b`."""
        signed = name in {"mulh", "wide_mul"}
        self.f.multiply_wide(self.c, self.d, self.a.value, self.b.value, signed)
        if name in {"mulhsu", "wide_mulsu"}:
            self.f.set(self.d, self.d.value - (self.a.value.shr_s(63) & self.b.value))

    def _multiply_divide(self, name: str) -> bool:
        a, b = self._sources()
        if name in {"mulh", "mulhu", "mulhsu"}:
            self._wide_product(name)
            return self._write(self.d.value)
        if name.endswith("w"):
            extend: Unary = (lambda v: low32(v)) if "u" in name else (lambda v: v.sign_extend(32))
            a, b = self._local(self.a, extend(a)), self._local(self.b, extend(b))
            return self._write(DIVISIONS[name[:-1]](a, b).sign_extend(32))
        return self._write(DIVISIONS[name](a, b))

    def _wide(self, name: str) -> bool:
        a, b = self._sources()
        if name.startswith("wide_mul"):
            self._wide_product(name)
            self.write_register(at.ENTRY_RD, self.d.value)
            self.write_register(at.ENTRY_RS3, self.c.value)
            return False
        suffix = name.removeprefix("wide_div")
        self.write_register(at.ENTRY_RD, DIVISIONS["div" + suffix](a, b))
        self.write_register(at.ENTRY_RS3, DIVISIONS["rem" + suffix](a, b))
        return False

    # Carry chains

    def _add_with_carry(self, left: Value, right: Value) -> None:
        """Set `c` to a sum and `b` to its carry; clobbers `a`."""
        self.f.set(self.a, left)
        self.f.set(self.c, self.a.value + right)
        self.f.set(self.b, self.c.value.compare("lt_u", self.a.value).extend_u())

    def _adc(self) -> bool:
        self._add_with_carry(self.register(at.ENTRY_RD), self.register(at.ENTRY_RS1))
        self.f.set(self.d, self.b.value)
        self._add_with_carry(self.c.value, self.register(at.ENTRY_RS2))
        self.write_register(at.ENTRY_RD, self.c.value)
        self.write_register(at.ENTRY_RS2, self.b.value)
        self.write_register(at.ENTRY_RS1, self.d.value | self.b.value)
        return False

    def _sbb(self) -> bool:
        a, b, c, d = self.a.value, self.b.value, self.c.value, self.d.value
        self.f.set(self.a, self.register(at.ENTRY_RD))
        self.f.set(self.b, self.register(at.ENTRY_RS1))
        self.f.set(self.c, a - b)
        self.f.set(self.d, a.compare("lt_u", b).extend_u())  # the first borrow
        self.f.set(self.b, self.register(at.ENTRY_RS2))
        self.f.set(self.a, c.compare("lt_u", b).extend_u())  # the second borrow
        self.write_register(at.ENTRY_RD, c - b)
        self.write_register(at.ENTRY_RS3, d)
        self.write_register(at.ENTRY_RS2, a)
        self.write_register(at.ENTRY_RS1, a | d)
        return False

    def _adcs(self) -> bool:
        self._add_with_carry(self.register(at.ENTRY_RS1), self.register(at.ENTRY_RS2))
        self.write_register(at.ENTRY_RD, self.c.value)
        self.write_register(at.ENTRY_RS3, self.b.value)
        return False

    def _sbbs(self) -> bool:
        a, b = self._sources()
        self.write_register(at.ENTRY_RD, a - b)
        self.write_register(at.ENTRY_RS3, a.compare("lt_u", b).extend_u())
        return False

    def _add3a(self) -> bool:
        self._add_with_carry(self.register(at.ENTRY_RS1), self.register(at.ENTRY_RD))
        self.write_register(at.ENTRY_RD, self.c.value)
        self.write_register(at.ENTRY_RS2, self.b.value)
        self.write_register(at.ENTRY_RS3, self.b.value + self.register(at.ENTRY_RS4))
        return False

    def _add3b(self) -> bool:
        self._add_with_carry(self.register(at.ENTRY_RS1), self.register(at.ENTRY_RS2))
        self.write_register(at.ENTRY_RD, self.c.value)
        self.write_register(at.ENTRY_RS1, self.b.value)
        self.write_register(at.ENTRY_RS3, self.b.value + self.register(at.ENTRY_RS4))
        return False

    def _add3c(self) -> bool:
        self._add_with_carry(self.register(at.ENTRY_RS1), self.register(at.ENTRY_RS2))
        self.write_register(at.ENTRY_RD, self.c.value)
        self.write_register(at.ENTRY_RS3, self.b.value + self.register(at.ENTRY_RS4))
        return False

    # Bit manipulation that fits no table

    def _slliuw_(self) -> bool:
        return self._write(low32(self.register(at.ENTRY_RS1)) << self.immediate())

    def _clmul_(self) -> bool:
        return self._write(self.f.call(self._clmul, *self._sources()))

    def _clmulr_(self) -> bool:
        return self._write(self.f.call(self._clmulr, *self._sources()))

    def _clmulh_(self) -> bool:
        return self._write(self.f.call(self._clmulr, *self._sources()).shr_u(1))


def _generate_claim(module: Module) -> Function:
    """`(address, size) -> status`: whether a store is allowed; marks its pages dirty."""
    f = module.function((I64, I32), (I32,))
    address, size = f.param(0), f.param(1)
    page, last, flag = f.local(I32), f.local(I32), f.local(I32)
    with f.if_(address.value.compare("ge_u", MEMORY_SIZE)):
        f.return_(const(I32, Status.OUT_OF_BOUND))
    f.set(page, address.value.wrap().shr_u(PAGE_SHIFT))
    f.set(last, (address.value.wrap() + size.value - 1).shr_u(PAGE_SHIFT))
    with f.loop() as next_page:
        with f.if_(page.value.compare("ge_u", MEMORY_SIZE // PAGE_SIZE)):
            f.return_(const(I32, Status.OUT_OF_BOUND))
        f.set(flag, load(I32, 1, page.value, at.FLAGS))
        with f.if_(flag.value & FLAG_EXECUTABLE):
            f.return_(const(I32, Status.PERMISSION))
        f.store(1, page.value, flag.value | FLAG_DIRTY, at.FLAGS)
        f.set(page, page.value + 1)
        f.branch_if(next_page, page.value.compare("le_u", last.value))
    f.return_(const(I32, Status.OK))
    f.unreachable()
    return f


_EVERY_FOURTH: Final = 0x1111_1111_1111_1111
_SWAPS: Final = (
    (1, 0x5555_5555_5555_5555),
    (2, 0x3333_3333_3333_3333),
    (4, 0x0F0F_0F0F_0F0F_0F0F),
    (8, 0x00FF_00FF_00FF_00FF),
    (16, 0x0000_FFFF_0000_FFFF),
)


def _generate_clmul(module: Module, reverse: bool) -> Function:
    """`(a, b) -> i64`: the low 64 bits of the carry-less product, or (`reverse`) its bits 126:63.

    Every fourth bit is multiplied at a time, so that carries stay in the three bits between. Bits 126:63 are the low 64
    bits of the product of the reversed factors, reversed.
    """
    f = module.function((I64, I64), (I64,))
    a, b, product = f.param(0), f.param(1), f.local(I64)
    if reverse:
        _reverse_bits(f, a)
        _reverse_bits(f, b)
    parts = [[f.local(I64) for _ in range(4)] for _ in range(2)]
    for factor, locals_ in zip((a, b), parts, strict=True):
        for index, part in enumerate(locals_):
            f.set(part, factor.value & _EVERY_FOURTH << index)
    for index in range(4):
        column = const(I64, 0)
        for left in range(4):
            column = column ^ parts[0][left].value * parts[1][(index - left) % 4].value
        f.set(product, product.value | column & _EVERY_FOURTH << index)
    if reverse:
        _reverse_bits(f, product)
    f.return_(product.value)
    f.unreachable()
    return f


def _reverse_bits(f: Function, word: Local) -> None:
    for shift, mask in _SWAPS:
        f.set(word, word.value.shr_u(shift) & mask | (word.value & mask) << shift)
    f.set(word, word.value.binary("rotr", 32))
