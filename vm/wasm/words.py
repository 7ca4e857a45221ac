"""Generates what looks through long lists of 64-bit words in the memory of the guest.

A system call that reads a list is charged little, however long the list is. So what is known of a page is remembered
(`ZERO_WORDS`) for as long as nobody stores to it: a page that was looked at has FLAG_SEEN in place of FLAG_DIRTY, and
each store sets that again.
"""

from enum import IntEnum
from typing import Final

from vm.constants import (
    FLAG_COPIED,
    FLAG_DIRTY,
    FLAG_SEEN,
    FLAGS_WRITTEN,
    MEMORY_SIZE,
    PAGE_COUNT,
    PAGE_SHIFT,
    PAGE_SIZE,
)
from vm.wasm import layout as at
from vm.wasm.arguments import generate_gather
from vm.wasm.emitter import I32, I64, Function, Local, Module, Value, const, load
from vm.wasm.segments import generate_load
from vm.wasm.vectors import VECTOR, load_vector, zero_bytes

_WORD: Final = 8
_CHUNK: Final = 64  # bytes that are looked at together


class Question(IntEnum):
    """What the exported function `words(question, a, b, c, d) -> i64` is asked. `vm.memory.Memory` says
    what it means."""

    HAS_ZERO = 0  # 0 or 1
    FIND_ZERO = 1  # an address, or -1
    ARE_KNOWN = 2  # 0 or 1; the words of WORD_TABLE that occurred are marked in WORD_MARKS
    GATHER = 3  # `vm.wasm.arguments`
    LOAD = 4  # `vm.wasm.segments`


def generate_words(module: Module) -> None:
    """Put the function into a module whose memory is laid out by `vm.wasm.layout`."""
    scan_page = _generate_scan_page(module)
    answers = [
        _generate_has_zero(module, scan_page),
        _generate_find_zero(module),
        _generate_are_known(module),
        generate_gather(module),
        generate_load(module),
    ]
    f = module.function((I32, I64, I64, I64, I64), (I64,), export="words")
    for question, answer in zip(Question, answers, strict=True):
        with f.if_(f.param(0).value.compare("eq", question)):
            f.return_(f.call(answer, *(f.param(index + 1).value for index in range(len(answer.params)))))
    f.unreachable()


def _generate_has_zero(module: Module, scan_page: Function) -> Function:
    """`(start) -> i64`. From the end of the memory down, since programs leave most of it zero."""
    f = module.function((I64,), (I64,))
    start, page, flag, phase = f.param(0).value, f.local(I32), f.local(I32), f.local(I32)
    one, none = const(I64, 1), const(I64, 0)
    with f.if_(start.compare("gt_u", MEMORY_SIZE - _WORD)):
        f.return_(none)
    f.set(phase, start.wrap() & (_WORD - 1))
    f.set(page, PAGE_COUNT - 1)
    with f.loop() as next_page:
        with f.if_(page.value.compare("eq", start.wrap().shr_u(PAGE_SHIFT))):
            f.return_(_zero_in(f, start.wrap(), page))
        f.set(flag, load(I32, 1, page.value, at.FLAGS))
        with f.if_((flag.value & FLAGS_WRITTEN).eqz()):
            f.return_(one)
        with f.if_((flag.value & (FLAG_DIRTY | FLAG_SEEN)).compare("ne", FLAG_SEEN)):
            f.store(1, page.value, f.call(scan_page, page.value), at.ZERO_WORDS)
            with f.if_(flag.value & FLAG_DIRTY):
                f.set(flag, flag.value & ~(FLAG_DIRTY | FLAG_COPIED))
            f.store(1, page.value, flag.value | FLAG_SEEN, at.FLAGS)
        with f.if_(load(I32, 1, page.value, at.ZERO_WORDS).shr_u(phase.value) & 1):
            f.return_(one)
        crossing = (page.value << PAGE_SHIFT) + phase.value
        with f.if_(load(I64, 8, crossing, at.GUEST - _WORD).eqz()):
            f.return_(one)
        f.set(page, page.value - 1)
        f.branch(next_page)
    f.unreachable()
    return f


def _zero_in(f: Function, start: Value, page: Local) -> Value:
    """i64: whether one of the words from `start` on that lie within the page is zero."""
    here = f.local(I32)
    f.set(here, start)
    end = (page.value + 1) << PAGE_SHIFT
    with f.block() as none, f.loop() as next_word:
        f.branch_if(none, (here.value + _WORD).compare("gt_u", end))
        with f.if_(load(I64, 8, here.value, at.GUEST).eqz()):
            f.return_(const(I64, 1))
        f.set(here, here.value + _WORD)
        f.branch(next_word)
    return const(I64, 0)


def _generate_scan_page(module: Module) -> Function:
    """`(page) -> i32`: bit n is set if there are eight zero bytes in a row at an address that is n modulo 8.

    Of each chunk a mask tells which bytes are zero. Runs of two, four and eight are found from it, each together with
    what the chunk before leaves over.
    """
    f = module.function((I32,), (I32,))
    here, end, found = f.local(I32), f.local(I32), f.local(I64)
    masks = [(f.local(I64), f.local(I64)) for _ in range(3)]  # of this chunk and of the one before
    runs = f.local(I64)
    f.set(here, f.param(0).value << PAGE_SHIFT)
    f.set(end, here.value + PAGE_SIZE)
    with f.loop() as next_chunk:
        f.set(runs, _zero_bytes(here.value))
        for (this, before), length in zip(masks, (1, 2, 4), strict=True):
            f.set(this, runs.value)
            f.set(runs, this.value & (this.value << length | before.value.shr_u(_CHUNK - length)))
            f.set(before, this.value)
        f.set(found, found.value | runs.value)
        f.set(here, here.value + _CHUNK)
        f.branch_if(next_chunk, here.value.compare("ne", end.value))
    for half in (32, 16, 8):
        f.set(found, found.value | found.value.shr_u(half))
    ends = found.value.wrap() & 0xFF  # where the last of the eight bytes lies; the first is one further, modulo 8
    f.return_((ends << 1 | ends.shr_u(7)) & 0xFF)
    f.unreachable()
    return f


def _zero_bytes(address: Value) -> Value:
    """i64: which of the bytes of a chunk are zero."""
    mask = const(I64, 0)
    for offset in range(0, _CHUNK, VECTOR):
        mask = mask | zero_bytes(load_vector(address, at.GUEST + offset)).extend_u() << offset
    return mask


def _generate_find_zero(module: Module) -> Function:
    """`(start) -> i64`."""
    f = module.function((I64,), (I64,))
    here = f.local(I32)
    with f.block() as outside:
        f.branch_if(outside, f.param(0).value.compare("gt_u", MEMORY_SIZE - _WORD))
        f.set(here, f.param(0).value.wrap())
        with f.loop() as next_word:
            with f.if_(load(I64, 8, here.value, at.GUEST).eqz()):
                f.return_(here.value.extend_u())
            f.set(here, here.value + _WORD)
            f.branch_if(next_word, here.value.compare("le_u", MEMORY_SIZE - _WORD))
    f.return_(const(I64, -1))
    f.unreachable()
    return f


def _generate_are_known(module: Module) -> Function:
    """`(start, end, multiplier) -> i64`: whether each word lies in the slot of WORD_TABLE that its product names."""
    f = module.function((I64, I64, I64), (I64,))
    here, slot, word = f.local(I32), f.local(I32), f.local(I64)
    f.set(here, f.param(0).value.wrap())
    with f.block() as done, f.loop() as next_word:
        f.branch_if(done, here.value.compare("ge_u", f.param(1).value.wrap()))
        f.set(word, load(I64, 8, here.value, at.GUEST))
        f.set(slot, (word.value * f.param(2).value).shr_u(64 - at.WORD_TABLE_BITS).wrap())
        with f.if_(load(I64, 8, slot.value << 3, at.WORD_TABLE).compare("ne", word.value)):
            f.return_(const(I64, 0))
        f.store(1, slot.value, const(I32, 1), at.WORD_MARKS)
        f.set(here, here.value + _WORD)
        f.branch(next_word)
    f.return_(const(I64, 1))
    f.unreachable()
    return f
