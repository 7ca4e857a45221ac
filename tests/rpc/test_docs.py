"""Each method has documentation, an example of its declared types, and a test that calls it."""

from __future__ import annotations

import typing
from pathlib import Path

import msgspec
import pytest

from ckb_node.rpc.examples import EXAMPLES
from ckb_node.rpc.registry import Method
from tests.rpc.kit_docs import DOCS, METHODS, openrpc_text, table_text
from tests.rpc.kit_fits import fits
from tests.rpc.kit_reference import NOTES, OWN

TESTS = Path(__file__).parents[1]


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
