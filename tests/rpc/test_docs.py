"""Each method has documentation, an example of its declared types, and a test that calls it."""

from __future__ import annotations

import typing
from pathlib import Path
from types import UnionType
from typing import Any

import msgspec
import pytest

from ckb_node.rpc.calls import EncodedJson, LoopStream, ThreadStream
from ckb_node.rpc.examples import EXAMPLES
from ckb_node.rpc.registry import Method
from tests.rpc.kit_docs import DOCS, METHODS, openrpc_text, table_text
from tests.rpc.kit_reference import NOTES, OWN

TESTS = Path(__file__).parents[1]


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


def test_examples_are_of_methods_that_exist() -> None:
    assert set(EXAMPLES) == {method.name for method in METHODS}


def test_the_committed_documents_are_those_of_the_methods() -> None:
    """`make rpc-docs` renews them."""
    assert (DOCS / "openrpc.json").read_text(encoding="utf-8") == openrpc_text()
    assert (DOCS / "RPC.md").read_text(encoding="utf-8") == table_text()


def test_notes_are_of_methods_that_exist() -> None:
    names = {method.name for method in METHODS}
    assert not (NOTES.keys() | OWN.keys()) - names


def test_names_are_unique() -> None:
    assert len(METHODS) == len({method.name for method in METHODS})


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_is_documented_and_tested(method: Method) -> None:
    first = method.doc.partition("\n")[0]
    assert first.endswith(".") or method.doc.count("\n"), "a sentence that says what it does"
    example = EXAMPLES[method.name]
    assert len(method.arguments(msgspec.Raw(msgspec.json.encode(list(example.params))))) == len(method.params)
    result = typing.get_type_hints(method.handler)["return"]
    assert fits(example.result, result), f"{example.result} is no {result}"
    calls = [path.name for path in TESTS.rglob("test_*.py") if f'"{method.name}"' in path.read_text(encoding="utf-8")]
    assert calls, "no test calls this method"
