"""What is wrong with a document of the configuration, with the key or the form that was probably meant."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import msgspec

from ckb_node.net.addresses import FORMS
from ckb_node.rpc.param_faults import TEXT, fault_text, members_of, type_at

_UNKNOWN = "Object contains unknown field "
_MISSING = "Object missing required field "


def plain_fault(kind: type[msgspec.Struct], error: msgspec.ValidationError) -> str:
    """`Object contains unknown field `x` - at `$.rpc`` as `rpc.x: unknown key` with a hint; of wrong values those that
    would do. `kind` is that of the whole file."""
    what, _, where = fault_text(TEXT, kind, error).partition(" - at `")
    path = where.strip("`")
    if what.startswith(_UNKNOWN):
        name = what.removeprefix(_UNKNOWN).strip("`")
        return f"{_joined(path, name)}: unknown key; {_hint(kind, path, name)}"
    if what.startswith(_MISSING):
        return f"{_joined(path, what.removeprefix(_MISSING).strip('`'))}: missing"
    if (form := FORMS.get(path)) is not None:
        what = f'{what}; the form is {path.rpartition(".")[2]} = ["{form}"]'
    return f"{path}: {what}" if path else what


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _hint(kind: type[msgspec.Struct], path: str, name: str) -> str:
    """The key that looks like it, the section that has it, or all keys that there are."""
    known = members_of(type_at(kind, f".{path}"))
    if close := get_close_matches(name, known, 1):
        return f"did you mean `{close[0]}`?"
    if sections := [section for section, key in _keys(kind, "") if key == name]:
        return "it belongs into " + " or ".join(f"[{section}]" if section else "no section" for section in sections)
    return f"known here: {', '.join(known)}"


def _keys(kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """All keys that the file may have, each with its section."""
    for name in members_of(kind):
        yield path, name
        yield from _keys(type_at(kind, f".{name}"), _joined(path, name))
