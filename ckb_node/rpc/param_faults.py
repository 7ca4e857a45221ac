"""What is wrong with a JSON value that has not the type of its parameter, in words that name what would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

TEXT = "string"
"""Name of the codec whose texts are words, not numbers or bytes."""
_WORDS = {"hash_type": "`data`, `type`, `data1`, `data2` or another `data<number>`"}
"""Members that are words without being an enumeration."""
_PLACE = re.compile(r"(?P<what>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>\w+)|\[")
_UNEXPECTED = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`")
_UNKNOWN = re.compile(r"Invalid enum value (?P<value>.*)", re.DOTALL)
MAX_SHOWN = 80


def fault_text(name: str, wire: Any, error: msgspec.MsgspecError) -> str:
    """The library's complaint about a value of JSON type `wire`, of the codec `name`, with what was expected there."""
    text = str(error)
    place = _PLACE.fullmatch(text)
    what, path = (text, "") if place is None else (place["what"], place["path"])
    expected = _expected(name, wire, path)
    if expected and (found := _UNEXPECTED.match(what)):
        what = f"invalid type: {found['got']}, expected {expected}"
    elif expected and (unknown := _UNKNOWN.match(what)):
        what = f"unknown variant `{unknown['value'].strip(chr(39))[:MAX_SHOWN]}`, expected {expected}"
    return what[:300] if not path else f"{what[:300]} - at `{path.removeprefix('.')[:MAX_SHOWN]}`"


def one_of(values: Sequence[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{value}`" for value in values]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def type_at(kind: Any, path: str) -> Any:
    """The type of the value at `.member[0].member` of a JSON type; Any where there is none."""
    for step in _STEP.finditer(path):
        kind = _inner(kind, step["name"])
    return kind


def members_of(kind: Any) -> list[str]:
    """Names of an object's members; none of what is no object."""
    structs = [each for each in _alternatives(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    return [field.encode_name for each in structs for field in msgspec.structs.fields(each)]


def _expected(name: str, wire: Any, path: str) -> str | None:
    """What a text at this place must be; None where nothing more can be said."""
    kind, members = type_at(wire, path), [step["name"] for step in _STEP.finditer(path) if step["name"]]
    member = members[-1] if members else ""
    values = _values(kind)
    if values:
        return one_of(values)
    if member in _WORDS:
        return _WORDS[member]
    if bool in _alternatives(kind):
        return "a boolean"
    return None if name == TEXT or str not in _alternatives(kind) else _hex_text(name, path)


def _hex_text(name: str, path: str) -> str:
    if path or not name.startswith("Uint"):
        return "a 0x-prefixed hex string" + (" with 64 digits" if name == "H256" else "")
    return f"a hex-encoded, 0x-prefixed {name}"


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return tuple(each for each in get_args(kind) if each is not NoneType) if _is_union(kind) else (kind,)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _values(kind: Any) -> list[str]:
    """Of an enumeration."""
    found: list[str] = []
    for each in _alternatives(kind):
        if get_origin(each) is Literal:
            found += map(str, get_args(each))
        elif isinstance(each, type) and issubclass(each, Enum):
            found += [str(member.value) for member in each]
    return found


def _inner(kind: Any, name: str | None) -> Any:
    """The type of a member, or of an item when there is no name."""
    for each in _alternatives(kind):
        if name is None and get_args(each):
            return get_args(each)[-1]
        if name is not None and isinstance(each, type) and issubclass(each, msgspec.Struct):
            return get_type_hints(each).get(name, Any)
    return Any
