"""JSON that both programs speak: transactions to it, block views back to what miners send, comparison in depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from consensus.types.blockchain import Block, CellOutput, OutPoint, Script, Transaction
from tests.support.nodes.process import RpcClient

HASH_TYPES = {0: "data", 1: "type"} | {number << 1: f"data{number}" for number in range(1, 128)}
DEP_TYPES = ("code", "dep_group")

Json = Any


def hexed(data: bytes) -> str:
    return f"0x{data.hex()}"


def script_json(script: Script | None) -> Json:
    if script is None:
        return None
    return {"code_hash": hexed(script.code_hash), "hash_type": HASH_TYPES[script.hash_type], "args": hexed(script.args)}


def out_point_json(out_point: OutPoint) -> Json:
    return {"tx_hash": hexed(out_point.tx_hash), "index": hex(out_point.index)}


def output_json(output: CellOutput) -> Json:
    return {"capacity": hex(output.capacity), "lock": script_json(output.lock), "type": script_json(output.type_)}


def transaction_json(transaction: Transaction) -> Json:
    body = transaction.body
    return {
        "version": hex(body.version),
        "cell_deps": [
            {"out_point": out_point_json(dep.out_point), "dep_type": DEP_TYPES[dep.dep_type]} for dep in body.cell_deps
        ],
        "header_deps": [hexed(block_hash) for block_hash in body.header_deps],
        "inputs": [
            {"since": hex(each.since), "previous_output": out_point_json(each.previous_output)} for each in body.inputs
        ],
        "outputs": [output_json(output) for output in body.outputs],
        "outputs_data": [hexed(data) for data in body.outputs_data],
        "witnesses": [hexed(witness) for witness in transaction.witnesses],
    }


def without_hash(view: Json) -> Json:
    return {key: value for key, value in view.items() if key != "hash"}


def sent_block(view: Json) -> Json:
    """A block as submit_block takes it, from one that get_block gave."""
    return view | {
        "header": without_hash(view["header"]),
        "uncles": [uncle | {"header": without_hash(uncle["header"])} for uncle in view["uncles"]],
        "transactions": [without_hash(transaction) for transaction in view["transactions"]],
    }


def packed_block(text: str) -> Block:
    """From get_block with verbosity 0."""
    return Block.parse(bytes.fromhex(text[2:]))


def differences(theirs: Json, ours: Json, path: str = "$") -> Iterator[str]:
    """Each place where two JSON values differ; the order of object members does not count."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in theirs.keys() | ours.keys():
            if key not in ours:
                yield f"{path}.{key}: missing in ours, reference has {_short(theirs[key])}"
            elif key not in theirs:
                yield f"{path}.{key}: ours only: {_short(ours[key])}"
            else:
                yield from differences(theirs[key], ours[key], f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (left, right) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(left, right, f"{path}[{index}]")
    elif type(theirs) is not type(ours) or theirs != ours:
        yield f"{path}: reference {_short(theirs)}, ours {_short(ours)}"


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}… ({len(text)})"


def ask(rpc: RpcClient, method: str, params: Any) -> Json:
    """The whole answer to a call: a result or an error."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method} | ({} if params is None else {"params": params})
    return json.loads(rpc.post(json.dumps(body).encode()))
