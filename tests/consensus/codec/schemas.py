"""Hypothesis strategies for molecule types, made from their declarations, and a second reading of RFC 8."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from consensus.codec.molecule import (
    ByteArrayKind,
    BytesKind,
    Composite,
    CompositeKind,
    DynVecKind,
    FixVecKind,
    Kind,
    OptionKind,
    Struct,
    Table,
    UintKind,
    UnionKind,
    Vec,
)
from consensus.types import blockchain, core, extensions
from network.messages import peers
from network.messages import protocols as messages

UNIONS = [
    messages.SYNC_MESSAGE,
    messages.RELAY_MESSAGE,
    messages.BLOCK_FILTER_MESSAGE,
    messages.LIGHT_CLIENT_MESSAGE,
    peers.PING_PAYLOAD,
    peers.DISCOVERY_PAYLOAD,
    peers.HOLE_PUNCHING_MESSAGE,
]


def declared_types() -> list[type[Composite]]:
    """Every struct and table of consensus.types."""
    found = {
        value: None
        for module in (blockchain, core, extensions, messages, peers)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Composite) and value not in (Composite, Struct, Table)
    }
    return sorted(found, key=lambda view_class: view_class.__name__)


def values_of(kind: Kind[Any]) -> st.SearchStrategy[Any]:
    """Values of a molecule type."""
    match kind:
        case UintKind():
            return st.integers(0, (1 << 8 * kind.size) - 1)
        case ByteArrayKind():
            return st.binary(min_size=kind.size, max_size=kind.size)
        case BytesKind():
            return st.binary(max_size=12)
        case OptionKind():
            return st.none() | values_of(kind.item)
        case FixVecKind() | DynVecKind():
            return st.lists(values_of(kind.item), max_size=3)
        case CompositeKind():
            return views_of(kind.view_class)
        case UnionKind():
            return st.one_of([views_of(view_class) for view_class in kind.classes.values()])
    raise AssertionError(kind)


def views_of(view_class: type[Composite]) -> st.SearchStrategy[Composite]:
    """Built structs and tables. Trailing fields are there up to some point and not beyond."""
    required = {f.name: values_of(f.kind) for f in view_class.FIELDS if not f.is_trailing}
    optional = {f.name: values_of(f.kind) for f in view_class.FIELDS if f.is_trailing}
    present = st.integers(0, len(optional)).flatmap(
        lambda count: st.fixed_dictionaries(required | dict(list(optional.items())[:count]))
    )
    return present.map(lambda fields: view_class(**fields))


def plain(value: Any) -> Any:
    """A value with every view read out."""
    if isinstance(value, Composite):
        return type(value).__name__, {f.name: plain(getattr(value, f.name)) for f in value.FIELDS}
    if isinstance(value, Vec | list):
        return [plain(item) for item in value]
    return value


def rebuilt(value: Any) -> Any:
    """A value built anew from its fields."""
    if isinstance(value, Composite):
        return type(value)(**{f.name: rebuilt(getattr(value, f.name)) for f in value.FIELDS})
    if isinstance(value, Vec):
        return [rebuilt(item) for item in value]
    return value


def is_valid(kind: Kind[Any], data: bytes, *, compatible: bool) -> bool:
    """Whether bytes are a value of a type: RFC 8 read by slicing, as plainly as it can be said."""
    match kind:
        case UintKind() | ByteArrayKind():
            return len(data) == kind.size
        case BytesKind():
            return len(data) >= 4 and len(data) == 4 + number(data)
        case OptionKind():
            return data == b"" or is_valid(kind.item, data, compatible=compatible)
        case FixVecKind():
            return len(data) >= 4 and len(data) == 4 + number(data) * kind.item_size
        case DynVecKind():
            parts = split(data)
            return parts is not None and all(is_valid(kind.item, part, compatible=compatible) for part in parts)
        case UnionKind():
            item = kind.classes.get(number(data)) if len(data) >= 4 else None
            return item is not None and is_valid(CompositeKind(item), data[4:], compatible=compatible)
        case CompositeKind() if issubclass(kind.view_class, Struct):
            return len(data) == kind.size
        case CompositeKind():
            return is_valid_table(kind.view_class, data, compatible=compatible)
    raise AssertionError(kind)


def is_valid_table(view_class: type[Composite], data: bytes, *, compatible: bool) -> bool:
    parts = split(data)
    if parts is None or len(parts) < sum(not f.is_trailing for f in view_class.FIELDS):
        return False
    if len(parts) > len(view_class.FIELDS) and not compatible:
        return False
    fields = zip(view_class.FIELDS, parts, strict=False)
    return all(is_valid(declared.kind, part, compatible=compatible) for declared, part in fields)


def number(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


def split(data: bytes) -> Sequence[bytes] | None:
    """Parts of a dynvec or table, None when header and size do not fit."""
    if len(data) < 4 or number(data) != len(data):
        return None
    if len(data) == 4:
        return []
    first = number(data[4:8])
    if len(data) < 8 or first < 8 or first % 4 or first > len(data):
        return None
    offsets = [number(data[at : at + 4]) for at in range(4, first, 4)] + [len(data)]
    if offsets != sorted(offsets):
        return None
    return [data[a:b] for a, b in pairwise(offsets)]
