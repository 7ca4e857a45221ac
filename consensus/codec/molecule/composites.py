"""Structs, tables and unions: views of raw bytes with declared fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct as ByteStruct
from struct import unpack_from
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, dataclass_transform, overload

from consensus.codec.layout import NUMBER_SIZE, U32
from consensus.codec.molecule.kinds import Check, Kind, T, check_size, pack_parts, part_bounds
from consensus.errors import MoleculeError

V = TypeVar("V", bound="Composite")

_TWO_U32 = ByteStruct("<2I")


def _unbound(view: object) -> Any:
    raise TypeError(f"{type(view).__name__} declares no such field")


class Field(Generic[T]):
    """One declared field: reads through the view once, then the instance's own dictionary answers."""

    def __init__(self, kind: Kind[Any], *, is_trailing: bool) -> None:
        self.kind, self.is_trailing = kind, is_trailing
        self.name, self.index = "", -1
        self.read: Callable[[Any], Any] = _unbound
        """Reads the field of a view; set by the class that it is declared in, which knows where the field lies."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, view: None, owner: type) -> Self: ...
    @overload
    def __get__(self, view: Composite, owner: type) -> T: ...
    def __get__(self, view: Composite | None, owner: type) -> Self | T:
        if view is None:
            return self
        value: T = self.read(view)
        view.__dict__[self.name] = value
        return value

    if TYPE_CHECKING:
        # Tells the type checker what the constructor takes; views are never assigned to.
        def __set__(self, view: object, value: T) -> None: ...


def field(kind: Kind[Any]) -> Any:
    """Declare a field."""
    return Field(kind, is_trailing=False)


def trailing(kind: Kind[Any], *, default: None = None) -> Any:
    """Declare a field that older serialisations lack: absent reads as None, None is left out when building."""
    return Field(kind, is_trailing=True)


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field, trailing))
class Composite:
    """What structs and tables share: raw bytes and fields that are read from them."""

    FIELDS: ClassVar[tuple[Field[Any], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [value for value in vars(cls).values() if isinstance(value, Field)]
        cls.FIELDS = (*cls.FIELDS, *own)
        for index, declared in enumerate(cls.FIELDS):
            declared.index = index

    def __init__(self, **values: Any) -> None:
        names = [declared.name for declared in self.FIELDS]
        if unknown := values.keys() - set(names):
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        missing = [f.name for f in self.FIELDS if not f.is_trailing and f.name not in values]
        if missing:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        raw = self._build([values.get(name) for name in names])
        self._buf, self._start, self._end = raw, 0, len(raw)

    @classmethod
    def _build(cls, values: Sequence[Any]) -> bytes:
        raise NotImplementedError

    @classmethod
    def check(cls, buf: bytes, start: int, end: int, compatible: bool) -> None:
        raise NotImplementedError

    @classmethod
    def view(cls, buf: bytes, start: int, end: int) -> Self:
        """A view of bytes that were checked before."""
        self = cls.__new__(cls)
        self._buf, self._start, self._end = buf, start, end
        return self

    @classmethod
    def parse(cls, data: bytes, *, compatible: bool = False) -> Self:
        """Check bytes from outside and view them; MoleculeError if they are not exactly one value of this type."""
        cls.check(data, 0, len(data), compatible)
        return cls.view(data, 0, len(data))

    @classmethod
    def trusted(cls, data: bytes) -> Self:
        """View bytes that this node serialised or checked itself (its own database)."""
        return cls.view(data, 0, len(data))

    @property
    def raw(self) -> bytes:
        """The serialised value."""
        # Kept in one assignment, never by moving the view: threads share blocks.
        raw: bytes | None = self.__dict__.get("_raw")
        if raw is None:
            raw = self.__dict__["_raw"] = self._buf[self._start : self._end]
        return raw

    @property
    def raw_size(self) -> int:
        """Length of the serialised value in bytes."""
        return self._end - self._start

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        values = {declared.name: getattr(self, declared.name) for declared in self.FIELDS}
        return type(self)(**(values | changes))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        shown = (f"{f.name}={_shown(getattr(self, f.name))}" for f in self.FIELDS)
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else repr(value)


class Struct(Composite):
    """Fields of fixed sizes, end to end."""

    SIZE: ClassVar[int] = 0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        at = 0
        for declared in cls.FIELDS:
            size = declared.kind.size
            if size is None:
                raise TypeError(f"{cls.__name__}.{declared.name} has no fixed size")
            declared.read = _struct_reader(declared.kind.read, at, at + size)
            at += size
        cls.SIZE = at

    @classmethod
    def _build(cls, values: Sequence[Any]) -> bytes:
        return b"".join(f.kind.pack(value) for f, value in zip(cls.FIELDS, values, strict=True))

    @classmethod
    def check(cls, buf: bytes, start: int, end: int, compatible: bool) -> None:
        check_size(cls.__name__, start, end, cls.SIZE)


def _struct_reader(read: Callable[[bytes, int, int], Any], start: int, end: int) -> Callable[[Any], Any]:
    """Reads bytes [start, end) of a struct."""

    def read_field(view: Struct) -> Any:
        at = view._start  # noqa: SLF001 - a field is a part of its view
        return read(view._buf, at + start, at + end)  # noqa: SLF001

    return read_field


class Table(Composite):
    """Fields of any size behind a header of offsets."""

    # Bytes of any value of the right size are a value of a fixed-size type, so only the others need their own check.
    _CHECKS: ClassVar[tuple[tuple[int | None, Check], ...]] = ()
    _REQUIRED: ClassVar[int] = 0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._CHECKS = tuple((declared.kind.size, declared.kind.checker) for declared in cls.FIELDS)
        cls._REQUIRED = sum(not declared.is_trailing for declared in cls.FIELDS)
        for declared in cls.FIELDS:
            # The next field's offset ends this one; the last one needed and those after it may end the table.
            is_inner = declared.index + 1 < cls._REQUIRED
            make = _inner_reader if is_inner else _last_reader
            declared.read = make(declared.kind.read, declared.index)

    @classmethod
    def _build(cls, values: Sequence[Any]) -> bytes:
        parts = []
        for declared, value in zip(cls.FIELDS, values, strict=True):
            if declared.is_trailing and value is None:
                break
            parts.append(declared.kind.pack(value))
        return pack_parts(parts)

    @classmethod
    def checked_bounds(cls, buf: bytes, start: int, end: int, compatible: bool) -> Sequence[int]:
        """Where the fields begin, and the end; not yet checked themselves. MoleculeError."""
        bounds = part_bounds(cls.__name__, buf, start, end, None if compatible else len(cls.FIELDS))
        if len(bounds) <= cls._REQUIRED:
            raise MoleculeError(cls.__name__, f"expected {len(cls.FIELDS)} fields, got {len(bounds) - 1}")
        return bounds

    @classmethod
    def check(cls, buf: bytes, start: int, end: int, compatible: bool) -> None:
        bounds = cls.checked_bounds(buf, start, end, compatible)
        for (size, check_field), a, b in zip(cls._CHECKS, bounds, bounds[1:], strict=False):
            if b - a != size:
                check_field(buf, a, b, compatible)

    @property
    def field_count(self) -> int:
        """Number of fields that the bytes hold; more than declared after a compatible check of a newer value."""
        if self.raw_size == NUMBER_SIZE:
            return 0
        return int(U32.unpack_from(self._buf, self._start + NUMBER_SIZE)[0]) // NUMBER_SIZE - 1

    def field_span(self, index: int) -> tuple[int, int]:
        """Start and end of a field, relative to this table's own bytes."""
        count = self.field_count
        if index >= count:
            raise IndexError(index)
        at = self._start + NUMBER_SIZE * (index + 1)
        if index + 1 == count:
            return int(U32.unpack_from(self._buf, at)[0]), self.raw_size
        start, end = unpack_from("<2I", self._buf, at)
        return start, end


def _inner_reader(read: Callable[[bytes, int, int], Any], index: int) -> Callable[[Any], Any]:
    """Reads a field of a table that another field follows in all of its serialisations."""
    at = NUMBER_SIZE * (index + 1)

    def read_field(view: Table) -> Any:
        buf, start = view._buf, view._start  # noqa: SLF001 - a field is a part of its view
        a, b = _TWO_U32.unpack_from(buf, start + at)
        return read(buf, start + a, start + b)

    return read_field


def _last_reader(read: Callable[[bytes, int, int], Any], index: int) -> Callable[[Any], Any]:
    """Reads a field of a table that may be its last, or may be missing (then it is None)."""

    at = NUMBER_SIZE * (index + 1)

    def read_field(view: Table) -> Any:
        buf, start, end = view._buf, view._start, view._end  # noqa: SLF001 - a field is a part of its view
        # Fields begin where the offsets end; a table without fields is its own size, which is as good to compare.
        first = U32.unpack_from(buf, start if end - start == NUMBER_SIZE else start + NUMBER_SIZE)[0]
        if first < at + NUMBER_SIZE:
            return None
        if first < at + 2 * NUMBER_SIZE:
            return read(buf, start + U32.unpack_from(buf, start + at)[0], end)
        a, b = _TWO_U32.unpack_from(buf, start + at)
        return read(buf, start + a, start + b)

    return read_field


class CompositeKind(Kind[V]):
    """A struct or table as the type of a field or item."""

    def __init__(self, view_class: type[V]) -> None:
        self.view_class, self.name = view_class, view_class.__name__
        self.size = view_class.SIZE if issubclass(view_class, Struct) else None

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        self.view_class.check(buf, start, end, compatible)

    @property
    def checker(self) -> Check:
        return self.view_class.check

    def read(self, buf: bytes, start: int, end: int) -> V:
        return self.view_class.view(buf, start, end)

    def pack(self, value: V) -> bytes:
        if not isinstance(value, self.view_class):
            raise MoleculeError(self.name, f"expected {self.name}, got {type(value).__name__}")
        return value.raw


class UnionKind(Kind[Composite]):
    """One of several tables, told apart by a 4-byte item id; the value's class tells which it is."""

    size = None

    def __init__(self, name: str, items: dict[int, type[Composite]]) -> None:
        self.name = name
        self.classes = dict(items)
        self._ids = {view_class: item_id for item_id, view_class in items.items()}

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        if end - start < NUMBER_SIZE:
            raise MoleculeError(self.name, f"expected at least {NUMBER_SIZE} bytes, got {end - start}")
        item_id = U32.unpack_from(buf, start)[0]
        if item_id not in self.classes:
            raise MoleculeError(self.name, f"unknown item id {item_id}")
        self.classes[item_id].check(buf, start + NUMBER_SIZE, end, compatible)

    def item_class(self, payload: bytes) -> type[Composite] | None:
        """What a message says that it is, before anything else of it is looked at; None when it is none of these."""
        return self.classes.get(U32.unpack_from(payload)[0]) if len(payload) >= NUMBER_SIZE else None

    def read(self, buf: bytes, start: int, end: int) -> Composite:
        item_id = U32.unpack_from(buf, start)[0]
        return self.classes[item_id].view(buf, start + NUMBER_SIZE, end)

    def pack(self, value: Composite) -> bytes:
        if type(value) not in self._ids:
            raise MoleculeError(self.name, f"{type(value).__name__} is not one of its items")
        return U32.pack(self._ids[type(value)]) + value.raw


def kind(view_class: type[V]) -> Kind[V]:
    """The type of a field that holds a struct or table."""
    return CompositeKind(view_class)
