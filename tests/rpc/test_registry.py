"""Parameters that are decoded together are read as those that are decoded one after the other."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import msgspec
import pytest

from ckb_node.rpc.errors import BadParameterError
from ckb_node.rpc.examples import EXAMPLES
from ckb_node.rpc.registry import Method
from tests.rpc.kit_docs import METHODS

JUNK: tuple[Any, ...] = (None, 1, True, "0x", "0x0", "0x" + "0 " * 32, [], {}, [[]], "x" * 70)


def read(method: Method, params: object) -> object:
    """What the handler would be called with, or what is said of a fault."""
    try:
        return method._arguments(msgspec.Raw(json.dumps(params).encode()))
    except BadParameterError as error:
        return error.text


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_together_as_one_after_the_other(method: Method) -> None:
    example = EXAMPLES[method.name].params
    tried: list[object] = [example[:count] for count in range(len(example) + 1)] + [
        [*example, None],
        [*example, 1],
        {},
        None,
    ]
    tried += [[*example[:at], junk, *example[at + 1 :]] for at, junk in product(range(len(method.params)), JUNK)]
    for params in tried:
        found = method.quick.arguments(msgspec.Raw(json.dumps(params).encode()))
        assert found is None or found == read(method, params), params
    assert method.quick.arguments(msgspec.Raw(json.dumps(example).encode())) is not None
