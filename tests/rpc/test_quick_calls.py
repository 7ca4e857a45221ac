"""Calls that are read in one step mean what they mean when they are read step by step."""

from __future__ import annotations

import json

import pytest

from ckb_node.rpc.errors import RpcError
from ckb_node.rpc.examples import EXAMPLES
from ckb_node.rpc.quick_calls import QuickCalls
from ckb_node.rpc.requests import BadRequestError, decode_request
from tests.rpc.kit_docs import METHODS
from tests.rpc.kit_malformed import Malformer

BY_NAME = {method.name: method for method in METHODS}
AT_ONCE = [method for method in METHODS if method.may_be_at_once]
QUICK = QuickCalls(AT_ONCE)
HASH = "0x" + "ab" * 32
CELL = '{"tx_hash":"' + HASH + '","index":"0x0"}'


def is_quick(data: bytes) -> bool:
    """Whether a call is read in one step; then step by step it is the same."""
    call = QUICK.read(data)
    if call is None:
        return False
    request = decode_request(data)
    assert (call.method.name, call.id) == (request.method, request.id)
    assert call.arguments == BY_NAME[request.method].arguments(request.params)
    return True


@pytest.mark.parametrize("method", [method.name for method in AT_ONCE])
def test_all_examples(method: str) -> None:
    call = {"id": 3, "jsonrpc": "2.0", "method": method, "params": list(EXAMPLES[method].params)}
    assert is_quick(json.dumps(call).encode())
    assert is_quick(json.dumps(dict(reversed(call.items())), indent=1).encode())
    assert is_quick(json.dumps(call | {"id": "three"}).encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id":1,"jsonrpc":"2.0","method":"get_header","params":["' + HASH + '"]}', True),
        ('{"id":1,"jsonrpc":"2.0","method":"get_header","params":["' + HASH + '",null]}', True),
        (' {"id":1,"jsonrpc":"2.0","method":"get_header","params":["' + HASH + '"]}\n', True),
        ('{"id":":::","jsonrpc":"2.0","method":"get_header","params":["' + HASH + '"]}', True),
        ('{"id":1,"jsonrpc":"2.0","method":"get_live_cell","params":[' + CELL + ",true]}", True),
        ('{"id":null,"jsonrpc":"2.0","method":"get_tip_header","params":[]}', True),
        # A member twice, also in the place of one whose colon is not there.
        ('{"id":1,"id":2,"jsonrpc":"2.0","method":"get_tip_header","params":[]}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_tip_header","params":[],"params":["0x0"]}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_tip_header","method":"get_tip_block_number","params":[]}', False),
        ('{"id":1,"\\u0069d":2,"jsonrpc":"2.0","method":"get_tip_header","params":[]}', False),
        ('{"id":1,"id":2,"jsonrpc":"2.0","method":"get_live_cell","params":[' + CELL + ",true]}", False),
        ('{"id":1,"id":2,"jsonrpc":"2.0","method":"get_live_cell","params":[null,true]}', False),
        # What is no such call, or is told of step by step.
        ('{"id":1,"jsonrpc":"2.0","method":"get_tip_header"}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_tip_header","params":null}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_header","params":{"block_hash":"' + HASH + '"}}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_header","params":["0x12"]}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_header","params":[]}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_header","params":["' + HASH + '",null,null]}', False),
        ('{"jsonrpc":"2.0","method":"get_tip_header","params":[]}', False),
        ('{"id":1,"jsonrpc":"1.0","method":"get_tip_header","params":[]}', False),
        ('{"id":1,"method":"get_tip_header","params":[]}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_tip_header","params":[],"x":1}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"nothing","params":[]}', False),
        ('{"id":1,"jsonrpc":"2.0","method":"get_tip_header","params":[]}}', False),
        ('{"id":"\u00e9","jsonrpc":"2.0","method":"get_tip_header","params":[]}', False),
        ("", False),
    ],
)
def test_what_is_read_in_one_step(text: str, expected: bool) -> None:
    assert is_quick(text.encode()) is expected


def test_malformed_calls_mean_the_same() -> None:
    quick = 0
    for data in Malformer(5).calls(4000):
        try:
            quick += is_quick(data)
        except (BadRequestError, RpcError) as error:
            pytest.fail(f"{data[:300]!r} is no call: {error}")
    assert quick


def test_no_method_at_all() -> None:
    assert QuickCalls(()).read(b'{"id":1,"jsonrpc":"2.0","params":[]}') is None
