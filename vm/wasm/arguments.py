"""Generates what gathers the arguments of a program from the guest's memory. `vm.memory.Memory` says what it means.

A system call passes 131072 strings for next to nothing, so a string takes some nanoseconds. They are laid out as on the
stack of the new program (`vm.arguments`), outside of the guest.

A few short strings are gathered in one turn, without a branch that depends on them: one that nobody can foresee takes
longer than a string. If one of them is long, leaves the memory or does not fit, the turn was for nothing, since it has
stored to free space only, and they are gathered one by one.
"""

from functools import reduce
from typing import Final

from vm.constants import MAX_ARGUMENTS, MEMORY_SIZE
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Label, Local, Module, Value, const, load, select
from vm.wasm.vectors import VECTOR, load_vector, store_vector, zero_bytes

OUT_OF_BOUND: Final = -1  # any less: too long, by the complement of how many bytes they are
_WORD: Final = 8
_TOGETHER: Final = 4
_PARTS: Final = (0, VECTOR)
_SHORT: Final = 2 * VECTOR  # bytes of a string with its zero
_MARGIN: Final = _SHORT + _TOGETHER
_TO_STACK: Final = MEMORY_SIZE - at.ARGUMENT_STRINGS_END


class _Gathering:
    """The function, and its state between two arguments."""

    def __init__(self, f: Function) -> None:
        self.f = f
        self.argv, self.argc, each, self.room = (f.param(index).value for index in range(4))
        self.each = f.local(I32)  # what a string counts beside its bytes and its zero
        self.here = f.local(I64)  # the next pointer
        self.in_order = f.local(I64)  # pointers from there on that lie in the memory and whose words are kept, signed
        self.word_at = f.local(I32)  # of the next word
        self.low = f.local(I32)  # where the last string begins
        self.lowest = f.local(I32)  # where a string may begin
        f.set(self.each, each.wrap() - 1)
        f.set(self.here, self.argv)
        f.set(self.word_at, at.ARGUMENT_WORDS + _WORD)
        f.set(self.low, at.ARGUMENT_STRINGS_END)
        f.set(self.lowest, const(I32, at.ARGUMENT_STRINGS_END) - self.room.wrap())
        f.store(8, const(I32, at.ARGUMENT_WORDS), self.argc)
        with f.if_(self.argv.compare("le_u", MEMORY_SIZE)):
            f.set(self.in_order, (const(I64, MEMORY_SIZE) - self.argv).shr_u(3))
            for most in (self.argc, const(I64, MAX_ARGUMENTS)):
                count = self.in_order.value
                f.set(self.in_order, select(count.compare("lt_u", most), count, most))

    def count(self) -> Value:
        """i64: arguments so far."""
        return (self.here.value - self.argv).shr_u(3)

    def size(self) -> Value:
        """i64: what the strings count."""
        return self.room + (self.lowest.value - self.low.value).extend_s()

    def advance(self, count: int) -> None:
        """To the pointers behind the next ones."""
        self.f.set(self.here, self.here.value + _WORD * count)
        self.f.set(self.word_at, self.word_at.value + _WORD * count)
        self.f.set(self.in_order, self.in_order.value - count)


def generate_gather(module: Module) -> Function:
    """`(argv, argc, each, room) -> i64`: bytes of strings below ARGUMENT_STRINGS_END, and `argc + 2` words at
    ARGUMENT_WORDS; or what is refused."""
    f = module.function((I64, I64, I64, I64), (I64,))
    g = _Gathering(f)
    one_by_one = f.local(I32)
    with f.block() as done, f.loop() as next_turn:
        with f.block() as refused:
            _gather_together(g, refused)
            f.branch(next_turn)
        f.set(one_by_one, _TOGETHER)
        with f.loop() as next_argument:
            f.branch_if(done, g.count().compare("eq", g.argc))
            _gather_any(g)
            f.branch_if(next_argument, f.tee(one_by_one, one_by_one.value - 1))
        f.branch(next_turn)
    with f.if_(g.argc.compare("gt_u", MAX_ARGUMENTS)):
        f.return_(~g.size())
    f.store(8, g.word_at.value, const(I64, 0))
    f.return_((const(I32, at.ARGUMENT_STRINGS_END) - g.low.value).extend_u())
    f.unreachable()
    return f


def _gather_together(g: _Gathering, refused: Label) -> None:
    """Short strings whose pointers lie in the memory and whose words are kept.

    `outside` has a bit from that of MEMORY_SIZE on if a string leaves the memory, `sizes` has that of _SHORT if one is
    long.
    """
    f = g.f
    below, lowest, zero_at, size = (f.local(I32) for _ in range(4))
    pointer, outside, sizes = f.local(I64), f.local(I64), f.local(I32)
    f.branch_if(refused, g.in_order.value.compare("lt_s", _TOGETHER))
    f.set(below, g.low.value - _MARGIN)
    f.set(outside, 0)
    f.set(sizes, 0)
    for index in range(_TOGETHER):
        f.set(pointer, load(I64, 8, g.here.value.wrap(), at.GUEST + _WORD * index))
        address = pointer.value.wrap() & MEMORY_SIZE - 1
        zeros = (zero_bytes(load_vector(address, at.GUEST + part)) << part for part in _PARTS)
        f.set(size, reduce(Value.__or__, zeros).unary("ctz"))  # without the zero; _SHORT if there is none
        f.set(zero_at, address + size.value)
        f.set(outside, outside.value | pointer.value | zero_at.value.extend_u())
        f.set(sizes, sizes.value | size.value)
        for part in _PARTS:
            vector = load_vector(zero_at.value, at.GUEST + 1 - VECTOR - part)
            store_vector(f, below.value, vector, _MARGIN - index - VECTOR - part)
        f.set(below, below.value - size.value)
        f.store(8, g.word_at.value, (below.value + (_MARGIN - index - 1 + _TO_STACK)).extend_u(), _WORD * index)
    f.set(below, below.value + (_MARGIN - _TOGETHER))
    f.set(lowest, g.lowest.value + g.each.value * _TOGETHER)
    is_refused = outside.value.compare("ge_u", MEMORY_SIZE) | (sizes.value & _SHORT)
    f.branch_if(refused, is_refused | below.value.compare("lt_u", lowest.value))
    f.set(g.low, below.value)
    f.set(g.lowest, lowest.value)
    g.advance(_TOGETHER)


def _gather_any(g: _Gathering) -> None:
    """The next string; its word is kept if it is one of MAX_ARGUMENTS. Returns from the function what is refused."""
    f = g.f
    pointer, end, low = f.local(I64), f.local(I32), f.local(I32)
    _refuse(f, g.here.value.compare("gt_u", MEMORY_SIZE - _WORD))
    f.set(pointer, load(I64, 8, g.here.value.wrap(), at.GUEST))
    _refuse(f, pointer.value.compare("ge_u", MEMORY_SIZE))
    _find_end(f, pointer.value.wrap(), end)
    f.set(low, g.low.value)
    f.set(g.low, g.low.value - (end.value - pointer.value.wrap()))
    f.set(g.lowest, g.lowest.value + g.each.value)
    with f.if_(g.low.value.compare("lt_s", g.lowest.value)):
        f.return_(~g.size())
    _copy_down(f, end.value + at.GUEST, low.value, g.low.value)
    with f.if_(g.count().compare("lt_u", MAX_ARGUMENTS)):
        f.store(8, g.word_at.value, (g.low.value + _TO_STACK).extend_u())
    g.advance(1)


def _find_end(f: Function, pointer: Value, end: Local) -> None:
    """Set `end` to the end of a string with its zero. Vectors may leave the memory."""
    here, zeros = f.local(I32), f.local(I32)
    f.set(here, pointer)
    with f.block() as found, f.loop() as next_vector:
        f.set(zeros, zero_bytes(load_vector(here.value, at.GUEST)))
        f.branch_if(found, zeros.value)
        f.set(here, here.value + VECTOR)
        f.branch_if(next_vector, here.value.compare("lt_u", MEMORY_SIZE))
        f.return_(const(I64, OUT_OF_BOUND))
    f.set(end, here.value + zeros.value.unary("ctz") + 1)
    _refuse(f, end.value.compare("gt_u", MEMORY_SIZE))


def _copy_down(f: Function, source_end: Value, end: Value, start: Value) -> None:
    """Copy what ends at `source_end`, until `start` is reached. What lies further below may be overwritten."""
    source, target = f.local(I32), f.local(I32)
    f.set(source, source_end)
    f.set(target, end)
    with f.loop() as next_vector:
        f.set(source, source.value - VECTOR)
        f.set(target, target.value - VECTOR)
        store_vector(f, target.value, load_vector(source.value))
        f.branch_if(next_vector, target.value.compare("gt_u", start))


def _refuse(f: Function, condition: Value) -> None:
    with f.if_(condition):
        f.return_(const(I64, OUT_OF_BOUND))
