"""Generates strict molecule checks (RFC 8) of declared types: one function for each type, which calls those of its
parts. They read nothing but sizes, offsets and counts."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from consensus.codec.layout import NUMBER_SIZE
from consensus.codec.molecule import (
    UINT32,
    BytesKind,
    CompositeKind,
    DynVecKind,
    Field,
    FixVecKind,
    Kind,
    OptionKind,
    Table,
    field,
    kind,
    vector,
)
from consensus.types.blockchain import Block, Transaction
from vm.wasm.emitter import I32, PAGE, Function, Local, Module, Value, const, load, select

CODE_DIGEST: Final = "1786e0e02cb68afb"
"""Of the generated code: names it where it is kept compiled. A test says what it has become."""

MAX_INPUT: Final = 2 << 20
"""Bytes that a call takes. Blocks of the public chains have 597,000; a chain's spec may allow more."""


class Layout(IntEnum):
    """Where things lie in memory."""

    INPUT = 64
    END = INPUT + MAX_INPUT + NUMBER_SIZE  # the end of a table's offsets is read before it is known to be one


class Prefilled(Table):
    """A transaction with its place in its block, as compact blocks have it."""

    index: Field[int] = field(UINT32)
    transaction: Field[Transaction] = field(kind(Transaction))


CHECKS: Final[dict[str, Kind[Any]]] = {
    "transaction": kind(Transaction),
    "transactions": vector(kind(Transaction)),
    "prefilled": vector(kind(Prefilled)),
    "block": kind(Block),
}
"""What can be checked, by the names of the functions: `(start, end) -> 0 or 1`, addresses in memory."""

_NO, _YES = const(I32, 0), const(I32, 1)


def generate_strict() -> bytes:
    """The module."""
    maker = _Maker()
    for name, checked in CHECKS.items():
        inner = maker.check_of(checked)
        f = maker.module.function((I32, I32), (I32,), export=name)
        f.return_(f.call(inner, f.param(0).value, f.param(1).value))
    return maker.module.encode()


class _Maker:
    """Makes each type's function once."""

    def __init__(self) -> None:
        self.module: Final = Module(-(-Layout.END // PAGE))
        self._offsets: Final = _generate_offsets(self.module)
        self._made: Final = dict[str, Function]()

    def check_of(self, checked: Kind[Any]) -> Function:
        """`(start, end) -> 0 or 1`."""
        key = f"{type(checked).__name__} {checked.name}"
        if key not in self._made:
            self._made[key] = self._generate(checked)
        return self._made[key]

    def _generate(self, checked: Kind[Any]) -> Function:
        match checked:
            case FixVecKind():
                return self._fixed_vector(checked.item_size)
            case BytesKind():
                return self._fixed_vector(1)
            case DynVecKind():
                return self._vector(self.check_of(checked.item))
            case OptionKind():
                return self._option(self.check_of(checked.item))
            case CompositeKind() if issubclass(checked.view_class, Table):
                return self._table(checked.view_class)
        raise TypeError(f"{checked.name} is always as long as it is")

    def _function(self) -> tuple[Function, Value, Value]:
        f = self.module.function((I32, I32), (I32,))
        return f, f.param(0).value, f.param(1).value

    def _fixed_vector(self, item_size: int) -> Function:
        f, start, end = self._function()
        size = f.local(I32)
        _fail_if(f, (end - start).compare("lt_u", NUMBER_SIZE))
        f.set(size, end - start - NUMBER_SIZE)
        _fail_if(f, size.value.binary("rem_u", item_size))
        f.return_(size.value.binary("div_u", item_size).compare("eq", load(I32, 4, start)))
        return f

    def _option(self, inner: Function) -> Function:
        f, start, end = self._function()
        with f.if_(start.compare("eq", end)):
            f.return_(_YES)
        f.return_(f.call(inner, start, end))
        return f

    def _vector(self, inner: Function) -> Function:
        f, start, end = self._function()
        at, offsets_end = f.local(I32), f.local(I32)
        following = at.value + NUMBER_SIZE
        _fail_if(f, f.tee(offsets_end, f.call(self._offsets, start, end)).eqz())
        f.set(offsets_end, start + offsets_end.value)
        f.set(at, start + NUMBER_SIZE)
        with f.block() as done, f.loop() as again:
            f.branch_if(done, at.value.compare("eq", offsets_end.value))
            is_last = following.compare("eq", offsets_end.value)
            item_end = select(is_last, end, start + load(I32, 4, following))
            _fail_if(f, f.call(inner, start + load(I32, 4, at.value), item_end).eqz())
            f.set(at, following)
            f.branch(again)
        f.return_(_YES)
        return f

    def _table(self, table: type[Table]) -> Function:
        required = sum(not declared.is_trailing for declared in table.FIELDS)
        checks = [self._field_check(declared) for declared in table.FIELDS]
        f, start, end = self._function()
        first = f.local(I32)
        f.set(first, f.call(self._offsets, start, end))
        _fail_if(f, first.value.compare("lt_u", NUMBER_SIZE * (required + 1)))
        _fail_if(f, first.value.compare("gt_u", NUMBER_SIZE * (len(checks) + 1)))
        for index, check in enumerate(checks):
            at = NUMBER_SIZE * (index + 1)
            if index < required:
                check(f, *_field(start, end, first, at, may_be_last=index + 1 >= required))
                continue
            with f.if_(first.value.compare("gt_u", at)):
                check(f, *_field(start, end, first, at, may_be_last=True))
        f.return_(_YES)
        return f

    def _field_check(self, declared: Field[Any]) -> Callable[[Function, Value, Value], None]:
        size = declared.kind.size
        if size is not None:
            return lambda f, start, end: _fail_if(f, (end - start).compare("ne", size))
        inner = self.check_of(declared.kind)
        return lambda f, start, end: _fail_if(f, f.call(inner, start, end).eqz())


def _field(start: Value, end: Value, first: Local, at: int, *, may_be_last: bool) -> tuple[Value, Value]:
    """Where the field lies whose offset is `at` bytes behind the start of its table."""
    begin, following = start + load(I32, 4, start, at), start + load(I32, 4, start, at + NUMBER_SIZE)
    if may_be_last:
        following = select(first.value.compare("eq", at + NUMBER_SIZE), end, following)
    return begin, following


def _generate_offsets(module: Module) -> Function:
    """`(start, end) -> the first offset` of a table or vector whose offsets are possible and in order; of one without
    parts NUMBER_SIZE, and 0 of a broken one."""
    f = module.function((I32, I32), (I32,))
    start, end = f.param(0).value, f.param(1).value
    size, first, last, at = (f.local(I32) for _ in range(4))
    f.set(size, end - start)
    with f.if_(size.value.compare("lt_u", 2 * NUMBER_SIZE)):
        _fail_if(f, size.value.compare("ne", NUMBER_SIZE))
        f.return_(select(load(I32, 4, start).compare("eq", NUMBER_SIZE), const(I32, NUMBER_SIZE), _NO))
    _fail_if(f, load(I32, 4, start).compare("ne", size.value))
    f.set(first, load(I32, 4, start, NUMBER_SIZE))
    _fail_if(f, first.value & (NUMBER_SIZE - 1))
    _fail_if(f, first.value.compare("lt_u", 2 * NUMBER_SIZE))
    _fail_if(f, first.value.compare("gt_u", size.value))
    f.set(last, first.value)
    f.set(at, start + 2 * NUMBER_SIZE)
    with f.block() as done, f.loop() as again:
        f.branch_if(done, at.value.compare("eq", start + first.value))
        _fail_if(f, load(I32, 4, at.value).compare("lt_u", last.value))
        f.set(last, load(I32, 4, at.value))
        f.set(at, at.value + NUMBER_SIZE)
        f.branch(again)
    _fail_if(f, last.value.compare("gt_u", size.value))
    f.return_(first.value)
    return f


def _fail_if(f: Function, condition: Value) -> None:
    with f.if_(condition):
        f.return_(_NO)
