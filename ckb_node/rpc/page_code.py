"""Generates the writers of the indexers' pages: JSON of rows of the index, which lie in memory as they are stored.

What they write is what `ckb_node/rpc/indexer_texts.py` does; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

from consensus.codec.layout import (
    CAPACITY_AT,
    NUMBER_SIZE,
    OUT_POINT_SIZE,
    SCRIPT_ARGS_AT,
    SCRIPT_CODE_HASH_AT,
    SCRIPT_HASH_TYPE_AT,
)
from consensus.crypto.hashing import HASH_SIZE
from vm.wasm.emitter import I32, I64, PAGE, Function, Local, Module, Value, const, load, select

CODE_DIGEST: Final = "b648584cdcc9806f"
"""Of the generated code: names it where it is kept compiled. A test says what it has become."""

MAX_INPUT: Final = 384 << 10
MAX_OUTPUT: Final = 1 << 20
"""Bytes that a call takes and makes: more than a step of a search finds, unless there is a very large cell."""
_SLACK: Final = 64
"""Texts are read and written some bytes beyond their ends."""

CELL_TEXT, IO_TEXT, GROUP_TEXT, GROUP_IO_TEXT = 512, 256, 256, 24
"""Characters that a cell, an input or output, a group, and each input or output in it take at most; a cell besides
two for each byte."""

# A cell is the length of its record, its out point, its record: number, tx index and length of the output, the output,
# the data. A transaction is the length of its hash and IOs, its place (number and tx index, big endian), these.
CELL_RECORD_AT: Final = NUMBER_SIZE + OUT_POINT_SIZE
_TX_INDEX_AT, _OUTPUT_SIZE_AT, _OUTPUT_AT = 8, 12, 16
TX_PLACE_AT: Final = NUMBER_SIZE
TX_HASH_AT: Final = TX_PLACE_AT + 12
TX_IOS_AT: Final = TX_HASH_AT + HASH_SIZE
_IO_SIZE: Final = 5
_LOCK, _TYPE = NUMBER_SIZE * 2, NUMBER_SIZE * 3
"""Where the head of an output has their offsets."""
_HASH_TYPES: Final = {0: "data", 1: "type", 2: "data1", 4: "data2"}
"""That chains have; a page with others is written in Python."""


class Layout(IntEnum):
    """Where things lie in memory."""

    INPUT = 64
    OUTPUT = INPUT + MAX_INPUT + _SLACK
    END = OUTPUT + MAX_OUTPUT + _SLACK


def generate_pages() -> bytes:
    """The module: `cells(end, with_data)`, `transactions(end)` and `groups(end)`, of what lies from INPUT to `end`,
    write objects with commas between them to OUTPUT and return their size; 0 where a hash type has no name here."""
    module = Module(-(-Layout.END // PAGE))
    maker = _Maker(module)
    maker.cells()
    maker.transactions()
    maker.groups()
    return module.encode()


class _Text:
    """What a function writes, at a place that it keeps."""

    def __init__(self, maker: _Maker, function: Function, at: Local) -> None:
        self._maker: Final = maker
        self.function: Final = function
        self.at: Final = at

    def add(self, text: str) -> None:
        """These characters, eight at a time: zeros behind the last are overwritten by what comes next."""
        content, f = text.encode(), self.function
        for start in range(0, len(content), 8):
            f.store(8, self.at.value, const(I64, int.from_bytes(content[start : start + 8], "little")), start)
        f.set(self.at, self.at.value + len(content))

    def add_hex(self, start: Value, size: Value | int) -> None:
        """Bytes."""
        count = const(I32, size) if isinstance(size, int) else size
        self.function.set(self.at, self.function.call(self._maker.hex, self.at.value, start, count))

    def add_number(self, value: Value) -> None:
        """Hexadecimal digits of an i64."""
        self.function.set(self.at, self.function.call(self._maker.number, self.at.value, value))


class _Maker:
    """Makes the functions, those first that others call."""

    def __init__(self, module: Module) -> None:
        self._module: Final = module
        self.hex: Final = _generate_hex(module)
        self.number: Final = _generate_number(module)
        self._script: Final = self._generate_script()

    def _generate_script(self) -> Function:
        """`(at, script) -> at`, behind the object of a serialised Script; 0 for a hash type without name here."""
        f = self._module.function((I32, I32), (I32,))
        text, script = _Text(self, f, f.param(0)), f.param(1).value
        hash_type = f.local(I32)
        text.add('{"code_hash":"0x')
        text.add_hex(script + SCRIPT_CODE_HASH_AT, HASH_SIZE)
        text.add('","hash_type":"')
        f.set(hash_type, load(I32, 1, script, SCRIPT_HASH_TYPE_AT))
        with f.block() as named:
            for byte, name in _HASH_TYPES.items():
                with f.if_(hash_type.value.compare("eq", byte)):
                    text.add(name)
                    f.branch(named)
            f.return_(const(I32, 0))
        text.add('","args":"0x')
        text.add_hex(script + (SCRIPT_ARGS_AT + NUMBER_SIZE), load(I32, 4, script, SCRIPT_ARGS_AT))
        text.add('"}')
        f.return_(text.at.value)
        return f

    def _add_script(self, text: _Text, script: Value) -> None:
        f = text.function
        f.set(text.at, f.call(self._script, text.at.value, script))
        with f.if_(text.at.value.eqz()):
            f.return_(const(I32, 0))

    def cells(self) -> None:
        """A function of that name."""
        f = self._module.function((I32, I32), (I32,), export="cells")
        text = _Text(self, f, f.local(I32))
        record, output, data, record_end = (f.local(I32) for _ in range(4))

        def add_cell(cell: Value) -> Value:
            f.set(record, cell + CELL_RECORD_AT)
            f.set(record_end, record.value + load(I32, 4, cell))
            f.set(output, record.value + _OUTPUT_AT)
            f.set(data, output.value + load(I32, 4, record.value, _OUTPUT_SIZE_AT))
            self._add_output(text, output.value, data.value)
            _add_data(text, f.param(1).value, data.value, record_end.value)
            text.add(',"out_point":{"tx_hash":"0x')
            text.add_hex(cell + NUMBER_SIZE, HASH_SIZE)
            text.add('","index":"0x')
            text.add_number(load(I64, 4, cell, NUMBER_SIZE + HASH_SIZE))
            text.add('"},"block_number":"0x')
            text.add_number(load(I64, 8, record.value))
            text.add('","tx_index":"0x')
            text.add_number(load(I64, 4, record.value, _TX_INDEX_AT))
            text.add('"},')
            return record_end.value

        _write_each(text, f.param(0), add_cell)

    def _add_output(self, text: _Text, output: Value, end: Value) -> None:
        f = text.function
        text.add('{"output":{"capacity":"0x')
        text.add_number(load(I64, 8, output, CAPACITY_AT))
        text.add('","lock":')
        self._add_script(text, output + load(I32, 4, output, _LOCK))
        text.add(',"type":')
        type_ = output + load(I32, 4, output, _TYPE)
        with f.if_(type_.compare("eq", end)):
            text.add("null")
            f.else_()
            self._add_script(text, type_)
        text.add('},"output_data":')

    def transactions(self) -> None:
        """A function of that name: an object for each input and output."""
        f = self._module.function((I32,), (I32,), export="transactions")
        text = _Text(self, f, f.local(I32))
        head, head_size, at, end = (f.local(I32) for _ in range(4))

        def add_transaction(tx: Value) -> Value:
            f.set(head, text.at.value)
            _add_tx_head(text, tx)
            text.add('","io_index":"0x')
            f.set(head_size, text.at.value - head.value)
            f.set(text.at, head.value)
            with _each_io(f, tx, at, end):
                f.memory_copy(text.at.value, head.value, head_size.value)
                f.set(text.at, text.at.value + head_size.value)
                text.add_number(_big_u32(at.value).extend_u())
                _add_io_type(f, at.value, lambda name: text.add(f'","io_type":"{name}"}},'))
            return end.value

        _write_each(text, f.param(0), add_transaction)

    def groups(self) -> None:
        """A function of that name: an object for each transaction."""
        f = self._module.function((I32,), (I32,), export="groups")
        text = _Text(self, f, f.local(I32))
        at, end = f.local(I32), f.local(I32)

        def add_group(tx: Value) -> Value:
            _add_tx_head(text, tx)
            text.add('","cells":[')
            with _each_io(f, tx, at, end):
                _add_io_type(f, at.value, lambda name: text.add(f'["{name}","0x'))
                text.add_number(_big_u32(at.value).extend_u())
                text.add('"],')
            f.set(text.at, text.at.value - 1)
            text.add("]},")
            return end.value

        _write_each(text, f.param(0), add_group)


def _write_each(text: _Text, end: Local, add: Callable[[Value], Value]) -> None:
    """The rest of an exported function: what `add` writes of each record, which returns the place behind it."""
    f, record = text.function, text.function.local(I32)
    f.set(text.at, Layout.OUTPUT)
    f.set(record, Layout.INPUT)
    with f.block() as done, f.loop() as again:
        f.branch_if(done, record.value.compare("ge_u", end.value))
        f.set(record, add(record.value))
        f.branch(again)
    f.return_(text.at.value - (Layout.OUTPUT + 1))  # without the last comma


def _add_data(text: _Text, is_wanted: Value, data: Value, end: Value) -> None:
    f = text.function
    with f.if_(is_wanted):
        text.add('"0x')
        text.add_hex(data, end - data)
        text.add('"')
        f.else_()
        text.add("null")


def _add_tx_head(text: _Text, tx: Value) -> None:
    text.add('{"tx_hash":"0x')
    text.add_hex(tx + TX_HASH_AT, HASH_SIZE)
    text.add('","block_number":"0x')
    high, low = _big_u32(tx + TX_PLACE_AT), _big_u32(tx + (TX_PLACE_AT + 4))
    text.add_number((high.extend_u() << 32) | low.extend_u())
    text.add('","tx_index":"0x')
    text.add_number(_big_u32(tx + (TX_PLACE_AT + 8)).extend_u())


@contextmanager
def _each_io(f: Function, tx: Value, at: Local, end: Local) -> Iterator[None]:
    """Statements for each input and output of a transaction, which has one at least."""
    f.set(at, tx + TX_IOS_AT)
    f.set(end, tx + TX_HASH_AT + load(I32, 4, tx))
    with f.loop() as again:
        yield
        f.set(at, at.value + _IO_SIZE)
        f.branch_if(again, at.value.compare("ne", end.value))


def _add_io_type(f: Function, io: Value, add: Callable[[str], None]) -> None:
    with f.if_(load(I32, 1, io, _IO_SIZE - 1)):
        add("output")
        f.else_()
        add("input")


def _big_u32(at: Value) -> Value:
    """Four bytes, big endian."""
    value = const(I32, 0)
    for index in range(4):
        value = (value << 8) | load(I32, 1, at, index)
    return value


def _generate_hex(module: Module) -> Function:
    """`(at, start, size) -> at`, behind two digits for each byte. Four bytes are made eight digits at a time: spread
    out, cut into halves, and 39 more than '0' where a half is above 9."""
    f = module.function((I32, I32, I32), (I32,))
    at, start, end = f.param(0), f.param(1), f.local(I32)
    four, halves = f.local(I64), f.local(I64)
    f.set(end, at.value + (f.param(2).value << 1))
    with f.block() as done, f.loop() as again:
        f.branch_if(done, at.value.compare("ge_u", end.value))
        f.set(four, load(I64, 4, start.value))
        f.set(four, (four.value | (four.value << 16)) & 0x0000FFFF0000FFFF)
        f.set(four, (four.value | (four.value << 8)) & 0x00FF00FF00FF00FF)
        f.set(halves, (four.value.shr_u(4) | (four.value << 8)) & 0x0F0F0F0F0F0F0F0F)
        above_9 = (halves.value + 0x0606060606060606).shr_u(4) & 0x0101010101010101
        f.store(8, at.value, halves.value + 0x3030303030303030 + above_9 * 39)
        f.set(start, start.value + 4)
        f.set(at, at.value + 8)
        f.branch(again)
    f.return_(end.value)
    return f


def _generate_number(module: Module) -> Function:
    """`(at, number) -> at`, behind its digits without leading zeros; one digit of 0."""
    f = module.function((I32, I64), (I32,))
    at, number, shift, digit = f.param(0), f.param(1).value, f.local(I64), f.local(I32)
    f.set(shift, (const(I64, 63) - (number | 1).unary("clz")) & ~3)
    with f.loop() as again:
        f.set(digit, (number.shr_u(shift.value) & 15).wrap())
        letter = select(digit.value.compare("gt_u", 9), const(I32, ord("a") - 10), const(I32, ord("0")))
        f.store(1, at.value, digit.value + letter)
        f.set(at, at.value + 1)
        f.set(shift, shift.value - 4)
        f.branch_if(again, shift.value.compare("ge_s", 0))
    f.return_(at.value)
    return f
