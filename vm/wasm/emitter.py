"""A small typed emitter of WebAssembly modules.

`Value` is a typed expression: code that leaves one value on the stack. Expressions are combined with operators and
methods; an int on the right-hand side becomes a constant of the same type. An expression that is used twice is
evaluated twice, so put it into a local first. `Function` collects statements, `Module` puts everything into bytes.

WebAssembly core specification 3.0, chapter 5 (binary format).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Union

from vm.wasm import opcodes as op
from vm.wasm.opcodes import I32, I64, V128, Type

__all__ = [
    "I32",
    "I64",
    "PAGE",
    "V128",
    "Function",
    "Label",
    "Local",
    "Module",
    "Operand",
    "Type",
    "Value",
    "const",
    "if_else",
    "load",
    "select",
    "signed_leb",
    "unsigned_leb",
]

PAGE: Final = 65536  # bytes of a WebAssembly memory page


def unsigned_leb(value: int) -> bytes:
    """LEB128 of a number >= 0."""
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if not value:
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def signed_leb(value: int) -> bytes:
    """Signed LEB128."""
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if value == (-1 if byte & 0x40 else 0):
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


Operand = Union["Value", int]


@dataclass(frozen=True, slots=True)
class Value:
    """Code that leaves one value of `type` on the stack."""

    type: Type
    code: bytes

    def _coerce(self, other: Operand) -> "Value":
        value = const(self.type, other) if isinstance(other, int) else other
        if value.type is not self.type:
            raise TypeError(f"{self.type.name} combined with {value.type.name}")
        return value

    def _pick(self, pair: tuple[int, int]) -> bytes:
        return bytes([pair[self.type is I64]])

    def binary(self, name: str, other: Operand) -> "Value":
        """A binary operation of `vm.wasm.opcodes.BINARY`."""
        return Value(self.type, self.code + self._coerce(other).code + self._pick(op.BINARY[name]))

    def compare(self, name: str, other: Operand) -> "Value":
        """A comparison of `vm.wasm.opcodes.COMPARE`; gives an i32, 0 or 1."""
        return Value(I32, self.code + self._coerce(other).code + self._pick(op.COMPARE[name]))

    def unary(self, name: str) -> "Value":
        """An operation of `vm.wasm.opcodes.UNARY`."""
        return Value(self.type, self.code + self._pick(op.UNARY[name]))

    def __add__(self, other: Operand) -> "Value":
        return self.binary("add", other)

    def __sub__(self, other: Operand) -> "Value":
        return self.binary("sub", other)

    def __mul__(self, other: Operand) -> "Value":
        return self.binary("mul", other)

    def __and__(self, other: Operand) -> "Value":
        return self.binary("and", other)

    def __or__(self, other: Operand) -> "Value":
        return self.binary("or", other)

    def __xor__(self, other: Operand) -> "Value":
        return self.binary("xor", other)

    def __lshift__(self, other: Operand) -> "Value":
        return self.binary("shl", other)

    def __invert__(self) -> "Value":
        return self ^ -1

    def shr_u(self, other: Operand) -> "Value":
        """Shift right, zeros shifted in."""
        return self.binary("shr_u", other)

    def shr_s(self, other: Operand) -> "Value":
        """Shift right, sign shifted in."""
        return self.binary("shr_s", other)

    def eqz(self) -> "Value":
        """An i32, 1 if the value is 0, else 0."""
        return Value(I32, self.code + self._pick(op.EQZ))

    def wrap(self) -> "Value":
        """The low half of an i64."""
        return self._convert(I64, I32, op.WRAP)

    def extend_s(self) -> "Value":
        """An i32 as signed i64."""
        return self._convert(I32, I64, op.EXTEND_S)

    def extend_u(self) -> "Value":
        """An i32 as unsigned i64."""
        return self._convert(I32, I64, op.EXTEND_U)

    def sign_extend(self, bits: int) -> "Value":
        """The low 8, 16 or (i64 only) 32 bits, sign-extended."""
        if bits == 32:
            return self._convert(I64, I64, op.EXTEND32)
        return Value(self.type, self.code + self._pick(op.EXTEND8 if bits == 8 else op.EXTEND16))

    def _convert(self, source: Type, target: Type, opcode: int) -> "Value":
        if self.type is not source:
            raise TypeError(f"{source.name} expected, not {self.type.name}")
        return Value(target, self.code + bytes([opcode]))


def const(type_: Type, value: int) -> Value:
    """A constant; `value` may be given signed or unsigned."""
    bits = 32 if type_ is I32 else 64
    signed = (value & ((1 << bits) - 1)) - ((value >> (bits - 1) & 1) << bits)
    return Value(type_, bytes([op.I32_CONST if type_ is I32 else op.I64_CONST]) + signed_leb(signed))


def load(type_: Type, size: int, address: Value, offset: int = 0, signed: bool = False) -> Value:
    """`size` bytes at `address + offset`, extended to `type_`."""
    opcode = op.LOADS[type_, size, signed]
    return Value(type_, address.code + bytes([opcode, 0]) + unsigned_leb(offset))


def select(condition: Value, yes: Value, no: Value) -> Value:
    """`yes` if `condition` (i32) is not 0, else `no`; both are evaluated."""
    return Value(yes.type, yes.code + no.code + condition.code + bytes([op.SELECT]))


def if_else(condition: Value, yes: Value, no: Value) -> Value:
    """`yes` if `condition` (i32) is not 0, else `no`; only one is evaluated."""
    code = condition.code + bytes([op.IF, yes.type]) + yes.code + bytes([op.ELSE]) + no.code + bytes([op.END])
    return Value(yes.type, code)


@dataclass(frozen=True, slots=True)
class Local:
    """A local variable or parameter."""

    type: Type
    index: int

    @property
    def value(self) -> Value:
        """An expression that reads it."""
        return Value(self.type, bytes([op.LOCAL_GET]) + unsigned_leb(self.index))


@dataclass(frozen=True, slots=True)
class Label:
    """A branch target: the end of a block, or the head of a loop."""

    depth: int


@dataclass(slots=True)
class Function:
    """The statements of one function. Make it by `Module.function`."""

    index: int
    params: tuple[Type, ...]
    results: tuple[Type, ...]
    locals: list[Type] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    depth: int = 0

    def param(self, index: int) -> Local:
        """A parameter, as local."""
        return Local(self.params[index], index)

    def local(self, type_: Type) -> Local:
        """A new local, 0 at first."""
        self.locals.append(type_)
        return Local(type_, len(self.params) + len(self.locals) - 1)

    def set(self, local: Local, value: Operand) -> None:
        """Set a local."""
        self.body += self._typed(local, value).code + bytes([op.LOCAL_SET]) + unsigned_leb(local.index)

    def tee(self, local: Local, value: Operand) -> Value:
        """An expression that also sets `local`."""
        code = self._typed(local, value).code + bytes([op.LOCAL_TEE]) + unsigned_leb(local.index)
        return Value(local.type, code)

    @staticmethod
    def _typed(local: Local, value: Operand) -> Value:
        typed = const(local.type, value) if isinstance(value, int) else value
        if typed.type is not local.type:
            raise TypeError(f"{typed.type.name} put into a local of {local.type.name}")
        return typed

    def store(self, size: int, address: Value, value: Value, offset: int = 0) -> None:
        """Store the low `size` bytes of `value` at `address + offset`."""
        opcode = op.STORES[value.type, size]
        self.body += address.code + value.code + bytes([opcode, 0]) + unsigned_leb(offset)

    def add_with_carry(self, low: Local, high: Local, left: Value, right: Value, more: Value) -> None:
        """Set `low` to the sum of two i64, and `high` to its carry plus `more` (wide-arithmetic proposal)."""
        self.body += left.code + more.code + right.code + const(I64, 0).code + op.ADD_WIDE
        self.body += bytes([op.LOCAL_SET]) + unsigned_leb(high.index) + bytes([op.LOCAL_SET]) + unsigned_leb(low.index)

    def multiply_wide(self, low: Local, high: Local, left: Value, right: Value, signed: bool) -> None:
        """Set two locals to the halves of a 128-bit product (wide-arithmetic proposal)."""
        self.body += left.code + right.code + (op.MUL_WIDE_S if signed else op.MUL_WIDE_U)
        self.body += bytes([op.LOCAL_SET]) + unsigned_leb(high.index) + bytes([op.LOCAL_SET]) + unsigned_leb(low.index)

    def memory_fill(self, address: Value, byte: Value, size: Value) -> None:
        """Set `size` bytes of memory from `address` on to `byte`."""
        self.body += address.code + byte.code + size.code + op.MEMORY_FILL

    def memory_copy(self, target: Value, source: Value, size: Value) -> None:
        """Copy `size` bytes of memory from `source` to `target`."""
        self.body += target.code + source.code + size.code + op.MEMORY_COPY

    def call(self, function: "Function", *arguments: Value) -> Value:
        """A call with one result, as an expression."""
        (result,) = function.results
        return Value(result, self._call(function, arguments))

    def call_into(self, targets: Sequence[Local], function: "Function", *arguments: Value) -> None:
        """A call whose results are put into locals."""
        if tuple(target.type for target in targets) != function.results:
            raise TypeError("wrong locals for the results of a call")
        self.body += self._call(function, arguments)
        for target in reversed(targets):
            self.body += bytes([op.LOCAL_SET]) + unsigned_leb(target.index)

    def call_indirect_into(
        self, targets: Sequence[Local], type_index: int, table: int, index: Value, *arguments: Value
    ) -> None:
        """Call an element of a table; `type_index` is from `Module.type_index`. The results are put into locals."""
        code = b"".join(argument.code for argument in arguments) + index.code
        self.body += code + bytes([op.CALL_INDIRECT]) + unsigned_leb(type_index) + unsigned_leb(table)
        for target in reversed(targets):
            self.body += bytes([op.LOCAL_SET]) + unsigned_leb(target.index)

    def return_call(self, function: "Function", *arguments: Value) -> None:
        """Return what a call returns, without keeping this function's frame."""
        if function.results != self.results:
            raise TypeError("a tail call has other results")
        self.body += self._call(function, arguments, op.RETURN_CALL)

    def return_call_indirect(self, type_index: int, table: int, index: Value, *arguments: Value) -> None:
        """A tail call of an element of a table; `type_index` is from `Module.type_index`."""
        code = b"".join(argument.code for argument in arguments) + index.code
        self.body += code + bytes([op.RETURN_CALL_INDIRECT]) + unsigned_leb(type_index) + unsigned_leb(table)

    def call_statement(self, function: "Function", *arguments: Value) -> None:
        """A call whose results are dropped."""
        self.body += self._call(function, arguments) + bytes([op.DROP]) * len(function.results)

    @staticmethod
    def _call(function: "Function", arguments: Sequence[Value], opcode: int = op.CALL) -> bytes:
        if tuple(argument.type for argument in arguments) != function.params:
            raise TypeError("wrong arguments of a call")
        return b"".join(argument.code for argument in arguments) + bytes([opcode]) + unsigned_leb(function.index)

    @contextmanager
    def block(self) -> Iterator[Label]:
        """`br` to its label leaves it."""
        with self._nested(bytes([op.BLOCK, op.EMPTY])) as label:
            yield label

    @contextmanager
    def loop(self) -> Iterator[Label]:
        """`br` to its label begins it anew; without one it is left at its end."""
        with self._nested(bytes([op.LOOP, op.EMPTY])) as label:
            yield label

    @contextmanager
    def if_(self, condition: Value) -> Iterator[Label]:
        """Statements that run if `condition` (i32) is not 0; `br` to its label leaves it."""
        with self._nested(condition.code + bytes([op.IF, op.EMPTY])) as label:
            yield label

    def else_(self) -> None:
        """Between the two arms of an `if_`."""
        self.body.append(op.ELSE)

    @contextmanager
    def _nested(self, head: bytes) -> Iterator[Label]:
        self.body += head
        self.depth += 1
        yield Label(self.depth)
        self.depth -= 1
        self.body.append(op.END)

    def branch(self, label: Label) -> None:
        """Go to a label."""
        self.body += bytes([op.BR]) + self._distance(label)

    def branch_if(self, label: Label, condition: Value) -> None:
        """Go to a label if `condition` (i32) is not 0."""
        self.body += condition.code + bytes([op.BR_IF]) + self._distance(label)

    def branch_table(self, index: Value, labels: Sequence[Label], default: Label) -> None:
        """Go to the label at `index`, to `default` beyond the last."""
        targets = b"".join(self._distance(label) for label in labels)
        self.body += index.code + bytes([op.BR_TABLE]) + unsigned_leb(len(labels)) + targets + self._distance(default)

    def _distance(self, label: Label) -> bytes:
        return unsigned_leb(self.depth - label.depth)

    def return_(self, *values: Value) -> None:
        """Return these values."""
        self.body += b"".join(value.code for value in values) + bytes([op.RETURN])

    def unreachable(self) -> None:
        """A trap, where control never comes."""
        self.body.append(op.UNREACHABLE)

    def encode(self) -> bytes:
        """Locals and body in the binary format."""
        runs = [(type_, len(list(run))) for type_, run in groupby(self.locals)]
        groups = b"".join(unsigned_leb(count) + bytes([type_]) for type_, count in runs)
        code = unsigned_leb(len(runs)) + groups + bytes(self.body) + bytes([op.END])
        return unsigned_leb(len(code)) + code


class Module:
    """A module with one memory of fixed size. Imports come before all functions."""

    def __init__(self, memory_pages: int) -> None:
        self._memory_pages = memory_pages
        self._types: dict[tuple[tuple[Type, ...], tuple[Type, ...]], int] = {}
        self._imports: list[bytes] = []
        self._imported_functions = 0
        self._imports_memory = False
        self._functions: list[Function] = []
        self._imported_tables = 0
        self._tables: list[int] = []
        self._exports: list[bytes] = []
        self._elements: list[bytes] = []
        self._data: list[tuple[int, bytes]] = []

    def type_index(self, params: Sequence[Type], results: Sequence[Type]) -> int:
        """The number of a function type."""
        return self._types.setdefault((tuple(params), tuple(results)), len(self._types))

    def import_memory(self, name: str) -> None:
        """Use the memory of another module, in place of an own one that is exported."""
        limits = b"\x01" + unsigned_leb(self._memory_pages) * 2
        self._imports.append(_import_name(name) + bytes([op.MEMORY_KIND]) + limits)
        self._imports_memory = True

    def import_table(self, name: str, size: int) -> int:
        """Use a table of another module. Gives its number."""
        self._imports.append(_import_name(name) + bytes([op.TABLE_KIND, op.FUNCREF]) + _table_limits(size))
        self._imported_tables += 1
        return self._imported_tables - 1

    def import_function(self, name: str, params: Sequence[Type], results: Sequence[Type]) -> Function:
        """Use a function of the host."""
        index = unsigned_leb(self.type_index(params, results))
        self._imports.append(_import_name(name) + bytes([op.FUNCTION_KIND]) + index)
        self._imported_functions += 1
        return Function(self._imported_functions - 1, tuple(params), tuple(results))

    def table(self, size: int, export: str | None = None) -> int:
        """A table of function references. Gives its number."""
        self._tables.append(size)
        number = self._imported_tables + len(self._tables) - 1
        if export is not None:
            self._exports.append(_name(export) + bytes([op.TABLE_KIND]) + unsigned_leb(number))
        return number

    def elements(self, table: int, functions: Sequence[Function]) -> None:
        """Fill a table from its beginning when the module is instantiated."""
        head = b"\x02" + unsigned_leb(table) + const(I32, 0).code + bytes([op.END, 0])
        indices = b"".join(unsigned_leb(function.index) for function in functions)
        self._elements.append(head + unsigned_leb(len(functions)) + indices)

    def function(self, params: Sequence[Type], results: Sequence[Type], export: str | None = None) -> Function:
        """A new function, to be filled with statements."""
        index = self._imported_functions + len(self._functions)
        function = Function(index, tuple(params), tuple(results))
        self.type_index(params, results)
        self._functions.append(function)
        if export is not None:
            self._exports.append(_name(export) + bytes([op.FUNCTION_KIND]) + unsigned_leb(index))
        return function

    def data(self, address: int, content: bytes) -> None:
        """Initial content of the memory at `address`."""
        self._data.append((address, content))

    def encode(self) -> bytes:
        """The module in the binary format."""
        type_codes = [b"\x60" + _type_list(params) + _type_list(results) for params, results in self._types]
        uses = [unsigned_leb(self.type_index(function.params, function.results)) for function in self._functions]
        tables = [bytes([op.FUNCREF]) + _table_limits(size) for size in self._tables]
        memories, exports = [], list(self._exports)
        if not self._imports_memory:
            memories.append(b"\x01" + unsigned_leb(self._memory_pages) * 2)
            exports.append(_name("memory") + bytes([op.MEMORY_KIND, 0]))
        data = [
            b"\x00" + const(I32, address).code + bytes([op.END]) + unsigned_leb(len(content)) + content
            for address, content in self._data
        ]
        return b"\0asm\1\0\0\0" + b"".join(
            _section(number, items)
            for number, items in (
                *((1, type_codes), (2, self._imports), (3, uses), (4, tables), (5, memories), (7, exports)),
                *((9, self._elements), (10, [function.encode() for function in self._functions]), (11, data)),
            )
        )


def _import_name(name: str) -> bytes:
    return _name("host") + _name(name)


def _table_limits(size: int) -> bytes:
    return b"\x01" + unsigned_leb(size) * 2


def _type_list(types: Sequence[Type]) -> bytes:
    return unsigned_leb(len(types)) + bytes(types)


def _name(text: str) -> bytes:
    encoded = text.encode()
    return unsigned_leb(len(encoded)) + encoded


def _section(number: int, items: Sequence[bytes]) -> bytes:
    if not items:
        return b""
    content = unsigned_leb(len(items)) + b"".join(items)
    return bytes([number]) + unsigned_leb(len(content)) + content
