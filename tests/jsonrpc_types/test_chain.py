"""The chain's types as JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckb_node.jsonrpc_types import chain as js
from ckb_node.jsonrpc_types import fast_write as fastjson
from ckb_node.jsonrpc_types.hex_text import BadTextError
from ckb_node.specs import cell_file, load_bundled
from consensus.chainspec.spec import load_genesis
from consensus.types.blockchain import (
    Block,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    UncleBlock,
)

GENESIS = load_genesis(load_bundled("dev"), cell_file)

HASHES = st.binary(min_size=32, max_size=32)
SHORT_IDS = st.binary(min_size=10, max_size=10)
U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
SCRIPTS = st.builds(
    lambda code_hash, hash_type, args: Script(code_hash=code_hash, hash_type=hash_type, args=args),
    HASHES,
    st.sampled_from(sorted(js.HASH_TYPE_NAMES)),
    st.binary(max_size=40),
)
OUT_POINTS = st.builds(lambda tx_hash, index: OutPoint(tx_hash=tx_hash, index=index), HASHES, U32)
INPUTS = st.builds(lambda since, point: CellInput(since=since, previous_output=point), U64, OUT_POINTS)
DEPS = st.builds(lambda point, kind: CellDep(out_point=point, dep_type=kind), OUT_POINTS, st.sampled_from([0, 1]))
OUTPUTS = st.builds(
    lambda capacity, lock, type_: CellOutput(capacity=capacity, lock=lock, type_=type_),
    U64,
    SCRIPTS,
    st.none() | SCRIPTS,
)


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    outputs = draw(st.lists(OUTPUTS, max_size=3))
    body = RawTransaction(
        version=draw(U32),
        cell_deps=draw(st.lists(DEPS, max_size=3)),
        header_deps=draw(st.lists(HASHES, max_size=3)),
        inputs=draw(st.lists(INPUTS, max_size=3)),
        outputs=outputs,
        outputs_data=[draw(st.binary(max_size=20)) for _ in outputs],
    )
    return Transaction(body=body, witnesses=draw(st.lists(st.binary(max_size=100), max_size=3)))


@st.composite
def headers(draw: st.DrawFn) -> Header:
    body = RawHeader(
        version=draw(U32),
        compact_target=draw(U32),
        timestamp=draw(U64),
        number=draw(U64),
        epoch=draw(U64),
        parent_hash=draw(HASHES),
        transactions_root=draw(HASHES),
        proposals_hash=draw(HASHES),
        extra_hash=draw(HASHES),
        dao=draw(HASHES),
    )
    return Header(body=body, nonce=draw(st.integers(0, (1 << 128) - 1)))


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    uncles = st.builds(lambda header, ids: UncleBlock(header=header, proposals=ids), headers(), st.lists(SHORT_IDS))
    return Block(
        header=draw(headers()),
        uncles=draw(st.lists(uncles, max_size=2)),
        transactions=draw(st.lists(transactions(), max_size=2)),
        proposals=draw(st.lists(SHORT_IDS, max_size=3)),
        extension=draw(st.none() | st.binary(max_size=96)),
    )


def through_text(value: Any, kind: Any) -> Any:
    """As it is after a trip over the wire."""
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


@given(transactions())
def test_transactions_round_trip(transaction: Transaction) -> None:
    sent = through_text(js.transaction_json(transaction), js.TransactionJson)
    assert js.read_transaction(sent) == transaction


@given(transactions())
def test_the_fast_way_writes_the_same(transaction: Transaction) -> None:
    assert fastjson.transaction_view_json(transaction) == js.transaction_view_json(transaction)


@given(OUTPUTS)
def test_outputs_the_fast_way(output: CellOutput) -> None:
    assert fastjson.output_json(output) == js.cell_output_json(output)


@given(headers())
def test_headers_round_trip(header: Header) -> None:
    assert js.read_header(through_text(js.header_json(header), js.HeaderJson)) == header


@given(blocks())
def test_blocks_round_trip(block: Block) -> None:
    assert js.read_block(through_text(js.block_json(block), js.BlockJson)) == block


@given(blocks())
def test_views_add_the_hashes_and_nothing_else(block: Block) -> None:
    view = msgspec.to_builtins(fastjson.block_view_json(block))
    assert view["header"].pop("hash") == "0x" + block.hash.hex()
    for uncle, seen in zip(block.uncles, view["uncles"], strict=True):
        assert seen["header"].pop("hash") == "0x" + uncle.hash.hex()
    for transaction, seen in zip(block.transactions, view["transactions"], strict=True):
        assert seen.pop("hash") == "0x" + transaction.hash.hex()
    assert view == msgspec.to_builtins(js.block_json(block))


def test_the_shape_of_the_genesis_block() -> None:
    view = json.loads(msgspec.json.encode(fastjson.block_view_json(GENESIS)))
    assert set(view) == {"header", "uncles", "transactions", "proposals"}, "no extension member when there is none"
    assert set(view["header"]) == {
        "version", "compact_target", "timestamp", "number", "epoch", "parent_hash", "transactions_root",
        "proposals_hash", "extra_hash", "dao", "nonce", "hash",
    }  # fmt: skip
    cellbase = view["transactions"][0]
    assert set(cellbase) == {
        "version", "cell_deps", "header_deps", "inputs", "outputs", "outputs_data", "witnesses", "hash",
    }  # fmt: skip
    assert cellbase["inputs"][0] == {
        "since": "0x0",
        "previous_output": {"tx_hash": "0x" + "00" * 32, "index": "0xffffffff"},
    }
    assert cellbase["outputs"][0]["type"] is None
    group = view["transactions"][1]["outputs"][0]
    assert set(group) == {"capacity", "lock", "type"}
    assert set(group["lock"]) == {"code_hash", "hash_type", "args"}


def test_the_names_of_hash_types_and_dep_types() -> None:
    names = {byte: js.HASH_TYPE_NAMES[byte] for byte in (0, 1, 2, 4, 254)}
    assert names == {0: "data", 1: "type", 2: "data1", 4: "data2", 254: "data127"}
    with pytest.raises(BadTextError):
        js.parse_hash_type("data128")
    point = OutPoint(tx_hash=bytes(32), index=0)
    assert js.cell_dep_json(CellDep(out_point=point, dep_type=0)).dep_type == "code"
    assert js.cell_dep_json(CellDep(out_point=point, dep_type=1)).dep_type == "dep_group"


SCRIPT = {"code_hash": "0x" + "00" * 32, "hash_type": "data", "args": "0x"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (js.ScriptJson, SCRIPT | {"more": 1}),
        (js.ScriptJson, {"code_hash": SCRIPT["code_hash"], "args": "0x"}),
        (js.ScriptJson, SCRIPT | {"args": None}),
        (js.OutPointJson, {"tx_hash": "0x", "index": 0}),
        (js.CellOutputJson, {"capacity": "0x1", "lock": SCRIPT, "type": "data"}),
        (js.CellOutputJson, {"capacity": "0x1", "lock": SCRIPT, "type_": None}),
        (js.CellDepJson, {"out_point": {"tx_hash": "0x", "index": "0x0"}, "dep_type": "DepGroup"}),
        (js.TransactionJson, {"version": "0x0", "hash": "0x"}),
    ],
)
def test_what_clients_may_not_send(kind: Any, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(value), type=kind)


def test_a_missing_type_script_and_a_null_extension_are_none() -> None:
    output = msgspec.convert({"capacity": "0x1", "lock": SCRIPT}, js.CellOutputJson)
    assert js.read_cell_output(output).type_ is None
    block = js.block_json(GENESIS)
    null = msgspec.convert(msgspec.to_builtins(block) | {"extension": None}, js.BlockJson)
    assert js.read_block(null) == GENESIS
