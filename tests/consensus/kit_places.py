"""Every place of a molecule value, found from its schema; values with one place changed; ways to change a place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from consensus.codec.molecule import (
    ByteArrayKind,
    BytesKind,
    Composite,
    CompositeKind,
    DynVecKind,
    FixVecKind,
    Kind,
    OptionKind,
    UintKind,
)

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """One field or item: `("transactions", 1, "body", "outputs", 0, "capacity")`."""

    path: Path
    kind: Kind[Any]
    value: Any

    @property
    def name(self) -> str:
        return path_name(self.path)


class Change(NamedTuple):
    """What becomes of a place."""

    place: Place
    word: str
    value: Any

    @property
    def name(self) -> str:
        return f"{self.place.name}: {self.word}"


def path_name(path: Path) -> str:
    """`transactions[1].body.outputs[0].capacity`"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def places(value: Composite, path: Path = ()) -> Iterator[Place]:
    """All places of a struct or table, outer ones first."""
    for field in value.FIELDS:
        yield from _places_of(field.kind, getattr(value, field.name), (*path, field.name))


def _places_of(kind: Kind[Any], value: Any, path: Path) -> Iterator[Place]:
    if isinstance(kind, CompositeKind):
        yield from places(value, path)
        return
    yield Place(path, kind, value)
    if isinstance(kind, (FixVecKind, DynVecKind)):
        for index, item in enumerate(value):
            yield from _places_of(kind.item, item, (*path, index))
    elif isinstance(kind, OptionKind) and value is not None:
        yield from _places_of(kind.item, value, path)


def with_change(value: Any, path: Path, new: Any) -> Any:
    """A copy of `value` with another thing at `path`."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return [*value[:step], with_change(value[step], rest, new), *value[step + 1 :]]
    return value.replace(**{step: with_change(getattr(value, step), rest, new)})


def changes(random: Random, place: Place) -> list[Change]:
    """Several other values of a place, none of them the present one."""
    kind, value = place.kind, place.value
    made: dict[str, Any]
    if isinstance(kind, UintKind):
        made = _other_numbers(random, value, 8 * kind.size)
    elif isinstance(kind, (ByteArrayKind, BytesKind)):
        made = _other_bytes(random, value, is_fixed=isinstance(kind, ByteArrayKind))
    elif isinstance(kind, (FixVecKind, DynVecKind)):
        made = _other_items(value, kind.item)
    elif isinstance(kind, OptionKind):
        made = {"given": _zero(kind.item)} if value is None else {"taken away": None}
    else:
        raise TypeError(kind.name)
    pack: Callable[[Any], bytes] = place.kind.pack
    return [Change(place, word, new) for word, new in made.items() if pack(new) != pack(value)]


def _other_numbers(random: Random, value: int, bits: int) -> dict[str, int]:
    limit = 1 << bits
    numbers = {"one more": value + 1, "one less": value - 1, "zero": 0, "greatest": -1, "high bit": value ^ limit >> 1}
    numbers["a bit"] = value ^ 1 << random.randrange(bits)
    return {word: number % limit for word, number in numbers.items()}


def _other_bytes(random: Random, value: bytes, *, is_fixed: bool) -> dict[str, bytes]:
    made = {"zeros": bytes(len(value))}
    if value:
        at = random.randrange(len(value))
        made |= {"first bit": bytes([value[0] ^ 1]) + value[1:], "last bit": value[:-1] + bytes([value[-1] ^ 128])}
        made["a bit"] = value[:at] + bytes([value[at] ^ 1 << random.randrange(8)]) + value[at + 1 :]
    if not is_fixed:
        made |= {"shorter": value[:-1], "longer": value + b"\0", "empty": b""}
    return made


def _other_items(value: Sequence[Any], item: Kind[Any]) -> dict[str, list[Any]]:
    items = list(value)
    made = {"emptied": [], "alien added": [*items, _zero(item)]}
    if items:
        made |= {"last removed": items[:-1], "first removed": items[1:], "last twice": [*items, items[-1]]}
        made |= {"first two swapped": [*items[1::-1], *items[2:]], "reversed": items[::-1]}
    return made


def _zero(kind: Kind[Any]) -> Any:
    """The value of a type that has zeros for numbers and nothing in its vectors."""
    if isinstance(kind, CompositeKind):
        required = [field for field in kind.view_class.FIELDS if not field.is_trailing]
        return kind.view_class(**{field.name: _zero(field.kind) for field in required})
    if isinstance(kind, UintKind):
        return 0
    if isinstance(kind, ByteArrayKind):
        return bytes(kind.size)
    if isinstance(kind, BytesKind):
        return b""
    return None if isinstance(kind, OptionKind) else []
