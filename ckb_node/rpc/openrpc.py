"""The OpenRPC document of methods, made from the same declarations that answer calls."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable, Sequence
from types import NoneType, UnionType
from typing import Any, Final

import msgspec

from ckb_node.rpc.calls import EncodedJson, LoopStream, ThreadStream
from ckb_node.rpc.examples import EXAMPLES
from ckb_node.rpc.registry import Method, Methods, Module, Param, Registry

OPENRPC_VERSION: Final = "1.2.6"

_HEX: Final = {
    "Uint32": "^0x(0|[1-9a-f][0-9a-f]{0,7})$",
    "Uint64": "^0x(0|[1-9a-f][0-9a-f]{0,15})$",
    "H256": "^0x[0-9a-fA-F]{64}$",
}
_REF: Final = "#/components/schemas/{name}"
_JSON_NAME: Final = re.compile(r"\b(\w+)Json\b")
_WRAPPERS: Final = (EncodedJson, ThreadStream, LoopStream)


def _plain_types(kind: Any) -> list[Any]:
    """The JSON types of a declared result, without what says how it is made."""
    origin = typing.get_origin(kind)
    if origin in _WRAPPERS:
        return _plain_types(typing.get_args(kind)[0])
    if origin in (UnionType, typing.Union):
        return [plain for each in typing.get_args(kind) for plain in _plain_types(each)]
    return [kind]


def _result_types(method: Method) -> list[Any]:
    return list(dict.fromkeys(_plain_types(typing.get_type_hints(method.handler)["return"])))


class _Schemas:
    """JSON schemas of all types of some methods, each named type once."""

    def __init__(self, methods: Sequence[Method]) -> None:
        kinds = {kind for method in methods for kind in self._of(method)}
        ordered = sorted(kinds, key=repr)
        found, components = msgspec.json.schema_components(ordered, ref_template=_REF)
        self._by_kind: Final = dict(zip(ordered, found, strict=True))
        hexes = {name: {"type": "string", "pattern": pattern} for name, pattern in _HEX.items()}
        self.components: Final = hexes | dict(sorted(components.items()))

    @staticmethod
    def _of(method: Method) -> Iterable[Any]:
        return [*_result_types(method), *(param.codec.wire for param in method.params)]

    def param(self, param: Param) -> dict[str, Any]:
        if param.codec.name in _HEX:
            return {"$ref": _REF.format(name=param.codec.name)}
        schema = dict(self._by_kind[param.codec.wire])
        return schema if "$ref" in schema else {"title": param.codec.name, **schema}

    def result(self, method: Method) -> dict[str, Any]:
        schemas = [
            {"type": "null"} if kind in (None, NoneType) else self._by_kind[kind] for kind in _result_types(method)
        ]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _method(method: Method, schemas: _Schemas) -> dict[str, Any]:
    summary, _, rest = method.doc.partition("\n")
    example = EXAMPLES[method.name]
    given = zip(method.params, example.params, strict=False)
    return {
        "name": method.name,
        "summary": summary,
        **({"description": rest.strip()} if rest.strip() else {}),
        "tags": [{"name": method.module.value}],
        **({"deprecated": True} if method.deprecated is not None or method.doc.startswith("Deprecated") else {}),
        "paramStructure": "either",
        "params": [
            {"name": param.name, "required": not param.is_optional, "schema": schemas.param(param)}
            for param in method.params
        ],
        "result": {"name": "result", "schema": schemas.result(method)},
        "examples": [
            {
                "name": method.name,
                "params": [{"name": param.name, "value": value} for param, value in given],
                "result": {"name": "result", "value": example.result},
            }
        ],
    }


def document(methods: Iterable[Method], version: str) -> bytes:
    """The document as JSON. Methods by module and name."""
    order = list(Module)
    ordered = sorted(methods, key=lambda method: (order.index(method.module), method.name))
    schemas = _Schemas(ordered)
    value = {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": "CKB node", "version": version, "license": {"name": "MIT"}},
        "methods": [_method(method, schemas) for method in ordered],
        "components": {"schemas": schemas.components},
    }
    text = msgspec.json.encode(value).decode()
    return _JSON_NAME.sub(r"\1", text).encode()


def discovery(registry: Callable[[], Registry]) -> Methods:
    """The method `rpc.discover` of a registry."""
    methods = Methods(Module.STATS)

    @methods.method(name="rpc.discover", is_always_open=True)
    def discover(services: Any) -> EncodedJson[dict[str, Any]]:
        """The OpenRPC document of the methods that this node answers now."""
        found = registry()
        return EncodedJson(document((each for each in found if found.closed(each) is None), services.version))

    return methods
