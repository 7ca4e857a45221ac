"""Generates what gathers the arguments of a program from the guest's memory. `vm.memory.Memory` says what it means.

A system call passes 131072 strings for next to nothing, so a string takes some nanoseconds. They are laid out as on the
stack of the new program (`vm.arguments`), outside of the guest.
"""

from typing import Final

from vm.constants import MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MEMORY_SIZE
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Local, Module, Value, const, load
from vm.wasm.vectors import VECTOR, load_vector, store_vector, zero_bytes

OUT_OF_BOUND: Final = -1
TOO_LONG: Final = -2
_WORD: Final = 8
_ONES: Final = 0x0101_0101_0101_0101
_HIGH_BITS: Final = 0x8080_8080_8080_8080


def generate_gather(module: Module) -> Function:
    """`(argv, argc, each) -> i64`: bytes of strings below ARGUMENT_STRINGS_END, and `argc + 2` words at
    ARGUMENT_WORDS; or OUT_OF_BOUND or TOO_LONG."""
    f = module.function((I64, I64, I64), (I64,))
    here, argc, each = f.param(0), f.param(1).value, f.param(2).value
    left, pointer, total = f.local(I64), f.local(I64), f.local(I64)
    low, word_at = f.local(I32), f.local(I32)
    f.set(left, argc)
    f.set(low, at.ARGUMENT_STRINGS_END)
    f.set(word_at, at.ARGUMENT_WORDS)
    f.store(8, word_at.value, argc)
    with f.block() as done, f.loop() as next_argument:
        f.branch_if(done, left.value.eqz())
        _refuse(f, here.value.compare("gt_u", MEMORY_SIZE - _WORD), OUT_OF_BOUND)
        f.set(pointer, load(I64, 8, here.value.wrap(), at.GUEST))
        _refuse(f, pointer.value.compare("ge_u", MEMORY_SIZE), OUT_OF_BOUND)
        _put_string(f, pointer.value.wrap(), each, total, low)
        with f.if_(word_at.value.compare("lt_u", at.ARGUMENT_WORDS + _WORD * MAX_ARGUMENTS)):
            f.set(word_at, word_at.value + _WORD)
            f.store(8, word_at.value, (low.value + (MEMORY_SIZE - at.ARGUMENT_STRINGS_END)).extend_u())
        f.set(here, here.value + _WORD)
        f.set(left, left.value - 1)
        f.branch(next_argument)
    _refuse(f, argc.compare("gt_u", MAX_ARGUMENTS), TOO_LONG)
    f.store(8, word_at.value, const(I64, 0), _WORD)
    f.return_((const(I32, at.ARGUMENT_STRINGS_END) - low.value).extend_u())
    f.unreachable()
    return f


def _put_string(f: Function, pointer: Value, each: Value, total: Local, low: Local) -> None:
    """Put the string below `low`, which follows. What lies further below may be overwritten."""
    word, zeros, size = f.local(I64), f.local(I64), f.local(I32)
    f.set(word, load(I64, 8, pointer, at.GUEST))
    f.set(zeros, (word.value - _ONES) & ~word.value & _HIGH_BITS)  # the lowest bit belongs to the first zero byte
    with f.if_(zeros.value.eqz()):
        _find_end(f, pointer, size)
        f.else_()
        f.set(zeros, zeros.value.unary("ctz"))
        f.store(8, low.value - _WORD, word.value << const(I64, 63) - zeros.value)
        f.set(size, (zeros.value.shr_u(3) + 1).wrap())
    _refuse(f, (pointer + size.value).compare("gt_u", MEMORY_SIZE), OUT_OF_BOUND)
    f.set(total, total.value + size.value.extend_u() + (each - 1))
    _refuse(f, total.value.compare("gt_u", MAX_ARGUMENT_BYTES), TOO_LONG)
    with f.if_(size.value.compare("gt_u", _WORD)):
        _copy_down(f, pointer + size.value + at.GUEST, low.value, low.value - size.value)
    f.set(low, low.value - size.value)


def _find_end(f: Function, pointer: Value, size: Local) -> None:
    """Set `size` to the bytes of a string with its zero, of which the first eight are not zero."""
    here, zeros = f.local(I32), f.local(I32)
    f.set(here, pointer + _WORD)
    with f.block() as found, f.loop() as next_vector:
        f.set(zeros, zero_bytes(load_vector(here.value, at.GUEST)))
        f.branch_if(found, zeros.value)
        f.set(here, here.value + VECTOR)
        f.branch_if(next_vector, here.value.compare("lt_u", MEMORY_SIZE))
        f.return_(const(I64, OUT_OF_BOUND))
    f.set(size, here.value + zeros.value.unary("ctz") + 1 - pointer)


def _copy_down(f: Function, source_end: Value, end: Value, start: Value) -> None:
    """Copy what ends at `source_end`, until `start` is reached."""
    source, target = f.local(I32), f.local(I32)
    f.set(source, source_end)
    f.set(target, end)
    with f.loop() as next_vector:
        f.set(source, source.value - VECTOR)
        f.set(target, target.value - VECTOR)
        store_vector(f, target.value, load_vector(source.value))
        f.branch_if(next_vector, target.value.compare("gt_u", start))


def _refuse(f: Function, condition: Value, answer: int) -> None:
    with f.if_(condition):
        f.return_(const(I64, answer))
