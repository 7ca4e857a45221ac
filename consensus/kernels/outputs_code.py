"""Generates a walk over the outputs of a large transaction: what rules ask of all of them, without objects for each."""

from enum import IntEnum
from typing import Final

from consensus.codec.layout import (
    CAPACITY_AT,
    CELL_DEP_SIZE,
    NUMBER_SIZE,
    OUTPUT_HEADERS,
    SCRIPT_HASH_TYPE_AT,
    SCRIPT_HEADERS,
)
from consensus.types.blockchain import SHANNONS_PER_BYTE
from vm.wasm.emitter import I32, I64, PAGE, Function, Local, Module, Value, const, load

CODE_DIGEST: Final = "8e2272b23980558a"
"""Of the generated code: names it where it is kept compiled. A test says what it has become."""

MAX_INPUT: Final = 2 << 20
"""Bytes of a transaction that a call takes."""

BYTE_VALUES: Final = 256
_DEPS, _OUTPUTS, _DATA = (NUMBER_SIZE * (field + 1) for field in (1, 4, 5))
"""Where the body's head has their offsets."""
_LOCK, _TYPE = NUMBER_SIZE * 2, NUMBER_SIZE * 3
"""The same in an output."""


class Layout(IntEnum):
    """Where things lie in memory. The tables have a byte for each value: 1 when it occurs."""

    DEP_TYPES = 64
    LOCK_HASH_TYPES = DEP_TYPES + BYTE_VALUES
    TYPE_HASH_TYPES = LOCK_HASH_TYPES + BYTE_VALUES
    OUTPUTS = TYPE_HASH_TYPES + BYTE_VALUES
    """How many outputs, u32; and data, u32."""
    CAPACITY = OUTPUTS + 2 * NUMBER_SIZE
    """The low 8 bytes of the sum of all capacities, and the others."""
    INPUT = CAPACITY + 2 * 8
    END = INPUT + MAX_INPUT


def generate_outputs() -> bytes:
    """The module: `outputs(start) -> 1` when each output pays for its bytes, of a transaction in memory that passed the
    strict check; 0 also when there are not as many data as outputs."""
    module = Module(-(-Layout.END // PAGE))
    f = module.function((I32,), (I32,), export="outputs")
    body, outputs, data, count = (f.local(I32) for _ in range(4))
    f.memory_fill(const(I32, Layout.DEP_TYPES), const(I32, 0), const(I32, Layout.INPUT - Layout.DEP_TYPES))
    start = f.param(0).value
    f.set(body, start + load(I32, 4, start, NUMBER_SIZE))
    for local, at in ((outputs, _OUTPUTS), (data, _DATA)):
        f.set(local, body.value + load(I32, 4, body.value, at))
    _note_dep_types(f, body.value + load(I32, 4, body.value, _DEPS))
    f.set(count, _parts(f, outputs.value))
    f.store(4, const(I32, Layout.OUTPUTS), count.value)
    f.store(4, const(I32, Layout.OUTPUTS + NUMBER_SIZE), _parts(f, data.value))
    _walk(f, outputs.value, data.value, count.value)
    return module.encode()


def _parts(f: Function, vector: Value) -> Value:
    """How many parts a vector has: its first offset says so, and one without parts is as long as its size."""
    result = f.local(I32)
    f.set(result, const(I32, 0))
    with f.if_(load(I32, 4, vector).compare("ne", NUMBER_SIZE)):
        f.set(result, load(I32, 4, vector, NUMBER_SIZE).shr_u(2) - 1)
    return result.value


def _note(f: Function, table: Layout, byte: Value) -> None:
    f.store(1, byte, const(I32, 1), table)


def _note_dep_types(f: Function, deps: Value) -> None:
    at, end = f.local(I32), f.local(I32)
    f.set(at, deps + (NUMBER_SIZE + CELL_DEP_SIZE - 1))
    f.set(end, at.value + load(I32, 4, deps) * CELL_DEP_SIZE)
    with f.block() as done, f.loop() as again:
        f.branch_if(done, at.value.compare("eq", end.value))
        _note(f, Layout.DEP_TYPES, load(I32, 1, at.value))
        f.set(at, at.value + CELL_DEP_SIZE)
        f.branch(again)


def _walk(f: Function, outputs: Value, data: Value, count: Value) -> None:
    index, place, output, end, is_paid = (f.local(I32) for _ in range(5))
    low, high = f.local(I64), f.local(I64)
    has_data = load(I32, 4, const(I32, Layout.OUTPUTS + NUMBER_SIZE)).compare("eq", count)
    f.set(is_paid, has_data)
    with f.block() as done, f.loop() as again:
        f.branch_if(done, index.value.compare("eq", count))
        f.set(place, (index.value + 1) * NUMBER_SIZE)
        f.set(output, outputs + load(I32, 4, outputs + place.value))
        f.set(index, index.value + 1)
        f.set(end, outputs + load(I32, 4, outputs))
        with f.if_(index.value.compare("ne", count)):
            f.set(end, outputs + load(I32, 4, outputs + place.value, NUMBER_SIZE))
        size = _size_and_types(f, output.value, end.value)
        capacity = load(I64, 8, output.value, CAPACITY_AT)
        f.add_with_carry(low, high, low.value, capacity, high.value)
        with f.if_(is_paid.value):
            size_of_data = load(I32, 4, data + load(I32, 4, data + place.value))
            occupied = (size.value + size_of_data).extend_u() * SHANNONS_PER_BYTE
            f.set(is_paid, occupied.compare("le_u", capacity))
        f.branch(again)
    f.store(8, const(I32, Layout.CAPACITY), low.value)
    f.store(8, const(I32, Layout.CAPACITY + 8), high.value)
    f.return_(is_paid.value)


def _size_and_types(f: Function, output: Value, end: Value) -> Local:
    """Notes hash types of an output, and gives the bytes of capacity that it takes, data left out."""
    size, type_at = f.local(I32), f.local(I32)
    f.set(size, end - output - OUTPUT_HEADERS)
    f.set(type_at, output + load(I32, 4, output, _TYPE))
    _note(f, Layout.LOCK_HASH_TYPES, load(I32, 1, output + load(I32, 4, output, _LOCK), SCRIPT_HASH_TYPE_AT))
    with f.if_(type_at.value.compare("ne", end)):
        _note(f, Layout.TYPE_HASH_TYPES, load(I32, 1, type_at.value, SCRIPT_HASH_TYPE_AT))
        f.set(size, size.value - SCRIPT_HEADERS)
    return size
