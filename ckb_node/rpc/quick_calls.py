"""Calls that are as they should be, with parameters by position: decoded with their parameters in one step.

All else (parameters by name or none, faults) is left to `requests.py` and `Method.arguments`, which tell what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, Union, get_type_hints

import msgspec

from ckb_node.jsonrpc_types.hex_text import BadTextError
from ckb_node.rpc.errors import RpcError
from ckb_node.rpc.registry import Method
from ckb_node.rpc.requests import UNREADABLE, has_doubles

_FAULTS: Final = (*UNREADABLE, BadTextError, RpcError)

_MEMBERS: Final = 4
"""A call has `jsonrpc`, `id`, `method` and `params`, each with a colon."""

NO_PARAMS: Final = msgspec.Raw(b"null")


class Call(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A call; each method has a class of its own, with the type of its `params`."""

    jsonrpc: Literal["2.0"]
    id: int | str | None
    params: Any


class ReadCall(msgspec.Struct, frozen=True, gc=False):
    """A call of a method; either its arguments, or the `params` that they have to be read from."""

    method: Method
    id: int | str | None
    arguments: Sequence[Any] | None
    params: msgspec.Raw


class QuickCalls:
    """Reads calls of some methods."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._known: Final = {_class_of(method): (method, _colons_of(method)) for method in methods}
        kinds = tuple(self._known) or (Call,)
        self._decode: Final = msgspec.json.Decoder(Union[kinds]).decode  # noqa: UP007 - of a tuple

    def read(self, data: bytes) -> ReadCall | None:
        """A call with its arguments; None for what is no such call."""
        if not self._known or not data.isascii():
            return None
        try:
            call = self._decode(data)
            method, colons = self._known[type(call)]
            if data.count(b":") > colons and has_doubles(data):
                return None
            return ReadCall(method, call.id, method.quick.values(call.params), NO_PARAMS)
        except _FAULTS:
            return None


def _class_of(method: Method) -> type[Call]:
    params = [("params", method.quick.kind)]
    made = msgspec.defstruct(
        method.name, params, bases=(Call,), tag_field="method", tag=method.name, frozen=True, gc=False
    )
    assert issubclass(made, Call)  # noqa: S101 - what `bases` say
    return made


def _colons_of(method: Method) -> int:
    """A call has so many at least: those of its members, and of those members of parameters that have to be there."""
    return _MEMBERS + sum(0 if param.is_optional else _colons(param.codec.wire) for param in method.params)


def _colons(wire: Any) -> int:
    """A value of a type has so many at least."""
    if not (isinstance(wire, type) and issubclass(wire, msgspec.Struct)):
        return 0
    kinds = get_type_hints(wire)
    needed = [each.name for each in msgspec.structs.fields(wire) if each.required]
    return len(needed) + sum(_colons(kinds[name]) for name in needed)
