"""Generates a block filter's code (RFC 45): SipHash-2-4 of 32-byte elements, a radix sort, and Golomb-Rice."""

from enum import IntEnum
from typing import Final

from consensus.crypto.golomb import P
from vm.wasm.emitter import I32, I64, PAGE, Function, Local, Module, Value, const, load

ELEMENT_SIZE: Final = 32
KEY_SIZE: Final = 16
MAX_ELEMENTS: Final = 1 << 15
"""That a call takes. A block of 597,000 bytes has some 27,000 at most: two for each of its inputs of 44 bytes."""

_WORD: Final = 8  # bytes
_DIGITS: Final = 256
_PASSES: Final = 5  # of the sort, a byte each: a value is below 2¹⁵ · 784,931 < 2⁴⁰
_MAX_CODE_BYTES: Final = 3  # an element: remainder, end of quotient, and on average 1.5 bits of quotient


class Layout(IntEnum):
    """Where things lie in memory."""

    KEY = 0
    COUNTS = 64  # of values that have a digit, then where the next of them goes
    VALUES = COUNTS + 4 * _DIGITS
    SORTED = VALUES + _WORD * MAX_ELEMENTS
    OUTPUT = SORTED + _WORD * MAX_ELEMENTS
    INPUT = OUTPUT + _MAX_CODE_BYTES * MAX_ELEMENTS
    END = INPUT + ELEMENT_SIZE * MAX_ELEMENTS


CODE_DIGEST: Final = "5f22a0ff897a857d"
"""Of the generated code: names it where it is kept compiled. A test says what it has become."""

_ZERO: Final = const(I32, 0)
_SIP_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_SIP_LAST: Final = ELEMENT_SIZE << 56  # no bytes are left over; the length


def generate_golomb() -> bytes:
    """The module. It exports `encode(count, span) -> size`: elements at INPUT, hashed into the numbers below `span`
    under KEY, become that many bytes of code at OUTPUT."""
    module = Module(-(-Layout.END // PAGE))
    hash_element, sort_by = _generate_siphash(module), _generate_sort_pass(module)
    write_code = _generate_write_code(module)
    f = module.function((I32, I64), (I32,), export="encode")
    count, span = f.param(0), f.param(1)
    element, at, end, low, high = f.local(I32), f.local(I32), f.local(I32), f.local(I64), f.local(I64)
    f.set(element, Layout.INPUT)
    f.set(at, Layout.VALUES)
    f.set(end, at.value + count.value * _WORD)
    with f.block() as done, f.loop() as following:
        f.branch_if(done, at.value.compare("eq", end.value))
        f.multiply_wide(low, high, f.call(hash_element, element.value), span.value, signed=False)
        f.store(_WORD, at.value, high.value)
        f.set(element, element.value + ELEMENT_SIZE)
        f.set(at, at.value + _WORD)
        f.branch(following)
    source, target = Layout.VALUES, Layout.SORTED
    for digit in range(_PASSES):
        f.call_into((), sort_by, const(I32, source), const(I32, target), count.value, const(I64, 8 * digit))
        source, target = target, source
    f.return_(f.call(write_code, const(I32, source), count.value))
    return module.encode()


def _generate_siphash(module: Module) -> Function:
    """`(address of an element) -> i64`."""
    f = module.function((I32,), (I64,))
    v = [f.local(I64) for _ in range(4)]
    word = f.local(I64)
    for i, (local, start) in enumerate(zip(v, _SIP_START, strict=True)):
        f.set(local, load(I64, _WORD, _ZERO, Layout.KEY + _WORD * (i % 2)) ^ start)
    for at in range(0, ELEMENT_SIZE + _WORD, _WORD):
        f.set(word, load(I64, _WORD, f.param(0).value, at) if at < ELEMENT_SIZE else _SIP_LAST)
        f.set(v[3], v[3].value ^ word.value)
        for _ in range(2):
            _sip_round(f, v)
        f.set(v[0], v[0].value ^ word.value)
    f.set(v[2], v[2].value ^ 0xFF)
    for _ in range(4):
        _sip_round(f, v)
    f.return_(v[0].value ^ v[1].value ^ v[2].value ^ v[3].value)
    return f


def _sip_round(f: Function, v: list[Local]) -> None:
    for a, b, turn in ((0, 1, 13), (2, 3, 16), (0, 3, 21), (2, 1, 17)):
        f.set(v[a], v[a].value + v[b].value)
        f.set(v[b], v[b].value.binary("rotl", turn) ^ v[a].value)
        if b == 1:
            f.set(v[a], v[a].value.binary("rotl", 32))


def _generate_sort_pass(module: Module) -> Function:
    """`(source, target, count, shift)`: values in the order of one byte, those with the same byte as they were."""
    f = module.function((I32, I32, I32, I64), ())
    source, target, count, shift = (f.param(i).value for i in range(4))
    at, end, place, value, size = f.local(I32), f.local(I32), f.local(I32), f.local(I64), f.local(I32)
    f.memory_fill(const(I32, Layout.COUNTS), _ZERO, const(I32, 4 * _DIGITS))
    f.set(end, source + count * _WORD)
    slot = (value.value.shr_u(shift) & (_DIGITS - 1)).wrap() << 2
    for is_counting in (True, False):
        f.set(at, source)
        with f.block() as done, f.loop() as following:
            f.branch_if(done, at.value.compare("eq", end.value))
            f.set(value, load(I64, _WORD, at.value))
            if is_counting:
                f.store(4, f.tee(place, slot), load(I32, 4, place.value, Layout.COUNTS) + 1, Layout.COUNTS)
            else:
                f.set(place, load(I32, 4, slot, Layout.COUNTS))
                f.store(_WORD, place.value, value.value)
                f.store(4, slot, place.value + _WORD, Layout.COUNTS)
            f.set(at, at.value + _WORD)
            f.branch(following)
        if is_counting:
            _turn_counts_into_places(f, target, at, place, size)
    return f


def _turn_counts_into_places(f: Function, target: Value, at: Local, place: Local, size: Local) -> None:
    f.set(place, target)
    f.set(at, 0)
    with f.loop() as following:
        f.set(size, load(I32, 4, at.value, Layout.COUNTS) * _WORD)
        f.store(4, at.value, place.value, Layout.COUNTS)
        f.set(place, place.value + size.value)
        f.branch_if(following, f.tee(at, at.value + 4).compare("ne", 4 * _DIGITS))


def _generate_write_code(module: Module) -> Function:
    """`(address of ascending values, count) -> size` of what is written to OUTPUT, the highest bit of a byte first."""
    f = module.function((I32, I32), (I32,))
    at, end, out = f.param(0), f.local(I32), f.local(I32)
    value, last, quotient = f.local(I64), f.local(I64), f.local(I64)
    pending, bits = f.local(I64), f.local(I64)  # the lowest `bits` of `pending`, fewer than 8, are to be written
    f.set(end, at.value + f.param(1).value * _WORD)
    f.set(out, Layout.OUTPUT)
    with f.block() as done, f.loop() as following:
        f.branch_if(done, at.value.compare("eq", end.value))
        f.set(value, load(I64, _WORD, at.value))
        f.set(quotient, (value.value - last.value).shr_u(P))
        with f.block() as short, f.loop() as longer:
            f.branch_if(short, quotient.value.eqz())
            _put(f, out, pending, bits, const(I64, 1), 1)
            f.set(quotient, quotient.value - 1)
            f.branch(longer)
        _put(f, out, pending, bits, (value.value - last.value) & ((1 << P) - 1), 1 + P)
        f.set(last, value.value)
        f.set(at, at.value + _WORD)
        f.branch(following)
    with f.if_(bits.value.eqz().eqz()):
        _put(f, out, pending, bits, const(I64, 0), 7)
    f.return_(out.value - Layout.OUTPUT)
    return f


def _put(f: Function, out: Local, pending: Local, bits: Local, value: Value, size: int) -> None:
    """Append `size` bits, and write out the bytes that are complete."""
    f.set(pending, pending.value << size | value)
    f.set(bits, bits.value + size)
    with f.block() as done, f.loop() as following:
        f.branch_if(done, bits.value.compare("lt_u", 8))
        f.set(bits, bits.value - 8)
        f.store(1, out.value, pending.value.shr_u(bits.value))
        f.set(out, out.value + 1)
        f.branch(following)
