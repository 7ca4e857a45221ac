"""Whether JSON values are of declared result types."""

from __future__ import annotations

import typing
from types import UnionType
from typing import Any

import msgspec

from ckb_node.rpc.calls import EncodedJson, LoopStream, ThreadStream


def fits(value: Any, kind: Any) -> bool:
    """A JSON value is exactly what a result type says: no member is missing, none is too much."""
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin in (EncodedJson, ThreadStream, LoopStream):
        return fits(value, items[0])
    if origin in (UnionType, typing.Union):
        return any(fits(value, item) for item in items)
    if origin is list:
        return isinstance(value, list) and all(fits(each, items[0]) for each in value)
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(items) and all(map(fits, value, items))
    if kind is Any:
        return True
    if origin is dict:
        return isinstance(value, dict) and all(fits(each, items[1]) for each in value.values())
    if origin is typing.Literal:
        return value in items
    if kind is None:
        return value is None
    if issubclass(kind, msgspec.Struct):
        return fits_struct(value, kind)
    return type(value) is kind


def fits_struct(value: Any, kind: type[msgspec.Struct]) -> bool:
    """Every member is there, but those that may be unset."""
    hints, fields = typing.get_type_hints(kind), msgspec.structs.fields(kind)
    types = {field.encode_name: hints[field.name] for field in fields}
    if not isinstance(value, dict) or value.keys() - types.keys():
        return False
    missing = types.keys() - value.keys()
    return all(msgspec.UnsetType in typing.get_args(types[name]) for name in missing) and all(
        fits(each, types[name]) for name, each in value.items()
    )
