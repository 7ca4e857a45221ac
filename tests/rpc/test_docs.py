"""Each method has documentation, an example of its declared types, and a test that calls it."""

from __future__ import annotations

import typing
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

import msgspec
import pytest

from ckb_node.rpc.examples import EXAMPLES
from ckb_node.rpc.methods import OWN_MODULES
from ckb_node.rpc.registry import Method

METHODS = [method for methods in OWN_MODULES for method in methods]
TESTS = Path(__file__).parent


def fits(value: Any, kind: Any) -> bool:
    """A JSON value is exactly what a result type says: no member is missing, none is too much."""
    if typing.get_origin(kind) in (UnionType, typing.Union):
        return any(fits(value, item) for item in typing.get_args(kind))
    if kind is NoneType:
        return value is None
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return bool(msgspec.to_builtins(converted) == value)


def test_examples_are_of_methods_that_exist() -> None:
    assert set(EXAMPLES) == {method.name for method in METHODS}


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
    calls = [path.name for path in TESTS.glob("test_methods_*.py") if f'"{method.name}"' in path.read_text()]
    assert calls, "no test calls this method"
